"""Which crops step k sees: a function of (seed, k) alone, so resuming replays nothing.

Here stands what an *epoch* is: a random order in which each patch comes once, with one random
crop of it. Epoch follows epoch as one endless stream, and step k takes the crops
``k*batch .. (k+1)*batch - 1`` of it; a step may straddle two epochs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError
from srprune.core.seeding import generator

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Picks:
    """The crops of one step.

    Attributes:
        patch_B: patch ids.
        top_B: LR px inside the patch.
        left_B: LR px inside the patch.
        turn_B: 0 to 7: quarter turns (low two bits), then a left-right flip (third bit).
    """

    patch_B: Ints
    top_B: Ints
    left_B: Ints
    turn_B: Ints


class CropSampler:
    """Draws random crops of the patches of a core-set."""

    def __init__(
        self,
        patch_ids: Ints,
        *,
        seed: int,
        batch: int,
        lr_patch: int,
        lr_crop: int,
        augment: bool,
    ) -> None:
        """Make a sampler.

        Args:
            patch_ids: (kept,) ids to draw from.
            seed: of order, crops and augmentation.
            batch: crops per step.
            lr_patch: side of a patch, LR px.
            lr_crop: side of a crop, LR px.
            augment: draw flips and quarter turns.

        Raises:
            InputError: crops larger than patches.
        """
        check_crop(lr_crop, lr_patch)
        self._patch_ids = patch_ids
        self._seed, self._batch, self._augment = seed, batch, augment
        self._positions = lr_patch - lr_crop + 1
        self._orders: dict[int, npt.NDArray[np.int64]] = {}

    def at(self, step: int) -> Picks:
        """The crops of a step, counted from 0."""
        number_B = np.arange(step * self._batch, (step + 1) * self._batch)
        epoch_B, place_B = np.divmod(number_B, len(self._patch_ids))
        patch_B = np.array(
            [self._order(int(e))[p] for e, p in zip(epoch_B, place_B, strict=True)], dtype=np.int64
        )
        rng = generator(self._seed, "data.crops", step)
        top_B, left_B = rng.integers(self._positions, size=(2, self._batch))
        turn_B = rng.integers(8, size=self._batch) * self._augment
        return Picks(patch_B, top_B, left_B, turn_B)

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Patch ids in the order of an epoch; the last few are kept, a step needs few."""
        if epoch not in self._orders:
            for old in [e for e in self._orders if e < epoch - 1]:
                del self._orders[old]
            order = generator(self._seed, "data.order", epoch).permutation(len(self._patch_ids))
            self._orders[epoch] = self._patch_ids[order]
        return self._orders[epoch]


def check_crop(lr_crop: int, lr_patch: int) -> None:
    """Refuse crops that patches cannot give.

    Args:
        lr_crop: side of a crop, LR px.
        lr_patch: side of a patch, LR px.

    Raises:
        InputError: the crop is larger than the patch.
    """
    if lr_crop > lr_patch:
        raise InputError(
            f"lr_crop is {lr_crop} px, but the patches have {lr_patch} px at LR. "
            f"Choose an lr_crop of at most {lr_patch}, or extract larger patches."
        )
