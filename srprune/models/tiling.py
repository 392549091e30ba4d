"""Large images tile by tile: memory for one tile at a time, the same pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from srprune.core.errors import InputError
from srprune.core.restorer import LumaRestorer, Restorer

Restore = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Span:
    """One side of a tile: what is read, and the part of it that is kept. px; the ends are out."""

    read_start: int
    read_stop: int
    start: int
    stop: int


def spans(length: int, tile: int, overlap: int, multiple: int, minimum: int) -> list[Span]:
    """Cut a side of ``length`` px into tiles.

    The kept parts follow each other without gaps. Reading begins, and where the image goes on
    ends, at multiples of ``multiple``, and is ``minimum`` px long wherever the side is: a tile
    that is too short reads on, and at the end of the side more of what is before it.
    """
    found = []
    for start in range(0, length, tile):
        stop = min(start + tile, length)
        read_start = _down(max(0, start - overlap), multiple)
        read_stop = min(length, _up(max(stop + overlap, read_start + minimum), multiple))
        read_start = min(read_start, _down(max(0, read_stop - minimum), multiple))
        found.append(Span(read_start, read_stop, start, stop))
    return found


def _down(value: int, multiple: int) -> int:
    return value // multiple * multiple


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


class Tiled:
    """Restores tiles with context around them, and puts their inner parts together.

    A tile ends at the border of the image, where the network pads as it does untiled. So the
    result is that of the whole image, but for the last digits, wherever the overlap reaches as
    far as the network sees.
    """

    luma: Restore  # there if the inner restorer has it, as isinstance(.., LumaRestorer) asks

    def __init__(
        self, restorer: Restorer, tile: int, overlap: int, multiple: int = 1, minimum: int = 1
    ) -> None:
        """Tile the images of a restorer.

        Args:
            restorer: gets the tiles.
            tile: side of the part that is kept, LR px.
            overlap: context that is read at each inner side and thrown away, LR px.
            multiple: reading begins at multiples of this, LR px, so that networks with windows
                keep theirs.
            minimum: smallest side that the restorer takes, LR px.

        Raises:
            InputError: a tile without pixels, or an overlap below 0.
        """
        if tile < 1 or overlap < 0:
            raise InputError(
                f"tile is {tile} and overlap {overlap} LR px; at least 1 and 0 are needed."
            )
        self.name = restorer.name
        self.scale = restorer.scale
        self.fingerprint = restorer.fingerprint
        self.tile, self.overlap = tile, overlap
        self._multiple, self._minimum = multiple, minimum
        self._restorer = restorer
        if isinstance(restorer, LumaRestorer):
            self.luma = partial(self._tiled, restorer.luma)

    def __call__(self, lr_BChw: Tensor) -> Tensor:
        """Restore RGB; see :class:`srprune.core.restorer.Restorer`."""
        return self._tiled(self._restorer, lr_BChw)

    @torch.inference_mode()
    def _tiled(self, restore: Restore, lr_BChw: Tensor) -> Tensor:
        *rest, height, width = lr_BChw.shape
        if min(height, width) < self._minimum:
            return restore(lr_BChw)  # which says what is wrong with the image, not with a tile
        s = self.scale
        sr_BCHW = lr_BChw.new_empty(*rest, s * height, s * width)
        for y in self._spans(height):
            for x in self._spans(width):
                tile = restore(lr_BChw[..., y.read_start : y.read_stop, x.read_start : x.read_stop])
                top, left = s * (y.start - y.read_start), s * (x.start - x.read_start)
                sr_BCHW[..., s * y.start : s * y.stop, s * x.start : s * x.stop] = tile[
                    ..., top : top + s * (y.stop - y.start), left : left + s * (x.stop - x.start)
                ]
        return sr_BCHW

    def _spans(self, length: int) -> list[Span]:
        return spans(length, self.tile, self.overlap, self._multiple, self._minimum)
