"""Descriptors of patches: a few numbers each, from the grey of the HR image.

Each is computed once over a whole image; sums over patches come from integral images of whole
numbers, so they are exact. A difference of pixels counts where both lie in the patch: a patch has
the same descriptor wherever it is cut from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from srprune.core.registry import Table
from srprune.images.color import rgb_to_grey8

Byte = npt.NDArray[np.uint8]
Grey = npt.NDArray[np.int32]
Whole = npt.NDArray[np.int64]
Corners = npt.NDArray[np.integer]
Features = npt.NDArray[np.float32]
Compute = Callable[[Byte, Corners, Corners, int], Features]

FEATURES = Table(
    "feature",
    {
        "texture": "srprune.images.descriptors:texture",
        "gradient": "srprune.images.descriptors:gradient",
        "dhash": "srprune.images.perceptual_hash:dhash",
    },
)

SCALES = (1, 2, 4)  # they divide 12, so patches of every grid stay aligned
# (down, right) from a pixel to the one it is compared with
DIRECTIONS = {"right": (0, 1), "down": (1, 0), "falling": (1, 1), "rising": (1, -1)}


@dataclass(frozen=True)
class Descriptor:
    """Features of patches of an image.

    Attributes:
        names: of the D features.
        compute: (H, W, 3) uint8 RGB, (n,) tops, (n,) lefts, size, all px -> (n, D) float32.
    """

    names: tuple[str, ...]
    compute: Compute


class Sums:
    """Sums of whole numbers over rectangles of an image."""

    def __init__(self, values_HW: npt.NDArray[np.integer]) -> None:
        """Make the integral image of (H, W) whole numbers; sums must fit int64."""
        height, width = values_HW.shape
        self._sums = np.zeros((height + 1, width + 1), dtype=np.int64)
        inside = self._sums[1:, 1:]
        np.cumsum(values_HW, axis=0, dtype=np.int64, out=inside)
        np.cumsum(inside, axis=1, out=inside)

    def over(self, tops: Corners, lefts: Corners, bottoms: Corners, rights: Corners) -> Whole:
        """Sums over rows ``tops`` to ``bottoms`` and columns ``lefts`` to ``rights``, exclusive."""
        s = self._sums
        return s[bottoms, rights] - s[tops, rights] - s[bottoms, lefts] + s[tops, lefts]


def _differences(grey_HW: Grey, down: int, right: int) -> Grey:
    """(H - down, W - abs(right)) magnitudes of the difference of each pair of neighbours.

    The pair whose upper and left sides are at (y, x) stands at (y, x), whichever way it leans.
    """
    height, width = grey_HW.shape
    wide = width - abs(right)
    here, there = max(-right, 0), max(right, 0)
    lower_HW = grey_HW[down:, there : there + wide]
    differences: Grey = np.abs(grey_HW[: height - down, here : here + wide] - lower_HW)
    return differences


def _texture(rgb: Byte, tops: Corners, lefts: Corners, size: int) -> Features:
    """log(1 + mean difference of neighbours) in 4 directions, at 3 sizes of the image."""
    return np.stack(list(_texture_columns(rgb, tops, lefts, size)), axis=1)


def _texture_columns(rgb: Byte, tops: Corners, lefts: Corners, size: int) -> Iterator[Features]:
    grey = rgb_to_grey8(rgb).astype(np.int32)
    for scale in SCALES:
        height, width = (side // scale for side in grey.shape)
        # sums in place of means keep whole numbers whole
        small = grey.reshape(height, scale, width, scale).sum(axis=(1, 3), dtype=np.int32)
        side = size // scale
        top, left = tops // scale, lefts // scale
        for down, right in DIRECTIONS.values():
            high, wide = side - down, side - abs(right)
            sums = Sums(_differences(small, down, right)).over(top, left, top + high, left + wide)
            yield np.log1p(sums / (scale**2 * high * wide)).astype(np.float32)


def _gradient(rgb: Byte, tops: Corners, lefts: Corners, size: int) -> Features:
    """Mean and standard deviation of the gradient's magnitude, across and down (as WBSR has it)."""
    grey = rgb_to_grey8(rgb).astype(np.int32)
    columns = []
    for down, right in (DIRECTIONS["right"], DIRECTIONS["down"]):
        values = _differences(grey, down, right)
        ends = tops + size - down, lefts + size - right
        num = (size - down) * (size - right)
        total, squares = (Sums(each).over(tops, lefts, *ends) for each in (values, values**2))
        # num**2 times the variance, whole: no rounding, so a flat patch has exactly 0
        columns += [total / num, np.sqrt(num * squares - total**2) / num]
    return np.stack(columns, axis=1).astype(np.float32)


texture = Descriptor(tuple(f"{way}_x{scale}" for scale in SCALES for way in DIRECTIONS), _texture)
gradient = Descriptor(("mean_right", "std_right", "mean_down", "std_down"), _gradient)
