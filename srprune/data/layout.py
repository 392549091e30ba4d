"""Where the pixels of each patch stand in a run of bytes: in a store, or packed together.

Packing keeps the pixels that some patch covers, once each, and nothing else: a core-set of half
the patches needs no more memory than what it shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt

from srprune.core.patches import ALIGNMENT, PatchIndex
from srprune.images.store import CHANNELS, PixelStore

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class RowTable:
    """Byte addresses of the rows of P patches. A patch is G bands of rows at an even distance.

    Attributes:
        base_PG: address of the first px of each band.
        stride_PG: bytes from row to row inside the band.
        band: rows of a band.
    """

    base_PG: Ints
    stride_PG: Ints
    band: int

    def addresses(self, place_B: Ints, top_B: Ints, left_B: Ints, side: int) -> Ints:
        """(B, side) addresses of the first px of each row of square crops.

        Args:
            place_B: which patches, 0 to P - 1.
            top_B: px inside the patch.
            left_B: px inside the patch.
            side: of the crops, px.
        """
        band_BR, row_BR = np.divmod(top_B[:, None] + np.arange(side), self.band)
        address_BR: Ints = self.base_PG[place_B[:, None], band_BR]
        address_BR += row_BR * self.stride_PG[place_B[:, None], band_BR]
        return address_BR + CHANNELS * left_B[:, None]


@dataclass(frozen=True)
class Block:
    """A rectangle of an image and where it goes.

    Attributes:
        image: position in the index.
        rows: first row and the one behind the last, px.
        columns: likewise.
        start: address of the band that it belongs to.
        width: of that band, px.
        column: px from the left of the band.
    """

    image: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    start: int
    width: int
    column: int


@dataclass(frozen=True)
class Layout:
    """The packed pixels of some patches.

    Attributes:
        table: where they stand.
        blocks: what is copied.
        num_bytes: of all of it.
    """

    table: RowTable
    blocks: list[Block]
    num_bytes: int

    def fill(self, store: PixelStore, out: Bytes) -> None:
        """Copy the pixels of the patches; nothing else of the store is read.

        Args:
            store: the images of the index, at the scale of the layout.
            out: (num_bytes,) uint8.
        """
        for block in self.blocks:
            (top, bottom), (left, right) = block.rows, block.columns
            size = (bottom - top) * block.width * CHANNELS
            band = out[block.start : block.start + size].reshape(bottom - top, -1, CHANNELS)
            end = block.column + right - left
            band[:, block.column : end] = store.image(block.image)[top:bottom, left:right]

    def pieces(self, most: int) -> Iterator[tuple[int, Layout]]:
        """The same in pieces of whole images: where each begins, and what fills it.

        Args:
            most: bytes of a piece, unless a single image has more.
        """
        images = [list(blocks) for _, blocks in groupby(self.blocks, lambda block: block.image)]
        starts = [blocks[0].start for blocks in images]
        begin, held = 0, list[Block]()
        for blocks, end in zip(images, [*starts[1:], self.num_bytes], strict=True):
            if held and end - begin > most:
                yield begin, self._part(held, begin, blocks[0].start)
                begin, held = blocks[0].start, []
            held += blocks
        yield begin, self._part(held, begin, self.num_bytes)

    def _part(self, blocks: list[Block], begin: int, end: int) -> Layout:
        moved = [replace(block, start=block.start - begin) for block in blocks]
        return Layout(self.table, moved, end - begin)


def in_store(index: PatchIndex, ids: Ints, store: PixelStore, scale: int) -> RowTable:
    """Where patches stand in a store of whole images.

    Args:
        index: of the patches.
        ids: (P,) those asked for.
        store: its images; HR with ``scale`` 1, else LR.
        scale: how much smaller the images are than HR.
    """
    image_P = index.image_N[ids]
    width_I = np.array([width for _, width in store.shapes], dtype=np.int64)
    stride_P: Ints = width_I[image_P] * CHANNELS
    offset_P = np.array(store.offsets, dtype=np.int64)[image_P]
    top_P, left_P = index.top_N[ids] // scale, index.left_N[ids] // scale
    base_P: Ints = offset_P + top_P * stride_P + left_P.astype(np.int64) * CHANNELS
    return RowTable(base_P[:, None], stride_P[:, None], index.size // scale)


def packed(index: PatchIndex, ids: Ints, scale: int) -> Layout:
    """Lay out the pixels that patches cover, each once, image by image.

    An image is cut at every edge of a patch into bands of rows; a band holds the columns that its
    patches cover, side by side.

    Args:
        index: of the patches.
        ids: (P,) those asked for.
        scale: 1 for HR, else that of LR.
    """
    band = ALIGNMENT // scale
    size, bands = index.size // scale, index.size // ALIGNMENT
    top_P = index.top_N[ids].astype(np.int64) // scale
    left_P = index.left_N[ids].astype(np.int64) // scale
    base_PG = np.zeros((len(ids), bands), dtype=np.int64)
    stride_PG = np.zeros_like(base_PG)
    blocks: list[Block] = []
    end = 0
    image_P = index.image_N[ids]
    by_image = np.argsort(image_P, kind="stable")
    starts = np.flatnonzero(np.diff(image_P[by_image], prepend=-1))
    for of_image in np.split(by_image, starts[1:]):
        edges = np.unique(np.concatenate([top_P[of_image], top_P[of_image] + size]))
        for top, bottom in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            here = of_image[(top_P[of_image] <= top) & (top_P[of_image] + size >= bottom)]
            if not len(here):
                continue
            spans = _union(left_P[here], size)
            width = sum(right - left for left, right in spans)
            column = 0
            for left, right in spans:
                inside = here[(left_P[here] >= left) & (left_P[here] < right)]
                first_I = (top - top_P[inside]) // band
                for number in range((bottom - top) // band):
                    row = number * band
                    address_I = end + (row * width + column + left_P[inside] - left) * CHANNELS
                    base_PG[inside, first_I + number] = address_I
                    stride_PG[inside, first_I + number] = width * CHANNELS
                image = int(image_P[inside[0]])
                blocks.append(Block(image, (top, bottom), (left, right), end, width, column))
                column += right - left
            end += (bottom - top) * width * CHANNELS
    return Layout(RowTable(base_PG, stride_PG, band), blocks, end)


def _union(starts: Ints, size: int) -> Sequence[tuple[int, int]]:
    """Intervals of one size from these starts, joined where they touch."""
    spans: list[tuple[int, int]] = []
    for start in np.unique(starts).tolist():
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], start + size)
        else:
            spans.append((start, start + size))
    return spans
