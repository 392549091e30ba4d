"""Colour as MATLAB's ``rgb2ycbcr``: BT.601, studio range. The one home of its coefficients.

On the 0..255 scale luma Y runs from 16 (black) to 235 (white), Cb and Cr from 16 to 240 about
128. MATLAB rounds the result of a uint8 image; here only :func:`rgb_to_y8` does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Byte = npt.NDArray[np.uint8]

# Rows Y, Cb, Cr; columns R, G, B, of colours on the scale 0..1. Results are on the scale 0..255.
COEFFICIENTS = (
    (65.481, 128.553, 24.966),
    (-37.797, -74.203, 112.0),
    (112.0, -93.786, -18.214),
)
GREY = (0.299, 0.587, 0.114)  # weights of R, G and B in full-range grey, BT.601
OFFSETS = (16.0, 128.0, 128.0)  # of Y, Cb and Cr on the scale 0..255

_FORWARD = np.array(COEFFICIENTS) / 255  # from the scale 0..255 to the scale 0..255
_INVERSE = np.linalg.inv(_FORWARD)


def rgb_to_y(rgb: Byte | Float) -> Float:
    """Luma of an image, not rounded.

    Args:
        rgb: (H, W, 3), uint8 or float64, 0..255.

    Returns:
        (H, W) float64, 16..235.

    Raises:
        TypeError: another dtype.
        ValueError: the last dimension is not 3.
    """
    _check(rgb)
    red, green, blue = COEFFICIENTS[0]
    y: Float = np.multiply(rgb[..., 0], red, dtype=np.float64)
    y += rgb[..., 1] * green
    y += rgb[..., 2] * blue
    y /= 255
    y += OFFSETS[0]
    return y


def rgb_to_y8(rgb: Byte) -> Byte:
    """Luma of an (H, W, 3) uint8 image, rounded half up to (H, W) uint8; errors as rgb_to_y."""
    return (rgb_to_y(rgb) + 0.5).astype(np.uint8)  # positive, so cutting off is rounding down


def rgb_to_grey8(rgb: Byte) -> Byte:
    """Full-range grey of (H, W, 3) uint8, as cv2's RGB2GRAY: 0..255, rounded half up, (H, W).

    Not luma: it is what gradient scores are computed on, never PSNR or SSIM.
    """
    grey: Float = rgb @ np.array(GREY)
    return (grey + 0.5).astype(np.uint8)


def rgb_to_ycbcr(rgb: Byte | Float) -> Float:
    """Y, Cb and Cr of (H, W, 3) uint8 or float64 in 0..255: (H, W, 3) float64, not rounded.

    Raises:
        TypeError: another dtype.
        ValueError: the last dimension is not 3.
    """
    _check(rgb)
    return rgb @ _FORWARD.T + OFFSETS


def ycbcr_to_rgb(ycbcr: Byte | Float) -> Float:
    """The inverse of :func:`rgb_to_ycbcr`, with the same shapes and errors; not clipped."""
    _check(ycbcr)
    rgb: Float = (ycbcr - np.array(OFFSETS)) @ _INVERSE.T
    return rgb


def _check(image: Byte | Float) -> None:
    if image.dtype not in (np.uint8, np.float64):
        raise TypeError(
            f"a colour image is uint8 or float64 on the scale 0..255, not {image.dtype}"
        )
    if image.shape[-1:] != (3,):
        raise ValueError(f"a colour image has 3 channels last; its shape is {image.shape}")
