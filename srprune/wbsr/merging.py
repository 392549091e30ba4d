"""Tiles of an image that share a border strip, and the way back: one image without seams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Tiles of equal size, row by row, which share a strip with their neighbours.

    ClassSR (Kong et al., CVPR 2021), whose tiles WBSR takes over, shifts the last tile of a row
    back to be flush with the edge, and averages what is shared. Here tiles are as small as
    covers the image in as many, and evenly spaced: of BSD100 at x2, tiles of 64 then take 1.1
    times the FLOPs of the untiled image in place of 1.28. And strips are blended, so that a
    difference between neighbours fades over them.

    Attributes:
        tops: of the rows of tiles, LR px.
        lefts: of the columns of tiles, LR px.
        height: of a tile, LR px.
        width: of a tile, LR px.
        overlap: LR px at least; below half of the tile that was asked for.
    """

    tops: tuple[int, ...]
    lefts: tuple[int, ...]
    height: int
    width: int
    overlap: int

    @classmethod
    def of(
        cls,
        height: int,
        width: int,
        tile: int,
        overlap: int,
        *,
        multiple: int = 1,
        least: int = 1,
    ) -> Self:
        """Cut an image of ``height`` x ``width`` LR px.

        Args:
            height: of the image.
            width: of the image.
            tile: side of a tile at most; a multiple of ``multiple``, and ``least`` or more.
            overlap: LR px.
            multiple: a tile's side is one, unless the image is smaller than a tile.
            least: a tile's side is no less, unless the image is smaller.
        """
        high, tops = spread(height, tile, overlap, multiple, least)
        wide, lefts = spread(width, tile, overlap, multiple, least)
        return cls(tops, lefts, high, wide, overlap)

    @property
    def num_tiles(self) -> int:
        """T."""
        return len(self.tops) * len(self.lefts)

    def cut(self, image_1Chw: Tensor) -> Tensor:
        """(T, C, height, width), channels last in memory, as convolutions on CPUs like it."""
        if self.num_tiles == 1:
            return image_1Chw
        image_hwC = image_1Chw[0].permute(1, 2, 0).contiguous()  # so rows of a tile are copied
        tiles_ThwC = torch.stack(
            [
                image_hwC[top : top + self.height, left : left + self.width]
                for top in self.tops
                for left in self.lefts
            ]
        )
        return tiles_ThwC.permute(0, 3, 1, 2)

    def merge(self, sr_TCHW: Tensor, scale: int) -> Tensor:
        """(1, C, H, W): tiles enlarged by ``scale``, blended along rows, then along columns."""
        if self.num_tiles == 1:
            return sr_TCHW
        rows, columns = len(self.tops), len(self.lefts)
        tiles_RcCHW = sr_TCHW.reshape(rows, columns, *sr_TCHW.shape[1:])
        strips_RCHW = _join(tiles_RcCHW.unbind(1), self.lefts, self.overlap, scale, dim=3)
        return _join(strips_RCHW.unbind(0), self.tops, self.overlap, scale, dim=1)[None]


def spread(
    length: int, tile: int, overlap: int, multiple: int = 1, least: int = 1
) -> tuple[int, tuple[int, ...]]:
    """Side of the tiles along ``length`` px, and where they begin; as few as tiles of ``tile``."""
    if length <= tile:
        return length, (0,)
    count = -(-(length - overlap) // (tile - overlap))
    side = max(least, -(-(length + (count - 1) * overlap) // count))
    side = min(tile, -(-side // multiple) * multiple)
    return side, tuple(number * (length - side) // (count - 1) for number in range(count))


def strips(begins: tuple[int, ...], side: int, overlap: int) -> list[tuple[int, int]]:
    """Where each tile takes over from the one before it: first px and width of a ramp.

    It is ``overlap`` px wide, in the middle of what both share, as far from their borders as can
    be. A third tile may reach into that; then it begins behind it, and may be narrower.
    """
    found = []
    for number in range(1, len(begins)):
        behind = begins[number - 2] + side if number > 1 else 0
        first, end = max(begins[number], behind), begins[number - 1] + side
        wide = min(overlap, end - first)
        found.append((first + (end - first - wide) // 2, wide))
    return found


def _join(
    tiles: tuple[Tensor, ...], begins: tuple[int, ...], overlap: int, scale: int, dim: int
) -> Tensor:
    """Tiles side by side along ``dim``, blended linearly where they change over."""
    side = tiles[0].shape[dim]
    ramps = strips(begins, side // scale, overlap)
    parts, first = [], 0
    for number, (at, wide) in enumerate(ramps):
        here, there = (scale * (at - begin) for begin in begins[number : number + 2])
        parts.append(tiles[number].narrow(dim, first, here - first))
        first = there + scale * wide
        if wide:
            pair = (
                tiles[number].narrow(dim, here, scale * wide),
                tiles[number + 1].narrow(dim, there, scale * wide),
            )
            weights = _ramp(scale * wide, pair[0], dim)
            parts.append(torch.lerp(*pair, weights))
    return torch.cat([*parts, tiles[-1].narrow(dim, first, side - first)], dim)


def _ramp(wide: int, like: Tensor, dim: int) -> Tensor:
    """Weights from 0 to 1 along ``dim``, without the ends."""
    weights = (torch.arange(wide, device=like.device, dtype=like.dtype) + 0.5) / wide
    return weights[(...,) + (None,) * (like.ndim - 1 - dim)]
