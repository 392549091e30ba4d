"""The patch grid: windows over an image, a pure function of its sides, size and stride.

The rule is that of BasicSR's ``extract_subimages.py`` with ``thresh_size`` 0, the standard
practice for DIV2K: windows at 0, stride, 2*stride, ... and one more, flush with the far edge,
where pixels remain. With 480/240 the 800 DIV2K training images give 32,592 patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError
from srprune.core.patches import ALIGNMENT


def aligned(side: int) -> int:
    """A side in px, cut down to a multiple of 12, so that every scale divides it."""
    return side - side % ALIGNMENT


def check_grid(size: int, stride: int) -> None:
    """Refuse a grid that scales 2, 3 and 4 cannot share.

    Raises:
        InputError: size or stride is not a positive multiple of 12, or stride exceeds size.
    """
    for name, value in (("size", size), ("stride", stride)):
        if value < ALIGNMENT or value % ALIGNMENT:
            raise InputError(
                f"{name} is {value}; it must be a positive multiple of {ALIGNMENT} px, so that "
                f"patches fit scales 2, 3 and 4 alike. Near: {max(aligned(value), ALIGNMENT)}."
            )
    if stride > size:
        raise InputError(
            f"stride is {stride}, over the size {size}: pixels between patches would be lost. "
            f"Choose a stride of at most {size}."
        )


def starts(side: int, size: int, stride: int) -> npt.NDArray[np.int32]:
    """Window positions along one side, in px; the last window is flush with the edge.

    Args:
        side: px, at least ``size``.
        size: px.
        stride: px.
    """
    positions = np.arange(0, side - size + 1, stride, dtype=np.int32)
    if positions[-1] + size < side:
        positions = np.append(positions, np.int32(side - size))
    return positions


def windows(height: int, width: int, size: int, stride: int) -> npt.NDArray[np.int32]:
    """(n, 2) int32 top and left of every patch of an image, row by row.

    ``height`` and ``width`` are those of the stored image (multiples of 12, at least ``size``).
    """
    tops, lefts = starts(height, size, stride), starts(width, size, stride)
    return np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)


def grid(
    shapes: Sequence[tuple[int, int]], size: int, stride: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Windows of many images: (N,) image position, top and left, each int32."""
    per_image = [windows(height, width, size, stride) for height, width in shapes]
    counts = [len(one) for one in per_image]
    corners = np.concatenate(per_image)
    image_N = np.repeat(np.arange(len(shapes), dtype=np.int32), counts)
    return image_N, corners[:, 0].copy(), corners[:, 1].copy()
