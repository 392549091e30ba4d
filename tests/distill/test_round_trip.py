"""The bicubic round trip, held against OpenCV."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srprune.core.patches import ImageRecord, PatchIndex
from srprune.data.patches import PatchPool
from srprune.distill.round_trip import RoundTrip, psnr_of, round_trip_mse
from tests.conftest import picture

SQUARES = (np.arange(64).reshape(8, 8) ** 2 % 251).astype(np.uint8)


def grey(levels: np.ndarray) -> np.ndarray:
    return np.stack([levels] * 3, axis=2)


@pytest.mark.parametrize(
    ("rgb", "mse", "psnr"),
    [
        # cv2 5.0.0: resize(.., INTER_CUBIC) of float32 by 1/4 and by 4, Pillow's "L" before it
        (grey(SQUARES), 8303.722, 8.938076),
        (picture(48, 60, 0), 32.553734, 33.004795),
        (picture(48, 60, 3), 27.98379, 33.661736),
    ],
)
def test_values_of_opencv(rgb: np.ndarray, mse: float, psnr: float) -> None:
    assert round_trip_mse(rgb) == pytest.approx(mse, rel=1e-6)
    assert float(psnr_of(round_trip_mse(rgb))) == pytest.approx(psnr, abs=1e-5)


@settings(max_examples=20)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 2**31))
def test_it_is_opencvs_resize(high: int, wide: int, seed: int) -> None:
    cv2 = pytest.importorskip("cv2")
    rgb = np.random.default_rng(seed).integers(0, 256, (4 * high, 4 * wide, 3), np.uint8)
    levels = np.asarray(Image.fromarray(rgb).convert("L")).astype(np.float32)
    small = cv2.resize(levels, (wide, high), interpolation=cv2.INTER_CUBIC)
    again = cv2.resize(small, (4 * wide, 4 * high), interpolation=cv2.INTER_CUBIC)
    assert round_trip_mse(rgb) == pytest.approx(float(np.mean((levels - again) ** 2)), rel=1e-4)


def test_a_flat_patch_loses_nothing() -> None:
    assert round_trip_mse(np.full((24, 24, 3), 77, np.uint8)) == pytest.approx(0, abs=1e-20)
    assert float(psnr_of(0.0)) == np.inf  # and no warning


def test_psnr_is_against_255() -> None:
    assert psnr_of([255.0**2, 255.0**2 / 100]).tolist() == pytest.approx([0, 20])


class Still:
    """Images in memory in place of a store."""

    def __init__(self, image: np.ndarray) -> None:
        self.pixels = image

    def crop(self, number: int, top: int, left: int, size: int) -> np.ndarray:
        return self.pixels[top : top + size, left : left + size]


def test_a_patch_is_scored_alone_and_in_any_batch() -> None:
    rgb = picture(48, 96)
    corners = np.array([0, 24, 48])
    index = PatchIndex(
        48, 24, (ImageRecord("a", 48, 96, ""),), np.zeros(3, int), np.zeros(3, int), corners
    )
    pool = PatchPool(index, Still(rgb), None, 2)  # type: ignore[arg-type]
    expected = [round_trip_mse(np.ascontiguousarray(rgb[:, left : left + 48])) for left in corners]
    scores = RoundTrip()(np.arange(3), pool)
    assert scores.dtype == np.float64 and scores.tolist() == expected
    assert RoundTrip()(np.array([2]), pool).tolist() == expected[2:]
