"""Batches: HR and LR crops show the same place, turned alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
from srprune.core.config import ExtractConfig  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.data.batches import Batches, turned  # noqa: E402
from srprune.data.patches import PatchPool  # noqa: E402
from srprune.data.sampler import CropSampler  # noqa: E402
from srprune.images import bicubic  # noqa: E402
from srprune.stages.extract import ImageSource, extract  # noqa: E402
from srprune.stages.pool import open_pool  # noqa: E402

SIZE, CROP, BATCH = 48, 7, 12
CPU = torch.device("cpu")


@pytest.fixture
def noise(tmp_path: Path) -> tuple[list[np.ndarray], Workspace]:
    """Images of noise, where no place looks like another, and their workspace."""
    rng = np.random.default_rng(8)
    folder = tmp_path / "noise"
    folder.mkdir()
    wholes = []
    for name, (height, width) in {"a": (84, 60), "b": (60, 96)}.items():
        wholes.append(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        Image.fromarray(wholes[-1]).save(folder / f"{name}.png")
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(folder)), ExtractConfig(size=SIZE, stride=24), workspace)
    return wholes, workspace


def batches_of(pool: PatchPool, augment: bool = True) -> tuple[CropSampler, Batches]:
    sampler = CropSampler(
        np.arange(len(pool)),
        seed=0,
        batch=BATCH,
        lr_patch=SIZE // pool.scale,
        lr_crop=CROP,
        augment=augment,
    )
    return sampler, Batches(pool, sampler, CROP, CPU)


def as_batch(crops: list[np.ndarray]) -> Any:
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255


def by_hand(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Turn by turn, as the attribute of Picks says."""
    for _ in range(turn % 4):
        pixels = pixels.transpose(1, 0, 2)[::-1]  # a quarter turn counter-clockwise
    return pixels[:, ::-1] if turn >= 4 else pixels


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_crops_are_those_of_the_images_at_the_places_picked(
    noise: tuple[list[np.ndarray], Workspace], scale: int, augment: bool
) -> None:
    wholes, workspace = noise
    pool = open_pool(workspace, scale)
    shrunken = [bicubic.downscale(whole, scale) for whole in wholes]
    sampler, batches = batches_of(pool, augment)
    index = pool.index
    for step in (0, 1, 77):
        picks = sampler.at(step)
        lr, hr = [], []
        for patch, top, left, turn in zip(
            picks.patch_B, picks.top_B, picks.left_B, picks.turn_B, strict=True
        ):
            image = index.image_N[patch]
            y, x = index.top_N[patch] + top * scale, index.left_N[patch] + left * scale
            side = CROP * scale
            hr.append(by_hand(wholes[image][y : y + side, x : x + side], turn))
            y, x = y // scale, x // scale
            lr.append(by_hand(shrunken[image][y : y + CROP, x : x + CROP], turn))
        ours_lr, ours_hr = batches.at(step)
        assert torch.equal(ours_lr, as_batch(lr))
        assert torch.equal(ours_hr, as_batch(hr))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_no_other_turn_of_lr_suits_hr_better(
    noise: tuple[list[np.ndarray], Workspace], scale: int
) -> None:
    _, batches = batches_of(open_pool(noise[1], scale))
    turns = set()
    for step in range(6):
        lr, hr = batches.at(step)
        means = torch.nn.functional.avg_pool2d(hr, scale)  # nearly bicubic, and knows no turns
        for small, mean in zip(lr, means, strict=True):
            apart = [
                (torch.from_numpy(turned(small.permute(1, 2, 0).numpy(), turn).copy())
                 - mean.permute(1, 2, 0)).square().mean()
                for turn in range(8)
            ]  # fmt: skip
            assert int(np.argmin(apart)) == 0
            assert apart[0] < 0.5 * min(apart[1:])
        turns |= set(batches._sampler.at(step).turn_B)
    assert turns == set(range(8))


def test_values_are_colours_on_the_scale_of_one(
    noise: tuple[list[np.ndarray], Workspace],
) -> None:
    _, batches = batches_of(open_pool(noise[1], 2))
    lr, hr = batches.at(0)
    assert lr.shape == (BATCH, 3, CROP, CROP)
    assert hr.shape == (BATCH, 3, 2 * CROP, 2 * CROP)
    for crops in (lr, hr):
        assert crops.dtype == torch.float32
        assert crops.is_contiguous()
        assert 0 <= crops.min() < 0.3
        assert 0.7 < crops.max() <= 1
        bytes_ = crops * 255
        assert torch.allclose(bytes_, bytes_.round(), rtol=0, atol=1e-4)


def test_a_step_gives_the_same_batch_again(noise: tuple[list[np.ndarray], Workspace]) -> None:
    _, batches = batches_of(open_pool(noise[1], 2))
    first = [tensor.clone() for tensor in batches.at(9)]
    batches.at(3)
    assert all(torch.equal(a, b) for a, b in zip(first, batches.at(9), strict=True))


def test_the_eight_turns_are_eight_and_keep_every_pixel() -> None:
    pixels = np.arange(5 * 5 * 3, dtype=np.uint8).reshape(5, 5, 3)
    results = [turned(pixels, turn) for turn in range(8)]
    assert len({result.tobytes() for result in results}) == 8
    for turn, result in enumerate(results):
        assert np.array_equal(result, by_hand(pixels, turn))
        assert sorted(map(tuple, result.reshape(-1, 3))) == sorted(
            map(tuple, pixels.reshape(-1, 3))
        )
    assert np.shares_memory(results[7], pixels)
