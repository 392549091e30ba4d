"""How many pixels a set of patches covers, overlaps counted once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srprune.core.patches import PatchIndex

Whole = npt.NDArray[np.int64]

CELLS = 1 << 23  # cells of the compressed images at a time, one or two bytes each
PATCHES = 1 << 20  # patches at a time, about


def rows_of_images(index: PatchIndex, ids: Whole | None = None) -> tuple[Whole, Whole]:
    """First row of each image, and the row behind its last one.

    Args:
        index: the patches.
        ids: sorted; rows are then those of the ids, and of the index by default.

    Returns:
        Two arrays, (images,) int64.
    """
    borders = np.r_[0, np.cumsum(index.patches_per_image)]
    if ids is not None:
        borders = np.searchsorted(ids, borders)
    return borders[:-1], borders[1:]


def covered_pixels(index: PatchIndex, ids: Whole | None = None) -> int:
    """Pixels that patches cover, overlaps counted once.

    Images of one shape have their windows at the same few places, so between these places an
    image is a small grid of cells, and many images are counted at once.

    Args:
        index: the patches.
        ids: of those that count; all by default.
    """
    if ids is not None and (ids[1:] < ids[:-1]).any():
        ids = np.sort(ids)
    starts_I, ends_I = rows_of_images(index, ids)
    shapes_I = np.array([image.height << 32 | image.width for image in index.images])
    order_I = np.argsort(shapes_I, kind="stable")
    covered = 0
    for images in np.split(order_I, np.flatnonzero(np.diff(shapes_I[order_I])) + 1):
        patches = int((ends_I[images] - starts_I[images]).sum())
        for some in np.array_split(images, min(patches // PATCHES + 1, len(images))):
            number_M = np.repeat(np.arange(len(some)), ends_I[some] - starts_I[some])
            if len(number_M):
                ids_M = _rows(starts_I[some], ends_I[some])
                ids_M = ids_M if ids is None else ids[ids_M]
                covered += _union(number_M, index.top_N[ids_M], index.left_N[ids_M], index.size)
    return covered


def _rows(starts_I: Whole, ends_I: Whole) -> Whole:
    """The rows of several images, one after the other."""
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
    (tops, y_M, ys), (lefts, x_M, xs) = (_cells(at_M, size) for at_M in (top_M, left_M))
    area_YX = np.outer(np.diff(ys), np.diff(xs))
    some = max(CELLS // (len(ys) * len(xs)), 1)
    covered = 0
    for first in range(0, int(number_M[-1]) + 1, some):
        part = slice(*np.searchsorted(number_M, (first, first + some)).tolist())
        images = min(some, int(number_M[-1]) + 1 - first)
        # images last, so that one step runs over many of them
        is_there = np.zeros((len(tops), len(lefts), images), dtype=bool)
        place_M = y_M[part] * len(lefts) + x_M[part]
        is_there.reshape(-1)[place_M * images + number_M[part] - first] = True
        rows_YXI = _spread(is_there, tops, ys, size)
        cells_XYI = _spread(rows_YXI.swapaxes(0, 1), lefts, xs, size)
        covered += int((np.count_nonzero(cells_XYI, axis=2).T * area_YX).sum())
    return covered


def _cells(at_M: npt.NDArray[np.int32], size: int) -> tuple[Whole, Whole, Whole]:
    """Along one side: where squares begin, which of these each square has, and borders of cells."""
    used = np.bincount(at_M) > 0
    begins = np.flatnonzero(used)
    return begins, (np.cumsum(used) - 1)[at_M], np.union1d(begins, begins + size)


def _spread(
    is_there: npt.NDArray[np.bool_], begins: Whole, borders: Whole, size: int
) -> npt.NDArray[np.bool_]:
    """From where squares begin, along the first axis, to the cells that they lie on."""
    on = np.zeros((len(borders) - 1, *is_there.shape[1:]), dtype=bool)
    depth = np.zeros(is_there.shape[1:], dtype=np.min_scalar_type(len(begins)))
    first, behind = (np.searchsorted(borders, at).tolist() for at in (begins, begins + size))
    for cell, into in enumerate(on):
        if cell in first:
            depth += is_there[first.index(cell)]
        if cell in behind:
            depth -= is_there[behind.index(cell)]
        np.not_equal(depth, 0, out=into)
    return on
