"""Batches: the pixels of a step's crops as float tensors on the device."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from srprune.data.crops import DeviceCrops, HostCrops, Pixels
from srprune.data.patches import PatchPool
from srprune.data.residency import Residency, open_crops
from srprune.data.sampler import CropSampler, Ints, Picks
from srprune.data.unpacked import PackedCrops
from srprune.images.tensor import from_uint8

AHEAD = 3  # parts that are read before they are asked for


class Batches:
    """Aligned HR and LR crops of a core-set; decodes nothing and reads no other patch.

    Attributes:
        residency: where the pixels stand.
        sampler: says which crops a step sees.
    """

    def __init__(
        self,
        pool: PatchPool,
        patch_ids: Ints,
        sampler: CropSampler,
        lr_crop: int,
        device: torch.device,
        *,
        residency: Residency,
        own: range = range(1),
        parts: int = 1,
    ) -> None:
        """Read the pixels to where they shall stand.

        Args:
            pool: the patches.
            patch_ids: (P,) those that the sampler draws from, in its order.
            sampler: says which crops a step sees.
            lr_crop: side of a crop, LR px.
            device: where the batches go.
            residency: where the pixels stand.
            own: which parts of a step this process takes, one after the other.
            parts: how many equal parts a step has, over all processes.
        """
        self.residency = residency
        self.sampler, self._scale, self._device = sampler, pool.scale, device
        self._own, self._parts = own, parts
        place = (residency, device)
        hr_crop = lr_crop * pool.scale
        self._hr = open_crops(pool.index, patch_ids, pool.hr_store, 1, hr_crop, *place)
        self._lr = open_crops(pool.index, patch_ids, pool.lr_store, pool.scale, lr_crop, *place)
        # a memory map waits for the disk, a GPU for its crops to be cut: both hide behind steps
        ahead = residency == "disk" or (residency == "host" and device.type == "cuda")
        self._worker = ThreadPoolExecutor(1, "srprune-batches") if ahead else None
        self._read: dict[tuple[int, int], Future[tuple[Tensor, Tensor]]] = {}

    def at(self, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """LR (B, 3, h, w) and HR (B, 3, H, W) of a step, float32 in [0, 1], part by part."""
        for part in range(len(self._own)):
            lr, hr = (
                self._taken(step, part) if self._worker else self._cut(self.sampler, step, part)
            )
            yield from_uint8(lr), from_uint8(hr)

    def draw_from(self, sampler: CropSampler) -> None:
        """Go on with another sampler; what was read ahead for the one before is dropped.

        Args:
            sampler: its places are those of the ``patch_ids`` that the pixels were read for.
        """
        self.sampler, self._read = sampler, {}

    def _taken(self, step: int, part: int) -> tuple[Tensor, Tensor]:
        """One part, while the worker reads the next ones."""
        assert self._worker
        count = len(self._own)
        first = step * count + part
        wanted = [divmod(number, count) for number in range(first, first + 1 + AHEAD)]
        self._read = {key: future for key, future in self._read.items() if key in wanted}
        for key in wanted:
            if key not in self._read:
                self._read[key] = self._worker.submit(self._cut, self.sampler, *key)
        return self._read.pop((step, part)).result()

    def _cut(self, sampler: CropSampler, step: int, part: int) -> tuple[Tensor, Tensor]:
        """uint8 crops (B, side, side, 3), on the device or on their way."""
        picks = sampler.at(step, self._own[part], self._parts)
        if isinstance(self._hr, DeviceCrops):
            assert isinstance(self._lr, DeviceCrops)
            columns = (picks.place_B, picks.top_B, picks.left_B, picks.turn_B)
            picked_4B = torch.from_numpy(np.stack(columns)).to(self._device, non_blocking=True)
            place_B, top_B, left_B, turn_B = picked_4B
            scaled = (top_B * self._scale, left_B * self._scale)
            return (
                self._lr.cut(place_B, top_B, left_B, turn_B),
                self._hr.cut(place_B, *scaled, turn_B),
            )
        assert not isinstance(self._lr, DeviceCrops)
        return self._sent(_cut(self._lr, picks, 1)), self._sent(_cut(self._hr, picks, self._scale))

    def _sent(self, crops: Pixels) -> Tensor:
        tensor = torch.from_numpy(crops)
        if self._device.type == "cuda":  # from pinned memory nobody waits for the copy
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)


def _cut(crops: HostCrops | PackedCrops, picks: Picks, scale: int) -> Pixels:
    return crops.cut(picks.place_B, picks.top_B * scale, picks.left_B * scale, picks.turn_B)
