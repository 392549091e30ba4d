"""BT.601 studio-range colour in numpy: known values, inverses and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from srprune.images.color import rgb_to_y, rgb_to_y8, rgb_to_ycbcr, ycbcr_to_rgb

COLOURS = np.array(
    [[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8
)
# MATLAB-exact reference values, published with this project's protocol in docs/protocol.md.
LUMA = [16, 235, 81.481, 144.553, 40.966]

byte_images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3)))


def test_luma_of_pure_colours() -> None:
    y = rgb_to_y(COLOURS)
    assert y.shape == (1, 5)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y[0], LUMA, atol=1e-12)
    np.testing.assert_allclose(rgb_to_y(COLOURS.astype(np.float64)), y, atol=1e-12)


def test_rounded_luma() -> None:
    y = rgb_to_y8(COLOURS)
    assert y.dtype == np.uint8
    assert y[0].tolist() == [16, 235, 81, 145, 41]


def test_chroma_of_pure_colours() -> None:
    ycbcr = rgb_to_ycbcr(COLOURS)[0]
    np.testing.assert_allclose(ycbcr[:, 0], LUMA, atol=1e-12)
    np.testing.assert_allclose(ycbcr[:2, 1:], 128, atol=1e-12)  # greys have no colour
    np.testing.assert_allclose(ycbcr[4, 1], 240, atol=1e-12)
    np.testing.assert_allclose(ycbcr[2, 2], 240, atol=1e-12)


@given(byte_images)
def test_conversions_agree(rgb: Any) -> None:
    ycbcr = rgb_to_ycbcr(rgb)
    y = rgb_to_y(rgb)
    np.testing.assert_allclose(ycbcr[..., 0], y, atol=1e-12)
    np.testing.assert_array_equal(rgb_to_y8(rgb), np.floor(y + 0.5))
    assert 15.999 < y.min() <= y.max() < 235.001


@given(hnp.arrays(np.float64, (3, 4, 3), elements=st.floats(-50, 300)))
def test_inverses(colour: Any) -> None:
    np.testing.assert_allclose(ycbcr_to_rgb(rgb_to_ycbcr(colour)), colour, atol=1e-9)
    np.testing.assert_allclose(rgb_to_ycbcr(ycbcr_to_rgb(colour)), colour, atol=1e-9)


@pytest.mark.parametrize("function", [rgb_to_y, rgb_to_y8, rgb_to_ycbcr, ycbcr_to_rgb])
def test_errors(function: Any) -> None:
    with pytest.raises(TypeError, match="uint8 or float64"):
        function(np.zeros((2, 2, 3), np.float32))
    with pytest.raises(ValueError, match="3 channels last"):
        function(np.zeros((3, 2, 2), np.uint8))
