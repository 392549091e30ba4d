"""Which crops step k sees: a function of (seed, k) alone, so resuming replays nothing.

Here stands what an *epoch* is: a random order in which each patch comes once, with one random
crop of it. Epoch follows epoch as one endless stream, and step k takes the crops
``k*batch .. (k+1)*batch - 1`` of it; a step may straddle two epochs.

What a patch shows in an epoch, and which of two patches comes first, depends on the seed, the epoch
and the patches themselves, not on what else is in the core-set. So runs on different core-sets
share as much chance as they can, and their difference is sharper.

Patches with weights are drawn one by one, with replacement, each as often as its weight says; as
many draws as there are patches count as an epoch. Weights may begin to hold at a later step.

Where the patches change during a run, the stream goes on: an epoch is a walk through the hashes of
its order, and a new set of patches joins the walk where the old one leaves it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError
from srprune.core.seeding import hashed

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Picks:
    """The crops of one step, or of a part of it.

    Attributes:
        patch_B: patch ids.
        place_B: their places in the core-set, or wherever their pixels stand.
        top_B: LR px inside the patch.
        left_B: LR px inside the patch.
        turn_B: 0 to 7: quarter turns (low two bits), then a left-right flip (third bit).
    """

    patch_B: Ints
    place_B: Ints
    top_B: Ints
    left_B: Ints
    turn_B: Ints


class CropSampler:
    """Draws random crops of the patches of a core-set.

    Attributes:
        patch_ids: (kept,) ids to draw from.
        start: draw that step 0 begins with; 0 unless the patches have changed since.
    """

    def __init__(
        self,
        patch_ids: Ints,
        *,
        seed: int,
        batch: int,
        lr_patch: int,
        lr_crop: int,
        augment: bool,
        weights: Floats | None = None,
        weighted_from: int = 0,
    ) -> None:
        """Make a sampler.

        Args:
            patch_ids: (kept,) ids to draw from.
            seed: of order, crops and augmentation.
            batch: crops per step.
            lr_patch: side of a patch, LR px.
            lr_crop: side of a crop, LR px.
            augment: draw flips and quarter turns.
            weights: (kept,) above 0, how often a patch is drawn beside the others; None draws each
                once an epoch.
            weighted_from: first step with those weights; before it, each comes once an epoch.

        Raises:
            InputError: crops larger than patches.
        """
        check_crop(lr_crop, lr_patch)
        self.patch_ids, self.start = patch_ids, 0
        self._place_of: Ints | None = None
        self._seed, self._batch, self._augment = seed, batch, augment
        self._positions = np.uint64(lr_patch - lr_crop + 1)
        self._orders: dict[int, Ints] = {}
        self._ends = None if weights is None else np.cumsum(weights) / np.sum(weights)
        self._weighted_from = weighted_from

    def at(self, step: int, part: int = 0, parts: int = 1) -> Picks:
        """The crops of a step, counted from 0, or one of ``parts`` equal parts of them.

        Args:
            step: which one.
            part: 0 to ``parts - 1``.
            parts: a divisor of the batch.
        """
        share = self._batch // parts
        first = self.start + step * self._batch + part * share
        draw_B = np.arange(first, first + share)
        if self._ends is None or step < self._weighted_from:
            visit_B, place_B = self._in_turn(draw_B)
        else:  # a patch may come twice an epoch: each draw is a visit of its own
            visit_B, place_B = draw_B, self._by_weight(draw_B, self._ends)
        patch_B = self.patch_ids[place_B]
        if self._place_of is not None:
            place_B = self._place_of[place_B]
        bits_B = hashed(self._seed, "data.crops", visit_B, patch_B)
        top_B, left_B = self._position(bits_B), self._position(bits_B >> np.uint64(24))
        turn_B = (bits_B >> np.uint64(48) & np.uint64(7)).astype(np.int64) * self._augment
        return Picks(patch_B, place_B, top_B, left_B, turn_B)

    def of(self, patch_ids: Ints, place_of: Ints, start: int) -> CropSampler:
        """A sampler of other patches that is alike in all else.

        Args:
            patch_ids: (kept,) ids to draw from, without weights.
            place_of: (kept,) where their pixels stand.
            start: draw that step 0 begins with, from :meth:`joining`.
        """
        other = copy.copy(self)
        other.patch_ids, other._place_of, other.start = patch_ids, place_of, start
        other._orders, other._ends = {}, None
        return other

    def joining(self, step: int, patch_ids: Ints) -> int:
        """``start`` of a sampler that takes over before a step: it goes on in the same epoch.

        Patches whose turn in this epoch has passed wait for the next one, so that one that stays
        comes once an epoch, whatever comes and goes.

        Args:
            step: the first one of the other sampler.
            patch_ids: (kept,) its ids.
        """
        drawn = step * self._batch
        epoch, rank = divmod(self.start + drawn, len(self.patch_ids))
        passed = 0
        if rank:
            last = self._keys(epoch, self.patch_ids[self._order(epoch)[rank - 1 : rank]])
            passed = int(np.count_nonzero(self._keys(epoch, patch_ids) <= last))
        return epoch * len(patch_ids) + passed - drawn

    def _in_turn(self, draw_B: Ints) -> tuple[Ints, Ints]:
        """Epochs and places of draws where each patch comes once an epoch."""
        epoch_B, rank_B = np.divmod(draw_B, len(self.patch_ids))
        place_B = np.empty_like(draw_B)
        for epoch in range(int(epoch_B[0]), int(epoch_B[-1]) + 1):
            now = epoch_B == epoch
            place_B[now] = self._order(epoch)[rank_B[now]]
        return epoch_B, place_B

    def _by_weight(self, draw_B: Ints, ends: Floats) -> Ints:
        """Places of draws by weight."""
        chance_B = (hashed(self._seed, "data.draws", draw_B) >> np.uint64(11)) * 2.0**-53
        # rounding may leave the last end a little below 1
        return np.minimum(np.searchsorted(ends, chance_B, side="right"), len(ends) - 1)

    def _position(self, bits_B: npt.NDArray[np.uint64]) -> Ints:
        """A corner of the crop, from 24 random bits."""
        low_B = bits_B & np.uint64(0xFFFFFF)
        return (low_B * self._positions >> np.uint64(24)).astype(np.int64)

    def _order(self, epoch: int) -> Ints:
        """Places in the order of an epoch; the last few orders are kept, a step needs few."""
        order = self._orders.get(epoch)
        if order is None:
            order = np.argsort(self._keys(epoch, self.patch_ids), kind="stable")
            kept = {e: o for e, o in self._orders.items() if abs(e - epoch) <= 1}
            self._orders = {**kept, epoch: order}  # another one: threads may be reading the first
        return order

    def _keys(self, epoch: int, patch_ids: Ints) -> npt.NDArray[np.uint64]:
        """What patches are ordered by in an epoch."""
        return hashed(self._seed, "data.order", epoch, patch_ids)


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
