"""Variance, entropy and high frequencies against their formulas, term by term."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
from srprune.core.config import ExtractConfig
from srprune.core.workspace import Workspace
from srprune.scoring.texture import Entropy, HighFrequency, Variance
from srprune.stages.extract import ImageSource, extract
from srprune.stages.pool import open_pool

every_score = pytest.mark.parametrize("score", [Variance, Entropy, HighFrequency])
sizes, seeds = st.integers(2, 40), st.integers(0, 2**32 - 1)


def patch(size: int, seed: int, levels: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, levels, (size, size)).astype(np.uint8)


def wave(size: int, u: int, v: int, amplitude: float = 100) -> np.ndarray:
    """A wave of the DCT-II: ``hypot(u, v) / (2 size)`` cycles a px, not rounded to 8 bit."""
    at = (np.arange(size) + 0.5) * math.pi / size
    return 128 + amplitude * np.outer(np.cos(at * u), np.cos(at * v))


@every_score
def test_a_flat_patch_scores_exactly_zero(score: type) -> None:
    for level in (0, 77, 255):
        value = score().score(np.full((36, 36), level, np.uint8))
        assert value == 0
        assert math.copysign(1, value) == 1


@every_score
def test_flips_and_quarter_turns_do_not_matter(score: type) -> None:
    grey = patch(36, 0)
    expected = score().score(grey)
    for turned in (grey[::-1], grey[:, ::-1], grey.T, np.rot90(grey)):
        assert score().score(turned) == pytest.approx(expected, rel=1e-6)


@every_score
def test_scores_of_a_pool_are_those_of_its_greys(score: type, images: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), workspace)
    pool = open_pool(workspace, 2)
    ids = np.random.default_rng(0).permutation(len(pool))
    scorer = score()
    found = scorer(ids, pool)
    assert found.dtype == np.float64
    assert found.tolist() == [scorer.score(grey) for grey in scorer.greys(ids, pool)]
    assert len(np.unique(found)) > len(found) / 2
    assert scorer(ids[:0], pool).shape == (0,)


@settings(deadline=None)
@given(sizes, seeds, st.integers(1, 256))
def test_variance_is_that_of_the_definition(size: int, seed: int, levels: int) -> None:
    grey = patch(size, seed, levels)
    assert Variance().score(grey) == pytest.approx(grey.astype(np.float64).var(), abs=1e-9)


def test_variance_of_two_levels() -> None:
    grey = np.zeros((12, 12), np.uint8)
    grey[:6] = 255
    assert Variance().score(grey) == 127.5**2


@settings(deadline=None)
@given(sizes, seeds, st.integers(1, 256))
def test_entropy_is_that_of_the_definition(size: int, seed: int, levels: int) -> None:
    grey = patch(size, seed, levels)
    bits = 0.0
    for value in set(grey.ravel().tolist()):
        share = float((grey == value).mean())
        bits -= share * math.log2(share)
    assert Entropy().score(grey) == pytest.approx(bits, abs=1e-12)


@pytest.mark.parametrize("bits", range(9))
def test_equally_frequent_levels_have_their_bits(bits: int) -> None:
    grey = (np.arange(4096).reshape(64, 64) % 2**bits).astype(np.uint8)
    assert Entropy().score(grey) == pytest.approx(bits, abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 24), seeds)
def test_high_frequency_is_the_sum_of_its_waves(size: int, seed: int) -> None:
    """Against the DCT written as matrices of waves."""
    grey = patch(size, seed)
    waves = np.array([wave(size, u, 0, 1)[:, 0] - 128 for u in range(size)])
    waves *= np.where(np.arange(size) > 0, math.sqrt(2 / size), math.sqrt(1 / size))[:, None]
    assert waves @ waves.T == pytest.approx(np.eye(size), abs=1e-12)
    spectrum = waves @ grey @ waves.T
    radius = np.hypot(*np.mgrid[:size, :size]) / (2 * size)
    expected = (spectrum[radius > 0.25] ** 2).sum() / size**2
    assert HighFrequency().score(grey) == pytest.approx(expected, rel=1e-5, abs=1e-3)


@pytest.mark.parametrize(
    ("u", "v", "above"),
    [(10, 0, False), (0, 23, False), (30, 0, True), (0, 40, True), (16, 16, False), (18, 18, True)],
)
def test_a_wave_counts_where_lr_cannot_hold_it(u: int, v: int, above: bool) -> None:
    size = 48  # the radius of a quarter is the coefficient 24
    grey = np.round(wave(size, u, v)).astype(np.uint8)
    energy = grey.astype(np.float64).var()
    found = HighFrequency().score(grey)
    # rounding to 8 bit adds noise of a twelfth of a squared level, at all frequencies
    assert found == pytest.approx(energy if above else 0, abs=0.1)


def test_high_frequencies_rank_fine_above_coarse_and_contrast_above_haze() -> None:
    fine, coarse = wave(48, 40, 40), wave(48, 4, 4)
    hazy = wave(48, 40, 40, amplitude=50)
    scores = [HighFrequency().score(np.round(x).astype(np.uint8)) for x in (coarse, hazy, fine)]
    assert scores == sorted(scores)
    assert scores[2] == pytest.approx(4 * scores[1], rel=0.02)
    # variance does not tell them apart
    assert Variance().score(np.round(fine).astype(np.uint8)) == pytest.approx(
        Variance().score(np.round(coarse).astype(np.uint8)), rel=0.01
    )
