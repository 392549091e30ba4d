"""Scores of patches from maps of what is wrong with a reconstruction.

Two definitions, named in the header of the table as ``context``:

- ``patch``, the paper's: each patch alone. Its LR is cut from the LR of the image, enlarged and
  padded as if nothing were around it.
- ``image``: the image is restored as a whole, and a patch is a window of the result.

By default the rim that padding spoils is left out, in either of them. With it the score measures
brightness: a white, flat patch meets black padding and becomes the "hardest" of all. Without it
both definitions read the same pixels of the same SR, wherever a network sees no further than the
rim: each image is then restored once, although its windows overlap. With the rim, ``patch``
restores the image once, and again a frame within each window, where the edge is felt.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srprune.core.error_maps import SIDE
from srprune.core.errors import InputError
from srprune.core.out_of_memory import is_out_of_memory
from srprune.core.restorer import Restorer
from srprune.data.patches import Ids, PatchPool, Pixels
from srprune.models.restorer import NetworkRestorer
from srprune.models.tiling import spans
from srprune.scoring.maps import ErrorMapper
from srprune.scoring.sums import Edges, Integral, cell_edges

Context = Literal["patch", "image"]
Way = Literal["plain", "frames", "image"]

STRIP = {"cpu": 1 << 18}  # px of a strip, HR: on CPUs its activations stay near the cores
LARGE_STRIP = 1 << 23  # elsewhere
OVERLAPS = 8  # a strip is so many times as high as what it is read with above it, and below


@dataclass(frozen=True)
class Sight:
    """How far the restorers of a score see, all together.

    Attributes:
        rim: HR px at each edge of SR that padding spoils; None if not known.
        bounded: True if no pixel of SR depends on anything further away than the rim.
        multiple: what images are cut at, LR px, so that each pixel keeps its place in the windows
            of the network.
        minimum: smallest side that all restorers take, LR px.
    """

    rim: int | None
    bounded: bool
    multiple: int = 1
    minimum: int = 1

    @classmethod
    def of(cls, restorers: list[tuple[Restorer, int | None]]) -> Sight:
        """Of restorers, each with its rim."""
        networks = [restorer for restorer, _ in restorers if isinstance(restorer, NetworkRestorer)]
        rims = [rim for _, rim in restorers]
        return cls(
            rim=None if None in rims else max(rim for rim in rims if rim is not None),
            bounded=None not in rims and all(network.radius is not None for network in networks),
            multiple=math.lcm(*(network.multiple for network in networks)),
            minimum=max((network.minimum for network in networks), default=1),
        )


class Reconstruction:
    """Scores patches by an error mapper.

    Attributes:
        way: how patches are computed: ``plain``, each by itself; ``image``, from the image
            restored as a whole; ``frames``, from it and from the frame of each patch.
    """

    def __init__(
        self,
        mapper: ErrorMapper,
        sight: Sight,
        *,
        context: Context = "patch",
        include_rim: bool = False,
        cells_NHW: npt.NDArray[np.float32] | None = None,
        way: Way | None = None,
    ) -> None:
        """Score by the maps of ``mapper``.

        Args:
            mapper: makes maps of crops.
            sight: how far its restorers see; the rim must be known unless it is included.
            context: what a patch is restored with.
            include_rim: score what padding spoils, too.
            cells_NHW: (N, 16, 16), gets the error map of each patch that is scored.
            way: another one than the fastest, which gives the same scores.
        """
        assert sight.rim is not None or include_rim
        self._mapper, self._sight, self._context = mapper, sight, context
        self._cells_NHW = cells_NHW
        self.margin = mapper.measure.reach + (0 if include_rim else sight.rim or 0)
        self._include_rim = include_rim
        self.way = way
        self._image = -1  # that of the map which is at hand
        self._map_HW = torch.empty(0)
        self._integral: Integral | None = None
        self._strip = STRIP.get(mapper.device.type, LARGE_STRIP)
        self._most_rows = sys.maxsize  # that there is room for

    @torch.inference_mode()
    def __call__(self, ids: Ids, pool: PatchPool) -> npt.NDArray[np.float64]:
        """(B,) float64 score of each patch."""
        self.way = self.way or self._fastest(pool)
        means = np.empty(len(ids))
        images = pool.index.image_N[ids]
        for image in np.unique(images):
            of_image = np.flatnonzero(images == image)
            means[of_image] = self._means(int(image), ids[of_image], pool)
        return self._mapper.measure.score(means)

    def _fastest(self, pool: PatchPool) -> Way:
        """The fastest way to the scores that are asked for."""
        if self._context == "image":
            return "image"
        if not self._sight.bounded or self._sight.multiple > 1:
            return "plain"
        if not self._include_rim:
            return "image"
        size = pool.index.size
        frame = 2 * self._depth(pool.scale)
        if frame < self._sight.minimum:
            return "plain"
        images = sum(height * width for height, width in pool.hr_store.shapes)
        once = images / (len(pool) * size**2)  # as a share of what patches have, overlaps and all
        return "frames" if once + 4 * frame * pool.scale / size < 1 else "plain"

    def _depth(self, scale: int) -> int:
        """LR px at the edge of a crop in which its map is not that of the image."""
        return math.ceil(((self._sight.rim or 0) + self._mapper.measure.reach) / scale)

    def _means(self, image: int, ids: Ids, pool: PatchPool) -> npt.NDArray[np.float64]:
        """Means over windows of one image."""
        if self.way == "plain":
            maps = self._mapper(pool.lr_patches(ids), pool.hr_patches(ids))
            return self._of_maps(ids, maps)
        if self._image != image:
            self._map_HW, self._image = self._whole(image, pool), image
            self._integral = None
        if self.way == "frames":
            return self._of_maps(ids, self._framed(ids, pool))
        index = pool.index
        size = index.size
        with self._mapper.clock.part("reduce", self._mapper.device):
            if self._integral is None:
                first, last = np.searchsorted(index.image_N, (image, image + 1)).tolist()
                of_image = slice(first, last)  # rows are sorted by image
                offsets = self._offsets(size)
                self._integral = Integral(
                    self._map_HW,
                    index.top_N[of_image, None].astype(np.int64) + offsets,
                    index.left_N[of_image, None].astype(np.int64) + offsets,
                )
            top, left = (edge[ids].astype(np.int64) for edge in (index.top_N, index.left_N))
            return self._read(self._integral, ids, top, left, size)

    def _of_maps(self, ids: Ids, maps_BHW: Tensor) -> npt.NDArray[np.float64]:
        """Means over whole maps, a patch each."""
        size = maps_BHW.shape[-1]
        offsets, zero = self._offsets(size), np.zeros(1, dtype=np.int64)
        with self._mapper.clock.part("reduce", self._mapper.device):
            return np.concatenate(
                [
                    self._read(Integral(one, offsets, offsets), ids[i : i + 1], zero, zero, size)
                    for i, one in enumerate(maps_BHW)
                ]
            )

    def _offsets(self, size: int) -> Edges:
        """Where in a patch something that is summed up begins or ends, px."""
        inner = np.array([self.margin, size - self.margin])
        if self._cells_NHW is None:
            return inner
        return np.concatenate([inner, *cell_edges(size, self.margin, SIDE)])

    def _read(
        self, integral: Integral, ids: Ids, top: Edges, left: Edges, size: int
    ) -> npt.NDArray[np.float64]:
        """Means without the margin; the cells on the way."""
        if self._cells_NHW is not None:
            starts, stops = cell_edges(size, self.margin, SIDE)
            y, x = top[:, None, None], left[:, None, None]
            self._cells_NHW[ids] = integral.means(
                y + starts[:, None], y + stops[:, None], x + starts, x + stops
            )
        first, last = self.margin, size - self.margin
        return integral.means(top + first, top + last, left + first, left + last)

    def _whole(self, image: int, pool: PatchPool) -> Tensor:
        """The map of an image; strips without room are halved, for good."""
        height, width = pool.lr_store.shapes[image]
        rows = height
        if self._sight.bounded:
            rows = max(self._strip // (width * pool.scale**2), OVERLAPS * self._depth(pool.scale))
        while True:
            rows = min(rows, height, self._most_rows)
            try:
                return self._in_strips(image, pool, rows)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if rows == 1 or not self._sight.bounded:
                    raise InputError(
                        f"there is not enough memory to restore {pool.index.images[image].path} "
                        "as a whole. Pass --context patch, or choose another --device."
                    ) from error
            self._most_rows = rows // 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _in_strips(self, image: int, pool: PatchPool, rows: int) -> Tensor:
        """The map of an image from strips of ``rows`` LR px, read with what they need around."""
        lr_hwC, hr_HWC, s = pool.lr_store.image(image), pool.hr_store.image(image), pool.scale
        depth, sight = self._depth(s), self._sight
        map_HW = torch.empty(hr_HWC.shape[:2], device=self._mapper.device)
        for span in spans(len(lr_hwC), rows, depth, sight.multiple, sight.minimum):
            read = slice(span.read_start, span.read_stop)
            strip_1HW = self._mapper(
                lr_hwC[None, read].copy(),
                hr_HWC[None, s * span.read_start : s * span.read_stop].copy(),
            )
            kept = slice(s * (span.start - span.read_start), s * (span.stop - span.read_start))
            map_HW[s * span.start : s * span.stop] = strip_1HW[0, kept]
        return map_HW

    def _framed(self, ids: Ids, pool: PatchPool) -> Tensor:
        """Maps of patches alone: from the map of the image, and the frame of each made again.

        At the border of the image a patch ends as the image does.
        """
        index, s = pool.index, pool.scale
        n, depth = index.size // s, self._depth(s)
        (image,) = set(index.image_N[ids].tolist())
        lr_hwC, hr_HWC = pool.lr_store.image(image), pool.hr_store.image(image)
        corners = [(int(index.top_N[i]) // s, int(index.left_N[i]) // s) for i in ids]
        maps_BHW = torch.stack(
            [self._map_HW[s * y : s * (y + n), s * x : s * (x + n)] for y, x in corners]
        )
        whole, near, far = slice(0, n), slice(0, 2 * depth), slice(n - 2 * depth, n)
        first, last = slice(0, s * depth), slice(-s * depth, None)
        for axis in (0, 1):
            for edge, read, kept in ((0, near, first), (n, far, last)):
                inner = [
                    b
                    for b, corner in enumerate(corners)
                    if 0 < corner[axis] + edge < lr_hwC.shape[axis]
                ]
                if not inner:
                    continue
                rows, columns = (read, whole) if axis == 0 else (whole, read)
                lr, hr = (
                    np.stack([_cut(pixels, times, corners[b], rows, columns) for b in inner])
                    for pixels, times in ((lr_hwC, 1), (hr_HWC, s))
                )
                frames_BHW = self._mapper(lr, hr)
                if axis == 0:
                    maps_BHW[inner, kept] = frames_BHW[:, kept]
                else:
                    maps_BHW[inner, :, kept] = frames_BHW[:, :, kept]
        return maps_BHW


def _cut(
    pixels_HWC: Pixels, times: int, corner: tuple[int, int], rows: slice, columns: slice
) -> Pixels:
    """Rows and columns of the patch at a corner; all of these are multiplied by ``times``."""
    top, left = corner[0] + rows.start, corner[1] + columns.start
    bottom, right = corner[0] + rows.stop, corner[1] + columns.stop
    return pixels_HWC[times * top : times * bottom, times * left : times * right]
