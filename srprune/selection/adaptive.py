"""Adaptive pruning: the core-set is chosen again and again, by the network that trains on it.

Moser et al. 2024 score once, with another network, and name pruning during training as future work.
Here every loss comes from a training batch, so a run costs what any core-set of its size costs:

- The run begins with the core-set of rule ``random``. After the warm-up, and then every period, the
  active set is chosen anew: the hardest patches by their estimates, after the offset, and for the
  share ``explore`` any others, drawn uniformly, so that what was dropped is looked at again.
- The loss of a crop counts relative to the mean over all patches at that time (:class:`Level`). A
  plain loss would call hard whatever was last seen when the network was worse.
- The estimate of a patch is an exponential average over its visits (:class:`Difficulty`): crops of
  one patch differ, and one of them alone says little.
- A patch never visited has the estimate 1, the mean of all. ``des`` keeps the set of the largest
  sum of losses, and 1 is what such a patch adds to the sum, as far as anybody knows. Were it taken
  for the hardest, a run would prune nothing before it is through with all patches; were it
  left to exploration, patches known to be easy would go before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le, Lt

from srprune.core.errors import InputError
from srprune.core.seeding import hashed
from srprune.selection.random_uniform import random_uniform
from srprune.selection.rule import Choice, Ids, Pool, Prepared, Rule, portion, window

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Share = Annotated[float, Gt(0), Le(1)]

UNKNOWN = 1.0  # estimate of a patch never visited: the mean of all
KEPT = 7 / 8  # of the level, from one look at the losses to the next


def _adaptive(
    pool: Pool,
    *,
    warmup: Share = 0.1,
    period: Share = 0.05,
    explore: Share = 0.1,
    decay: Annotated[float, Ge(0), Lt(1)] = 0.9,
    bound: Share = 1.0,
) -> Prepared:
    """The hardest for the network in training, chosen anew every period; 'train' alone can do it.

    Prepared is what a run begins with, the core-set of rule ``random``.
    """
    begin = random_uniform.prepare(pool)

    def take(size: int) -> Choice:
        return begin.take(size)

    return Prepared(take, portion(bound, pool.num_patches) - pool.num_skipped)


adaptive = Rule(_adaptive, scores=False, in_training=True)


@dataclass(frozen=True)
class AdaptivePlan:
    """What an adaptive run keeps to.

    Attributes:
        ids_M: patches that it may visit, sorted; all of them where there is no bound.
        start_K: ids that it begins with; as many are active at any time.
        num_skipped: hardest patches that are passed over, the offset as a number.
        seed: of what is drawn.
        settings: of the rule.
    """

    ids_M: Ids
    start_K: Ids
    num_skipped: int
    seed: int
    settings: dict[str, Any]

    @property
    def num_explored(self) -> int:
        """Active patches that are drawn; at least one, or what was dropped would stay so."""
        return max(1, portion(self.settings["explore"], len(self.start_K)))

    def choice_at(self, done: int, steps: int) -> int | None:
        """Number of the choice, from 0, that falls due after ``done`` of ``steps`` steps."""
        first = self.warmup(steps)
        period = max(1, portion(self.settings["period"], steps))
        if not first <= done < steps or (done - first) % period:
            return None
        return (done - first) // period

    def warmup(self, steps: int) -> int:
        """Steps before the first choice."""
        return max(1, portion(self.settings["warmup"], steps))


def adaptive_plan(
    num_patches: int, ratio: float, offset: float, seed: int, settings: dict[str, Any]
) -> AdaptivePlan:
    """Draw what an adaptive run begins with, and what it may visit.

    Args:
        num_patches: N.
        ratio: share of N that is active at any time.
        offset: share of N, the hardest, that is passed over.
        seed: of what is drawn.
        settings: of the rule, checked.

    Raises:
        InputError: ratio, offset and bound do not fit.
    """
    first, size = window(ratio, offset, num_patches)
    bound = settings["bound"]
    most = portion(bound, num_patches)
    if first + size > most:
        raise InputError(
            f"ratio {ratio:g} and offset {offset:g} need {first + size} patches, but "
            f"pruning.args.bound {bound:g} lets the run visit {most}. Raise bound, or make "
            "ratio or offset smaller."
        )
    start = adaptive.prepare(Pool(num_patches, first, seed), **settings).take(size)
    everything = random_uniform.prepare(Pool(num_patches, 0, seed)).take(most)
    return AdaptivePlan(everything.ids, start.ids, first, seed, settings)


class Difficulty:
    """How hard each patch is: an exponential average of its relative losses over its visits.

    The average is divided by the sum of its weights, as Adam does (Kingma and Ba 2015, section 3):
    it is the plain mean at first, and forgets once there are many visits.

    Attributes:
        sum_M: (M,) float64, weighted sum of the relative losses.
        weight_M: (M,) float64, sum of the weights; 0 where nothing was seen.
    """

    def __init__(self, num_patches: int, decay: float) -> None:
        """Know nothing of ``num_patches``; a visit keeps the share ``decay`` of what was known."""
        self.sum_M = np.zeros(num_patches)
        self.weight_M = np.zeros(num_patches)
        self._decay = decay

    def add(self, place_V: Ids, loss_V: Floats) -> None:
        """Take in visits, in their order; a patch may come several times."""
        while len(place_V):
            place_U, first_U = np.unique(place_V, return_index=True)
            for state_M, new_U in ((self.sum_M, loss_V[first_U]), (self.weight_M, 1.0)):
                state_M[place_U] = self._decay * state_M[place_U] + (1 - self._decay) * new_U
            place_V, loss_V = np.delete(place_V, first_U), np.delete(loss_V, first_U)

    def estimates(self) -> Floats:
        """(M,) the average of each patch, and ``UNKNOWN`` where nothing was seen."""
        known_M = self.weight_M > 0
        return np.divide(
            self.sum_M, self.weight_M, out=np.full_like(self.sum_M, UNKNOWN), where=known_M
        )


class Level:
    """The mean loss over all patches that a run may visit, from the losses of its batches.

    A batch is no fair sample: the hardest are there with certainty, the others by a draw. So each
    loss has the weight of the patches that it stands for (the ratio estimator of Hajek 1971).

    Attributes:
        sums: weighted losses and weights, the older the less.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self.sums = (0.0, 0.0)

    def add(self, loss_V: Floats, weight_V: Floats) -> float:
        """Take in losses, and say where the level is now."""
        losses, weights = self.sums
        losses = KEPT * losses + float((weight_V * loss_V).sum())
        weights = KEPT * weights + float(weight_V.sum())
        self.sums = (losses, weights)
        return losses / weights


def stands_for(drawn_K: Mask, num_patches: int) -> Floats:
    """(K,) how many patches each active one stands for in a mean over all; their mean is 1.

    Args:
        drawn_K: whether it was drawn from those that are not certain to be active.
        num_patches: that the run may visit.
    """
    size, num_drawn = len(drawn_K), int(np.count_nonzero(drawn_K))
    certain = size - num_drawn
    by_draw = (num_patches - certain) / max(num_drawn, 1)
    return np.where(drawn_K, by_draw, 1.0) * (size / num_patches)


def choose(plan: AdaptivePlan, estimate_M: Floats, number: int) -> tuple[Ids, Mask]:
    """Choose an active set.

    Args:
        plan: of the run.
        estimate_M: (M,) how hard each patch is.
        number: of the choice, which decides draws and ties together with the seed.

    Returns:
        (K,) places among ``plan.ids_M``, sorted, and which of them were drawn.
    """
    lots_M, tickets_M = (
        hashed(plan.seed, f"selection.adaptive.{purpose}", number, plan.ids_M)
        for purpose in ("ties", "explore")
    )
    certain = len(plan.start_K) - plan.num_explored
    order_M = np.lexsort((lots_M, -estimate_M))
    chosen_M = np.zeros(len(estimate_M), dtype=bool)
    chosen_M[order_M[plan.num_skipped : plan.num_skipped + certain]] = True
    # those that the offset passes over are among the rest: one look may have been a mistake
    (rest,) = np.nonzero(~chosen_M)
    drawn = rest[np.argsort(tickets_M[rest], kind="stable")[: plan.num_explored]]
    chosen_M[drawn] = True
    (place_K,) = np.nonzero(chosen_M)
    return place_K.astype(np.int64, copy=False), np.isin(place_K, drawn)
