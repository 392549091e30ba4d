"""Cutting and turning the crops of a whole batch at once, in main memory or on a device."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srprune.data.layout import Bytes, Ints, RowTable
from srprune.images.store import CHANNELS

Pixels = npt.NDArray[np.uint8]


class HostCrops:
    """Square crops from bytes in main memory or in a memory map."""

    def __init__(self, flat: Bytes, table: RowTable, side: int) -> None:
        """Cut crops of ``side`` px; ``table`` holds addresses in ``flat``."""
        self._table, self._side = table, side
        # every run of bytes as long as a row of a crop: to gather rows is to copy runs
        size = side * CHANNELS
        self._runs = np.ndarray(
            (len(flat) - size + 1,), dtype=f"V{size}", buffer=flat.data, strides=(1,)
        )

    def cut(self, place_B: Ints, top_B: Ints, left_B: Ints, turn_B: Ints) -> Pixels:
        """(B, side, side, 3) uint8, each crop turned by its ``turn_B``."""
        addresses_BR = self._table.addresses(place_B, top_B, left_B, self._side)
        shape = (len(place_B), self._side, self._side, CHANNELS)
        crops = self._runs[addresses_BR].view(np.uint8).reshape(shape)
        for turn in range(1, 8):
            (these,) = np.nonzero(turn_B == turn)
            if len(these):
                moved = turned(crops[these].transpose(1, 2, 3, 0), turn).transpose(3, 0, 1, 2)
                for channel in range(CHANNELS):  # single bytes move faster than threes
                    crops[these, :, :, channel] = moved[..., channel]
        return crops


class DeviceCrops:
    """Square crops from bytes on a device; no pixel passes through main memory."""

    def __init__(self, flat: Tensor, table: RowTable, side: int) -> None:
        """Cut crops of ``side`` px where ``flat``, uint8, is; ``table`` is copied there."""
        self._flat, device = flat, flat.device
        self._base_PG = torch.from_numpy(table.base_PG).to(device)
        self._stride_PG = torch.from_numpy(table.stride_PG).to(device)
        self._band, self._last = table.band, side - 1
        self._steps = torch.arange(side, device=device)
        self._channels = torch.arange(CHANNELS, device=device)

    def cut(self, place_B: Tensor, top_B: Tensor, left_B: Tensor, turn_B: Tensor) -> Tensor:
        """(B, side, side, 3) uint8, each crop turned by its ``turn_B``.

        Each px of the result asks where it comes from, so turning costs no copy.
        """
        place_B11, turn_B11 = place_B[:, None, None], turn_B[:, None, None]
        y, x = self._steps[:, None], self._steps
        x_BYX = torch.where(turn_B11 >= 4, self._last - x, x)
        quarter_B11 = turn_B11 % 4
        odd_B11 = quarter_B11 % 2 == 1
        row_BYX = torch.where(odd_B11, x_BYX, y)
        column_BYX = torch.where(odd_B11, y, x_BYX)
        row_BYX = torch.where(quarter_B11 >= 2, self._last - row_BYX, row_BYX)
        mirrored_B11 = (quarter_B11 == 1) | (quarter_B11 == 2)
        column_BYX = torch.where(mirrored_B11, self._last - column_BYX, column_BYX)
        row_BYX = row_BYX + top_B[:, None, None]
        band_BYX = row_BYX // self._band
        address_BYX = self._base_PG[place_B11, band_BYX]
        address_BYX += (row_BYX % self._band) * self._stride_PG[place_B11, band_BYX]
        address_BYX += (column_BYX + left_B[:, None, None]) * CHANNELS
        return self._flat[address_BYX[..., None] + self._channels]


def turned(pixels: npt.NDArray[np.generic], turn: int) -> npt.NDArray[np.generic]:
    """One of the eight flips and quarter turns of a square (H, W, ...); a view."""
    pixels = np.rot90(pixels, turn & 3)
    return pixels[:, ::-1] if turn & 4 else pixels
