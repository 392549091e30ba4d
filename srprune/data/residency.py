"""Where the pixels of a core-set stand during training, and whether there is room."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from srprune.core.errors import InputError
from srprune.core.patches import PatchIndex
from srprune.data.crops import DeviceCrops, HostCrops
from srprune.data.layout import Bytes, Ints, Layout, in_store, packed
from srprune.data.memory import free_memory, free_on
from srprune.data.unpacked import PackedCrops, fill_unpacked
from srprune.images.packed_store import PackedStore
from srprune.images.store import PixelStore

Residency = Literal["device", "host", "disk"]
Asked = Literal["auto", "device", "host", "disk"]
PIECE = 1 << 28  # bytes that pass through main memory at a time on their way to a device
ROOM = 0.5  # share of the free memory that pixels may take; the rest is for the training itself


def choose_residency(
    asked: Asked, num_bytes: int, device: torch.device, processes: int = 1
) -> Residency:
    """Turn ``auto`` into a place; check that what was asked for has room.

    Args:
        asked: ``auto``, ``device``, ``host`` or ``disk``.
        num_bytes: uint8 pixels of the core-set, HR and LR.
        device: where the network is.
        processes: of this machine that hold the pixels, each for itself.

    Raises:
        InputError: the place that was asked for has not that much memory.
    """
    host = free_memory() // processes
    room = {"device": host if device.type == "cpu" else free_on(device), "host": host}
    if asked == "auto":
        places: tuple[Residency, ...] = ("host",) if device.type == "cpu" else ("device", "host")
        return next((place for place in places if num_bytes <= ROOM * room[place]), "disk")
    if asked != "disk" and num_bytes > room[asked]:
        raise InputError(
            f"data.residency is {asked}, but the pixels have {num_bytes / 1e9:.1f} GB and "
            f"{room[asked] / 1e9:.1f} GB are free there. Choose auto or disk."
        )
    return "host" if asked == "device" and device.type == "cpu" else asked


def open_crops(
    index: PatchIndex,
    ids: Ints,
    store: PixelStore,
    scale: int,
    side: int,
    residency: Residency,
    device: torch.device,
) -> HostCrops | PackedCrops | DeviceCrops:
    """Read the pixels of some patches to where they shall stand.

    Args:
        index: of the patches.
        ids: (P,) those asked for.
        store: HR with ``scale`` 1, else LR.
        scale: how much smaller the images of the store are than HR.
        side: of the crops, px of the store.
        residency: where to.
        device: for ``device``.
    """
    if residency == "disk":
        if isinstance(store, PackedStore):
            return PackedCrops(index, ids, store, scale, side)
        return HostCrops(store.flat, in_store(index, ids, store, scale), side)
    layout = packed(index, ids, scale)
    if residency == "host":
        return HostCrops(_filled(layout, store), layout.table, side)
    flat = torch.empty(layout.num_bytes, dtype=torch.uint8, device=device)
    for start, piece in layout.pieces(PIECE):  # main memory may be smaller than the GPU's
        flat[start : start + piece.num_bytes] = torch.from_numpy(_filled(piece, store))
    return DeviceCrops(flat, layout.table, side)


def _filled(layout: Layout, store: PixelStore) -> Bytes:
    flat = np.empty(layout.num_bytes, dtype=np.uint8)
    if isinstance(store, PackedStore):
        fill_unpacked(layout, store, flat)
    else:
        layout.fill(store, flat)
    return flat
