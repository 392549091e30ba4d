"""Sums of windows from an integral image, against sums of their pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.scoring.sums import Integral, cell_edges


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_mean_is_that_of_the_pixels_of_the_window(data: st.DataObject) -> None:
    height, width = (data.draw(st.integers(1, 30)) for _ in "yx")
    seed, count = data.draw(st.integers(0, 99)), data.draw(st.integers(1, 6))
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((height, width)).astype(np.float32)
    top, left = rng.integers(height, size=count), rng.integers(width, size=count)
    bottom = np.array([rng.integers(y + 1, height + 1) for y in top])
    right = np.array([rng.integers(x + 1, width + 1) for x in left])
    integral = Integral(torch.from_numpy(values), np.r_[top, bottom], np.r_[left, right])
    means = integral.means(top, bottom, left, right)
    assert means.dtype == np.float64
    for i in range(count):
        window = values[top[i] : bottom[i], left[i] : right[i]].astype(np.float64)
        np.testing.assert_allclose(means[i], window.mean(), rtol=1e-9, atol=1e-12)


def test_a_small_window_beside_a_large_sum_keeps_its_digits() -> None:
    """In float32 the sum of what is above would swallow it."""
    values = torch.full((2000, 1000), 1.0)
    values[-1, -1] = 1e-6
    edges = np.array([0, 999, 1000, 1999, 2000])
    last = [np.array([edge]) for edge in (1999, 2000, 999, 1000)]
    mean = Integral(values, edges, edges[:3]).means(*last)
    np.testing.assert_allclose(mean, 1e-6, rtol=1e-3)


@given(seed=st.integers(0, 99), size=st.floats(1e-6, 100))
@settings(max_examples=20, deadline=None)
def test_equal_windows_have_equal_means_wherever_they_are(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    values = (size * rng.standard_normal((60, 80)) ** 2).astype(np.float32)
    values[12:24, 12:24] = values[36:48, 60:72]
    values[24:36, 60:72] = 0
    edges = np.arange(0, 81, 12)
    integral = Integral(torch.from_numpy(values), edges[:6], edges)
    top, left = np.array([12, 36, 24]), np.array([12, 60, 60])
    one, other, nothing = integral.means(top, top + 12, left, left + 12)
    assert one == other
    assert nothing == 0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e15])
def test_a_network_gone_wrong_shows_in_the_mean(wrong: float) -> None:
    values = np.ones((20, 20), np.float32)
    values[15, 15] = wrong
    with np.errstate(invalid="ignore"):
        mean = Integral(torch.from_numpy(values), np.r_[10, 20], np.r_[10, 20]).means(
            *(np.array([edge]) for edge in (10, 20, 10, 20))
        )
    np.testing.assert_allclose(mean, values[10:, 10:].astype(np.float64).mean())


@given(size=st.integers(1, 40).map(lambda n: 12 * n), data=st.data())
@settings(deadline=None)
def test_cells_cover_what_is_scored(size: int, data: st.DataObject) -> None:
    margin = data.draw(st.integers(0, (size - 1) // 2))
    starts, stops = cell_edges(size, margin, 16)
    assert (stops > starts).all()
    covered = np.zeros(size, bool)
    for start, stop in zip(starts, stops, strict=True):
        covered[start:stop] = True
    assert np.flatnonzero(covered).tolist() == list(range(margin, size - margin))
    if size % 16 == 0 and margin == 0:
        assert (stops - starts == size // 16).all()
