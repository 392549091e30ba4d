"""Reading a compressed store for training: all that is needed at once, or crop by crop."""

from __future__ import annotations

import os
from itertools import groupby

import numpy as np

from srprune.core.parallel import in_threads
from srprune.core.patches import PatchIndex
from srprune.data.crops import HostCrops, Pixels
from srprune.data.layout import Bytes, Ints, Layout, RowTable
from srprune.images.packed_store import PackedStore
from srprune.images.store import CHANNELS


class PackedCrops:
    """Square crops from a compressed store; only a few bands of images are held unpacked."""

    def __init__(
        self, index: PatchIndex, ids: Ints, store: PackedStore, scale: int, side: int
    ) -> None:
        """Cut crops of ``side`` px.

        Args:
            index: of the patches.
            ids: (P,) those asked for.
            store: HR with ``scale`` 1, else LR.
            scale: how much smaller the images of the store are than HR.
            side: of the crops, px of the store.
        """
        self._store, self._side = store, side
        self._image_P = index.image_N[ids]
        self._top_P = index.top_N[ids].astype(np.int64) // scale
        self._left_P = index.left_N[ids].astype(np.int64) // scale

    def cut(self, place_B: Ints, top_B: Ints, left_B: Ints, turn_B: Ints) -> Pixels:
        """(B, side, side, 3) uint8, each crop turned by its ``turn_B``."""
        side = self._side
        image_B = self._image_P[place_B].tolist()
        whole_top_B = (self._top_P[place_B] + top_B).tolist()
        whole_left_B = (self._left_P[place_B] + left_B).tolist()
        crops = np.empty((len(place_B), side, side, CHANNELS), dtype=np.uint8)
        for b, corner in enumerate(zip(image_B, whole_top_B, whole_left_B, strict=True)):
            crops[b] = self._store.crop(*corner, side)
        # they stand one after the other, as patches of their own size
        base_B1 = np.arange(len(crops))[:, None] * (side * side * CHANNELS)
        table = RowTable(base_B1, np.full_like(base_B1, side * CHANNELS), side)
        corner_B = np.zeros(len(crops), dtype=np.int64)
        return HostCrops(crops.reshape(-1), table, side).cut(
            np.arange(len(crops)), corner_B, corner_B, turn_B
        )


def fill_unpacked(layout: Layout, store: PackedStore, out: Bytes) -> None:
    """:meth:`Layout.fill` with as many images at a time as there are cores.

    Args:
        layout: of the patches.
        store: the images of the index, at the scale of the layout.
        out: (num_bytes,) uint8.
    """
    images = [list(blocks) for _, blocks in groupby(layout.blocks, lambda block: block.image)]

    def fill(image: int) -> None:
        Layout(layout.table, images[image], layout.num_bytes).fill(store, out)

    for _, future in in_threads(fill, range(len(images)), os.cpu_count() or 1):
        future.result()
