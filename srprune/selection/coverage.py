"""How many pixels a set of patches covers, overlaps counted once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srprune.core.patches import PatchIndex

Whole = npt.NDArray[np.int64]

CELLS = 1 << 23  # cells of the compressed images at a time: 32 MB
PATCHES = 1 << 22  # patches at a time, about


def covered_pixels(index: PatchIndex, ids: Whole | None = None) -> int:
    """Pixels that patches cover, overlaps counted once.

    Images of one shape have their windows at the same few places, so between these places an
    image is a small grid of cells, and many images are counted at once.

    Args:
        index: the patches.
        ids: of those that count; all by default.
    """
    image_M, top_M, left_M = (
        column if ids is None else column[ids]
        for column in (index.image_N, index.top_N, index.left_N)
    )
    if (image_M[1:] < image_M[:-1]).any():
        order_M = np.argsort(image_M, kind="stable")
        image_M, top_M, left_M = image_M[order_M], top_M[order_M], left_M[order_M]
    ends_I = np.cumsum(np.bincount(image_M, minlength=len(index.images)))
    starts_I = np.r_[0, ends_I[:-1]]
    shapes_I = np.array([image.height << 32 | image.width for image in index.images])
    order_I = np.argsort(shapes_I, kind="stable")
    covered = 0
    for images in np.split(order_I, np.flatnonzero(np.diff(shapes_I[order_I])) + 1):
        patches = int((ends_I[images] - starts_I[images]).sum())
        for some in np.array_split(images, min(patches // PATCHES + 1, len(images))):
            rows_M = _rows(starts_I[some], ends_I[some])
            number_M = np.repeat(np.arange(len(some)), ends_I[some] - starts_I[some])
            if len(number_M):
                covered += _union(number_M, top_M[rows_M], left_M[rows_M], index.size)
    return covered


def _rows(starts_I: Whole, ends_I: Whole) -> Whole | slice:
    """The rows of several images, one after the other; a slice where they already are."""
    if np.array_equal(starts_I[1:], ends_I[:-1]):
        return slice(int(starts_I[0]), int(ends_I[-1]))
    lengths_I = ends_I - starts_I
    shifts_I = starts_I - np.r_[0, np.cumsum(lengths_I)[:-1]]
    return np.repeat(shifts_I, lengths_I) + np.arange(lengths_I.sum())


def _union(
    number_M: Whole,
    top_M: npt.NDArray[np.int32],
    left_M: npt.NDArray[np.int32],
    size: int,
) -> int:
    """Area of the union of squares, in px, over images numbered from 0 in rising order."""
    (tops, bottoms, ys), (lefts, rights, xs) = (_cells(at_M, size) for at_M in (top_M, left_M))
    area_YX = np.outer(np.diff(ys), np.diff(xs))
    cells = len(ys) * len(xs)
    some = max(CELLS // cells, 1)
    covered = 0
    for first in range(0, int(number_M[-1]) + 1, some):
        part = slice(*np.searchsorted(number_M, (first, first + some)).tolist())
        images = min(some, int(number_M[-1]) + 1 - first)
        # +1 and -1 at the corners; two running sums make of them how many squares lie on a cell
        depth = np.zeros(cells * images, dtype=np.int32)  # images last, so that sums run over many
        own_M = number_M[part] - first
        for y_M, x_M, step in (
            (tops, lefts, 1),
            (tops, rights, -1),
            (bottoms, lefts, -1),
            (bottoms, rights, 1),
        ):
            np.add.at(depth, (y_M[part] * len(xs) + x_M[part]) * images + own_M, np.int32(step))
        depth_YXI = depth.reshape(len(ys), len(xs), images)
        for y in range(1, len(ys)):
            depth_YXI[y] += depth_YXI[y - 1]
        for x in range(1, len(xs)):
            depth_YXI[:, x] += depth_YXI[:, x - 1]
        covered_YX = np.count_nonzero(depth_YXI, axis=2)[:-1, :-1]
        covered += int((covered_YX * area_YX).sum())
    return covered


def _cells(at_M: npt.NDArray[np.int32], size: int) -> tuple[Whole, Whole, Whole]:
    """Along one side: cell that each square begins in, cell behind it, and where cells begin."""
    used = np.zeros(int(at_M.max()) + size + 1, dtype=bool)
    used[at_M] = True
    used[size:] |= used[:-size].copy()
    cell_of = np.cumsum(used) - 1
    return cell_of[at_M], cell_of[at_M + size], np.flatnonzero(used)
