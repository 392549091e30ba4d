"""Thumbnails in sheets: WebP pictures small enough to stand in one HTML file by the ten thousand.

How large and how good they are follows from how many there are and how many bytes they may take.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from srprune.core.parallel import in_threads
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent

Pixels = npt.NDArray[np.uint8]

COLUMNS = 16  # tiles side by side in a sheet, and one below the other
PER_SHEET = COLUMNS**2
# Sides are multiples of 16 px, the block of WebP: a block that two tiles share bleeds.
THUMBS = ((96, 80), (96, 60), (80, 65), (80, 50), (64, 65), (64, 50), (48, 65), (48, 50), (48, 35),
          (32, 60), (32, 40), (16, 60), (16, 30))  # fmt: skip
IMAGES = ((480, 75), (320, 70), (240, 65), (160, 60), (96, 50), (64, 40), (32, 30))
TRIED_IMAGES = 24  # that tell how large all thumbnails will be
MAP_QUALITY = 75
LANCZOS = Image.Resampling.LANCZOS


@dataclass(frozen=True)
class Sheets:
    """Pictures of one kind.

    Attributes:
        files: WebP, each whole.
        side: of a tile, px; the longer side where they are oblong.
        quality: of WebP, 0 to 100.
    """

    files: Sequence[bytes]
    side: int
    quality: int

    @property
    def num_bytes(self) -> int:
        """Of all files together."""
        return sum(map(len, self.files))


def patch_sheets(
    index: PatchIndex,
    image: Callable[[int], Pixels],
    order_N: npt.NDArray[np.integer[Any]],
    budget: int,
    *,
    workers: int = 1,
    progress: Progress = silent,
) -> Sheets:
    """A thumbnail of every patch, the largest and best that fit, in the order given.

    Args:
        index: the patches.
        image: gives image i.
        order_N: patch ids as they stand in the sheets: what is seen together stands together.
        budget: bytes of all sheets; exceeded only where the smallest thumbnails do.
        workers: threads.
        progress: told after each image.
    """
    sizes = _up_to(THUMBS, index.size)
    sample = _sample(index, image, sizes[0][0], workers)
    thumbs = np.zeros((0, 0, 0, 3), np.uint8)
    found = Sheets((), 0, 0)
    for side, quality in sizes:
        if (side, quality) != THUMBS[-1] and _per_tile(sample, side, quality) * len(index) > budget:
            continue
        if thumbs.shape[1] != side:
            thumbs = _thumbs(index, image, order_N, side, workers, progress)
        found = Sheets(_sheets(thumbs, quality, workers), side, quality)
        if found.num_bytes <= budget:
            break
    return found


def image_thumbs(
    count: int, image: Callable[[int], Pixels], budget: int, *, workers: int = 1
) -> Sheets:
    """One small picture of each image, the largest and best that fit."""
    found = Sheets((), 0, 0)
    tried = np.unique(np.linspace(0, count - 1, TRIED_IMAGES).round().astype(int)).tolist()
    for side, quality in IMAGES:

        def small(i: int, side: int = side, quality: int = quality) -> bytes:
            picture = Image.fromarray(image(i))
            picture.thumbnail((side, side), LANCZOS, reducing_gap=2.0)
            return _webp(picture, quality)

        sample = sum(map(len, _all(small, tried, workers))) / len(tried)
        if (side, quality) != IMAGES[-1] and sample * count > budget:
            continue
        found = Sheets(_all(small, range(count), workers), side, quality)
        if found.num_bytes <= budget:
            break
    return found


def map_sheets(
    cells_NHW: npt.NDArray[np.float32],
    order_N: npt.NDArray[np.integer[Any]],
    workers: int = 1,
) -> tuple[Sheets, float, float]:
    """Error maps as grey tiles on a logarithmic scale, with the errors that are black and white.

    The scale is one for all patches, so that maps compare; a few extreme cells do not decide it.
    """
    above = cells_NHW[cells_NHW > 0]
    low, high = np.quantile(above, (0.02, 0.999)).tolist() if above.size else (1e-3, 1.0)
    high = max(high, 2 * low)
    levels = np.log(np.clip(cells_NHW, low, high) / low) / math.log(high / low)
    grey = np.repeat((255 * levels[order_N] + 0.5).astype(np.uint8)[..., None], 3, axis=3)
    files = _sheets(grey, MAP_QUALITY, workers)
    return Sheets(files, int(cells_NHW.shape[1]), MAP_QUALITY), float(low), float(high)


def _up_to(candidates: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Those not larger than a patch; the last one always."""
    return [c for c in candidates if c[0] <= size or c == candidates[-1]]


def _thumbs(
    index: PatchIndex,
    image: Callable[[int], Pixels],
    ids: npt.NDArray[np.integer[Any]],
    side: int,
    workers: int,
    progress: Progress = silent,
) -> Pixels:
    """(len(ids), side, side, 3), in the order of ``ids``; every image is read once."""
    thumbs = np.empty((len(ids), side, side, 3), dtype=np.uint8)
    by_image = np.argsort(index.image_N[ids], kind="stable")
    numbers, starts = np.unique(index.image_N[ids][by_image], return_index=True)
    groups = np.split(by_image, starts[1:])
    # to twice the side by plain means, which is fast, and from there by a good filter
    factor = max(1, index.size // (2 * side))

    def fill(k: int) -> None:
        whole = Image.fromarray(image(int(numbers[k])))
        if factor > 1:
            whole = whole.reduce(factor)
        for place in groups[k]:
            top, left = int(index.top_N[ids[place]]), int(index.left_N[ids[place]])
            right, bottom = left + index.size, top + index.size
            box = (left / factor, top / factor, right / factor, bottom / factor)
            thumbs[place] = np.asarray(whole.resize((side, side), LANCZOS, box))

    for done, (_, future) in enumerate(in_threads(fill, range(len(numbers)), workers), start=1):
        future.result()
        progress("thumbnails", done, len(numbers))
    return thumbs


def _sheets(tiles: Pixels, quality: int, workers: int) -> list[bytes]:
    """Tiles (n, side, side, 3) in sheets, row by row; the last sheet is as high as it must be."""

    def sheet(k: int) -> bytes:
        own = tiles[k * PER_SHEET : (k + 1) * PER_SHEET]
        side, rows = own.shape[1], -(-len(own) // COLUMNS)
        grid = np.zeros((rows * COLUMNS, side, side, 3), dtype=np.uint8)
        grid[: len(own)] = own
        grid = grid.reshape(rows, COLUMNS, side, side, 3).swapaxes(1, 2)
        return _webp(Image.fromarray(grid.reshape(rows * side, COLUMNS * side, 3)), quality)

    return _all(sheet, range(-(-len(tiles) // PER_SHEET)), workers)


def _sample(index: PatchIndex, image: Callable[[int], Pixels], side: int, workers: int) -> Pixels:
    """Thumbnails of a few images, which tell how many bytes all of them will take."""
    some = np.unique(np.linspace(0, len(index.images) - 1, TRIED_IMAGES).round().astype(np.int32))
    ids = np.flatnonzero(np.isin(index.image_N, some))
    ids = ids[np.unique(np.linspace(0, len(ids) - 1, PER_SHEET).round().astype(np.int64))]
    return _thumbs(index, image, ids, side, workers)


def _per_tile(sample: Pixels, side: int, quality: int) -> float:
    smaller = [np.asarray(Image.fromarray(t).resize((side, side), LANCZOS)) for t in sample]
    return len(_sheets(np.stack(smaller), quality, 1)[0]) / len(sample)


def _webp(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="WEBP", quality=quality, method=4)
    return file.getvalue()


def _all(work: Callable[[int], bytes], items: Sequence[int], workers: int) -> list[bytes]:
    """The results in the order of the items."""
    done = {item: future.result() for item, future in in_threads(work, items, workers)}
    return [done[item] for item in items]
