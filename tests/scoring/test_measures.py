"""What each measure says of a pixel, against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from srprune.data.patches import PatchPool
from srprune.evaluation import metrics
from srprune.images.tensor import rgb_to_y
from srprune.models.ensemble import SelfEnsemble
from srprune.models.restorer import BicubicRestorer, NetworkRestorer
from srprune.scoring import RECONSTRUCTION, SCORERS
from srprune.scoring.clock import Clock
from srprune.scoring.maps import ErrorMapper
from srprune.scoring.measures import L1, Measure, Mse, Psnr, Reducible, Ssim, Uncertainty

CPU = torch.device("cpu")


def pair(seed: int, channels: int = 1, noise: float = 0.05) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    hr = rng.random((2, channels, 20, 23))
    hr = (hr + np.roll(hr, 1, 2) + np.roll(hr, 1, 3)) / 3
    sr = hr + noise * rng.standard_normal(hr.shape)
    return torch.from_numpy(sr).float(), torch.from_numpy(hr).float()


@pytest.mark.parametrize("channels", [1, 3])
@given(seed=st.integers(0, 99), noise=st.sampled_from([0.5, 0.05, 1e-3]))
@settings(max_examples=10, deadline=None)
def test_the_mean_of_the_map_is_the_metric(channels: int, seed: int, noise: float) -> None:
    sr, hr = pair(seed, channels, noise)
    a, b = sr.double().numpy(), hr.double().numpy()
    maps = {m: m().map([sr], hr).double().numpy() for m in (Mse, L1, Ssim)}
    assert all(each.shape == (2, 20, 23) for each in maps.values())
    assert maps[Mse][1].mean() == pytest.approx(np.mean((a[1] - b[1]) ** 2), rel=1e-5)
    assert maps[L1][1].mean() == pytest.approx(np.abs(a[1] - b[1]).mean(), rel=1e-5)
    inner = slice(Ssim.reach, -Ssim.reach)
    similar = [metrics.ssim(255 * a[1, c], 255 * b[1, c]) for c in range(channels)]
    assert maps[Ssim][1, inner, inner].mean() == pytest.approx(1 - np.mean(similar), rel=1e-9)


@given(values=st.lists(st.floats(1e-9, 10), min_size=2, max_size=9))
@settings(deadline=None)
def test_psnr_keeps_the_order_of_mse(values: list[float]) -> None:
    scores = Psnr().score(np.sort(values))
    assert (np.diff(scores) >= 0).all()
    assert scores[0] == pytest.approx(10 * math.log10(min(values)))


def test_psnr_ends_at_100_db() -> None:
    assert Psnr().score(np.array([0.0, 1e-30, 1.0])).tolist() == [-100.0, -100.0, 0.0]
    black, white = (np.full((12, 12), value) for value in (0.0, 255.0))
    assert Psnr().score(np.array([1.0]))[0] == -metrics.psnr(black, white)


def test_equal_images_have_no_error() -> None:
    _, hr = pair(0, 3)
    for measure in (Mse, L1, Ssim):
        assert measure().map([hr.clone()], hr).abs().max() < 1e-12
    assert Uncertainty().map([hr, hr, hr], hr).max() == 0
    assert Reducible().map([hr, hr], hr).max() == 0


def test_reducible_is_what_the_strong_one_does_better() -> None:
    weak, hr = pair(1, noise=0.1)
    strong = hr + (weak - hr) / 2
    gained = Reducible().map([weak, strong], hr)
    torch.testing.assert_close(gained, 0.75 * Mse().map([weak], hr))
    torch.testing.assert_close(Reducible().map([strong, weak], hr), -gained)


def test_uncertainty_is_the_variance_of_answers_whatever_the_truth() -> None:
    answers = [pair(seed, 3)[0] for seed in range(5)]
    expected = np.stack([a.numpy() for a in answers]).var(axis=0).mean(axis=1)
    for hr in (answers[0], torch.zeros_like(answers[0])):
        np.testing.assert_allclose(Uncertainty().map(answers, hr).numpy(), expected, rtol=1e-4)


class Answers(Measure):
    """Keeps what it is given."""

    turns = True

    def map(self, sr, hr_BCHW):
        self.sr, self.hr = list(sr), hr_BCHW
        return hr_BCHW[:, 0]


def crops(pool: PatchPool) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array([0, 9])
    return pool.lr_patches(ids), pool.hr_patches(ids)


def test_a_single_network_is_asked_eight_times(
    overlapping: PatchPool, srcnn: NetworkRestorer
) -> None:
    kept = Answers()
    ErrorMapper(kept, [srcnn], CPU)(*crops(overlapping))
    assert len(kept.sr) == 8
    lr = torch.from_numpy(crops(overlapping)[0]).permute(0, 3, 1, 2).float() / 255
    mean = SelfEnsemble(srcnn).luma(rgb_to_y(lr))
    torch.testing.assert_close(torch.stack(kept.sr).mean(dim=0), mean, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(kept.sr[1], kept.sr[0], atol=1e-4)


def test_several_networks_are_asked_once_each(
    overlapping: PatchPool, srcnn: NetworkRestorer, weak: NetworkRestorer
) -> None:
    kept = Answers()
    ErrorMapper(kept, [weak, srcnn], CPU)(*crops(overlapping))
    assert len(kept.sr) == 2
    lr = torch.from_numpy(crops(overlapping)[0]).permute(0, 3, 1, 2).float() / 255
    for sr, restorer in zip(kept.sr, (weak, srcnn), strict=True):
        torch.testing.assert_close(sr, restorer.luma(rgb_to_y(lr)), rtol=1e-5, atol=1e-6)


def test_networks_on_y_and_on_rgb_are_compared_on_y(
    overlapping: PatchPool, srcnn: NetworkRestorer, fsrcnn_rgb: NetworkRestorer
) -> None:
    kept = Answers()
    mapper = ErrorMapper(kept, [srcnn, fsrcnn_rgb], CPU)
    mapper(*crops(overlapping))
    assert mapper.channels == "y"
    assert [sr.shape[1] for sr in kept.sr] == [1, 1] and kept.hr.shape[1] == 1
    lr = torch.from_numpy(crops(overlapping)[0]).permute(0, 3, 1, 2).float() / 255
    torch.testing.assert_close(kept.sr[1], rgb_to_y(fsrcnn_rgb(lr)), rtol=1e-5, atol=1e-6)
    alone = ErrorMapper(kept, [fsrcnn_rgb], CPU)
    assert alone.channels == "rgb"
    alone(*crops(overlapping))
    assert kept.hr.shape[1] == 3 and len(kept.sr) == 8


def test_bf16_is_near_fp32_and_not_the_same(overlapping: PatchPool, srcnn: NetworkRestorer) -> None:
    full, half = (
        ErrorMapper(Mse(), [srcnn.at(precision)], CPU)(*crops(overlapping)).mean(dim=(1, 2))
        for precision in ("fp32", "bf16")
    )
    assert half.dtype == torch.float32
    apart = (half / full - 1).abs()
    assert (apart > 1e-7).all() and (apart < 0.3).all()


def test_the_clock_knows_where_the_time_went(
    overlapping: PatchPool, srcnn: NetworkRestorer
) -> None:
    clock = Clock()
    ErrorMapper(Mse(), [srcnn], CPU, clock)(*crops(overlapping))
    assert set(clock.seconds) == {"pixels", "bicubic", "network", "reduce"}
    assert min(clock.seconds.values()) > 0
    clock = Clock()
    ErrorMapper(Mse(), [BicubicRestorer(2)], CPU, clock)(*crops(overlapping))
    assert set(clock.seconds) == {"pixels", "bicubic", "reduce"}


def test_reconstruction_scores_are_the_measures() -> None:
    measures = {name for name in SCORERS if issubclass(SCORERS.load(name), Measure)}
    assert measures == set(RECONSTRUCTION)
