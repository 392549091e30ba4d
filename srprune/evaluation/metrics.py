"""PSNR and SSIM of two images: of one channel in double precision, or of Y straight from RGB.

Nothing is inferred: values are on the scale 0..255, and the caller has cropped the border.

SSIM works on the sum and the difference of the two images, tile by tile so that everything stays
in a core's cache. The window is separable, so a tile is filtered by two products with banded
matrices, which BLAS does faster than any loop over its 11 taps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from srprune.images.color import COEFFICIENTS, OFFSETS

PEAK = 255.0
_K1, _K2 = 0.01, 0.03
_SIGMA, _RADIUS = 1.5, 5  # an 11x11 window
_MARGIN = 2 * _RADIUS  # px that a map is smaller than its image
_ROWS, _COLUMNS = 64, 256  # of the map, at a time
_BAND = 32  # rows of a banded matrix: mostly zeros if large, many small products if small

_FAR = PEAK / 16  # rms difference of a tile from which on float32 is not enough: 24 dB

_THOUSANDTHS = 1000 * PEAK  # Y in this unit is whole, and float32 holds 24 bits of it exactly

Image = npt.NDArray[np.float64]
Byte = npt.NDArray[np.uint8]
Real = TypeVar("Real", np.float32, np.float64)


def psnr(a: Image, b: Image) -> float:
    """Peak signal-to-noise ratio, dB; infinite for equal images.

    Args:
        a: (H, W) float64 on the scale 0..255.
        b: the same shape.
    """
    return _decibels(float(np.mean((a - b) ** 2)), PEAK)


def ssim(a: Image, b: Image) -> float:
    """Structural similarity of Wang et al. 2004, the mean of the map; 1 for equal images.

    11x11 Gaussian window with sigma 1.5, only where it fits whole ("valid"), population
    covariance, K = (0.01, 0.03): as in the authors' MATLAB code, RCAN, BasicSR and KAIR.

    Args:
        a: (H, W) float64 on the scale 0..255, sides of at least 11 px.
        b: the same shape.
    """
    total = 0.0
    for rows, columns in _tiles(*a.shape):
        here, there = a[rows, columns], b[rows, columns]
        total += _similarity(_maps(here + there - PEAK, here - there), PEAK)
    return total / _windows(*a.shape)


def psnr_ssim_y(a: Byte, b: Byte) -> tuple[float, float]:
    """PSNR-Y and SSIM-Y of two RGB images, Y not rounded: as :func:`psnr` and :func:`ssim` of it.

    SSIM is in single precision, several times as fast, and within 1e-6 of double precision on
    photographs; 2e-6 on flat drawings. Local variances are differences of squares, whose rounding
    grows with what the images differ by, so tiles that differ much are done in double. PSNR is
    within 1e-6 dB, and exact up to the last digits where what red, green and blue add to the
    difference of Y comes, without its signs, to less than 65 everywhere.

    Args:
        a: (H, W, 3) uint8, sides of at least 11 px.
        b: the same shape.
    """
    height, width = a.shape[:2]
    weights = np.round(1000 * np.array(COEFFICIENTS[0])).astype(np.float32)
    peak = PEAK * _THOUSANDTHS
    level = np.float32(2 * OFFSETS[0] * _THOUSANDTHS - peak)
    squares = similarity = 0.0
    for rows, columns in _tiles(height, width):
        here, there = (image[rows, columns].astype(np.float32) for image in (a, b))
        total: npt.NDArray[np.float32] = np.add(here, there) @ weights
        total += level
        here -= there
        difference: npt.NDArray[np.float32] = here @ weights
        maps = _maps(total, difference)
        # Neighbouring tiles share a margin, which counts for the first of them.
        top, left = (_MARGIN if side.start else 0 for side in (rows, columns))
        own = difference[top:, left:].astype(np.float64)
        energy = float(np.vdot(own, own))
        squares += energy
        if energy > own.size * (_FAR * _THOUSANDTHS) ** 2:
            wide = _maps(total.astype(np.float64), difference.astype(np.float64))
            similarity += _similarity(wide, peak)
        else:
            similarity += _similarity(maps, peak)
    return _decibels(squares / (height * width), peak), similarity / _windows(height, width)


def _decibels(mse: float, peak: float) -> float:
    return 10 * math.log10(peak**2 / mse) if mse else math.inf


def _windows(height: int, width: int) -> int:
    """How many whole windows there are."""
    return (height - _MARGIN) * (width - _MARGIN)


def _tiles(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of tiles whose maps cover that of the image once."""
    for top in range(0, height - _MARGIN, _ROWS):
        for left in range(0, width - _MARGIN, _COLUMNS):
            yield (
                slice(top, min(top + _ROWS + _MARGIN, height)),
                slice(left, min(left + _COLUMNS + _MARGIN, width)),
            )


def _maps(total: npt.NDArray[Real], difference: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """(H, 4, W): sum of two images less the peak, difference, and the squares of both."""
    maps = np.empty((len(total), 4, total.shape[1]), total.dtype)
    maps[:, 0], maps[:, 1] = total, difference
    np.square(maps[:, :2], out=maps[:, 2:])
    return maps


def _similarity(maps: npt.NDArray[Real], peak: float) -> float:
    """Sum of the SSIM map of one tile, given its :func:`_maps`.

    With S and D the local means of the sum and of the difference, and P and Q their local
    variances, ``2 (2 mean_a mean_b + c1) = S^2 - D^2 + 2 c1`` and
    ``2 (mean_a^2 + mean_b^2 + c1) = S^2 + D^2 + 2 c1``; and likewise P and Q give the covariance
    and the sum of the variances. What rounding does to P thus matters only where Q is large.
    """
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    sums, differences, sum_squares, difference_squares = _blur(maps).transpose(1, 0, 2)
    sum_squares -= sums**2
    sums += sums.dtype.type(peak)
    np.square(sums, out=sums)
    sums += sums.dtype.type(2 * c1)
    np.square(differences, out=differences)
    difference_squares -= differences
    sum_squares += sums.dtype.type(2 * c2)
    similarity = (sums - differences) * (sum_squares - difference_squares)
    similarity /= (sums + differences) * (sum_squares + difference_squares)
    return float(similarity.sum(dtype=np.float64))


def _blur(maps: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """Gaussian mean of every whole 11x11 window of (H, M, W) maps: (H - 10, M, W - 10)."""
    height, count, width = maps.shape
    rows, columns = height - _MARGIN, width - _MARGIN
    band, flat = _band(maps.dtype.char), maps.reshape(height, count * width)
    down = np.empty((rows, count * width), maps.dtype)
    for top in range(0, rows, _BAND):
        few = min(_BAND, rows - top)
        seen = slice(top, top + few + _MARGIN)
        np.matmul(band[:few, : few + _MARGIN], flat[seen], out=down[top : top + few])
    down = down.reshape(rows * count, width)
    across = np.empty((rows * count, columns), maps.dtype)
    for left in range(0, columns, _BAND):
        few = min(_BAND, columns - left)
        seen = slice(left, left + few + _MARGIN)
        np.matmul(down[:, seen], band[:few, : few + _MARGIN].T, out=across[:, left : left + few])
    return across.reshape(rows, count, columns)


@cache
def _band(dtype: str) -> npt.NDArray[np.floating]:
    """(32, 42): row i holds the Gaussian's weights from column i on; read-only."""
    offsets = np.arange(-_RADIUS, _RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    band = np.zeros((_BAND, _BAND + _MARGIN), dtype)
    for row in range(_BAND):
        band[row, row : row + len(weights)] = weights
    band.flags.writeable = False  # shared by all callers through the cache
    return band
