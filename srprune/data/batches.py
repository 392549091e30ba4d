"""Batches: the pixels of a step's crops as float tensors on the device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from srprune.data.patches import PatchPool, Pixels
from srprune.data.sampler import CropSampler


class Batches:
    """Cuts aligned HR and LR crops from the memory map; decodes nothing."""

    def __init__(
        self, pool: PatchPool, sampler: CropSampler, lr_crop: int, device: torch.device
    ) -> None:
        """Join patches with a sampler; crops have ``lr_crop`` px at LR."""
        self._pool, self._sampler, self._lr_crop, self._device = pool, sampler, lr_crop, device

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """LR (B, 3, h, w) and HR (B, 3, H, W) of a step, float32 in [0, 1]."""
        picks, scale, side = self._sampler.at(step), self._pool.scale, self._lr_crop
        lr, hr = [], []
        for patch, top, left, turn in zip(
            picks.patch_B, picks.top_B, picks.left_B, picks.turn_B, strict=True
        ):
            lr.append(turned(self._pool.lr_crop(int(patch), int(top), int(left), side), int(turn)))
            hr.append(
                turned(
                    self._pool.hr_crop(
                        int(patch), int(top) * scale, int(left) * scale, side * scale
                    ),
                    int(turn),
                )
            )
        return self._tensor(lr), self._tensor(hr)

    def _tensor(self, crops: list[Pixels]) -> Tensor:
        pixels_BHWC = torch.from_numpy(np.stack(crops)).to(self._device)
        return pixels_BHWC.permute(0, 3, 1, 2).contiguous().float().div_(255)


def turned(pixels: Pixels, turn: int) -> Pixels:
    """One of the eight flips and quarter turns of a square (H, W, 3); a view."""
    pixels = np.rot90(pixels, turn & 3)
    return pixels[:, ::-1] if turn & 4 else pixels
