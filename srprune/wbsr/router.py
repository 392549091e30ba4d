"""Router: says which subnet each tile of an image gets, within a budget of FLOPs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Demand = npt.NDArray[np.float64]
Flops = npt.NDArray[np.int64]
Choice = npt.NDArray[np.int64]

SPAN = 64  # efforts from 2^-64 to 2^64: beyond, no router of ours chooses otherwise
HALVINGS = 60  # of the exponent, so that the effort is found to the last digits of a float
SLACK = 1e-9  # of a budget that is written with a few digits


class Router(Protocol):
    """Chooses a subnet for each tile."""

    @property
    def name(self) -> str:
        """Its name in the table of routers."""

    def demand(self, lr_TChw: Tensor) -> Demand:
        """(T, ...) what it knows of each LR tile; RGB in [0, 1], on any device."""

    def choose(self, demand: Demand, flops_M: Flops, effort: float | None) -> Choice:
        """(T,) the number of each tile's subnet, 0 being the cheapest.

        Args:
            demand: of T tiles, from :meth:`demand`.
            flops_M: of a tile in each subnet, the cheapest first.
            effort: None chooses as published, without a budget. Otherwise above 0: the FLOPs of a
                tile never fall as it rises; near 0 all tiles get the cheapest subnet, at infinity
                all get the most that this router ever gives them.
        """


def within_budget(router: Router, demand: Demand, flops_M: Flops, budget: float) -> Choice:
    """The choice of the highest effort whose mean FLOPs stay within a budget.

    Args:
        router: that chooses.
        demand: of T tiles.
        flops_M: of a tile in each subnet, the cheapest first.
        budget: share of the FLOPs of the dearest subnet on all tiles.

    Raises:
        InputError: even the cheapest subnet on all tiles takes more.
    """
    check_budget(budget, flops_M)
    limit = budget * (1 + SLACK) * int(flops_M[-1]) * len(demand)

    def fits(choice_T: Choice) -> bool:
        return int(flops_M[choice_T].sum()) <= limit

    most_T = router.choose(demand, flops_M, math.inf)
    if fits(most_T):
        return most_T
    low, high = -float(SPAN), float(SPAN)
    found_T = np.zeros(len(demand), dtype=np.int64)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        choice_T = router.choose(demand, flops_M, 2.0**middle)
        if fits(choice_T):
            low, found_T = middle, choice_T
        else:
            high = middle
    return found_T


def check_budget(budget: float, flops_M: npt.NDArray[Any]) -> None:
    """Refuse a budget that is no share, or that no subnet can meet.

    Raises:
        InputError: the message says the share of the cheapest subnet.
    """
    if not 0 < budget <= 1:
        raise InputError(
            f"the FLOPs budget is {budget:g}; it is a share of the FLOPs of the largest subnet, "
            "above 0 and at most 1."
        )
    least = flops_M[0] / flops_M[-1]
    if least > budget * (1 + SLACK):
        shown = math.ceil(1000 * least) / 1000  # rounded up, so that it can be given
        raise InputError(
            f"the FLOPs budget is {budget:g}, but the smallest subnet already takes "
            f"{shown:g} of the FLOPs of the largest. Give at least {shown:g}."
        )
