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

    def flops(self, height: int, width: int) -> int:
        """What its network takes for one tile, two a multiply-add; 0 where it has none.

        Args:
            height: of the tile, LR px.
            width: of the tile, LR px.
        """

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


def within_budget(
    router: Router, demand: Demand, flops_M: Flops, budget: float, flops_router: int = 0
) -> Choice:
    """The choice of the highest effort whose mean FLOPs stay within a budget.

    Args:
        router: that chooses.
        demand: of T tiles.
        flops_M: of a tile in each subnet, the cheapest first.
        budget: share of the FLOPs of the dearest subnet on all tiles, which subnets and router
            may take together.
        flops_router: of the router, for a tile.

    Raises:
        InputError: even the cheapest subnet on all tiles takes more.
    """
    check_budget(budget, flops_M, flops_router)
    limit = (budget * (1 + SLACK) * int(flops_M[-1]) - flops_router) * len(demand)

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


def check_budget(budget: float, flops_M: npt.NDArray[Any], flops_router: int = 0) -> None:
    """Refuse a budget that is no share, or that no subnet can meet.

    Args:
        budget: share of the FLOPs of the dearest subnet.
        flops_M: of a tile in each subnet, the cheapest first.
        flops_router: of the router, for a tile.

    Raises:
        InputError: the message says the share of the cheapest subnet, with the router's.
    """
    if not 0 < budget <= 1:
        raise InputError(
            f"the FLOPs budget is {budget:g}; it is a share of the FLOPs of the largest subnet, "
            "above 0 and at most 1."
        )
    least = (flops_M[0] + flops_router) / flops_M[-1]
    if least > budget * (1 + SLACK):
        shown = math.ceil(1000 * least) / 1000  # rounded up, so that it can be given
        who = "and the router already take" if flops_router else "already takes"
        remedy = f"Give at least {shown:g}." if shown <= 1 else "Choose a router without a network."
        raise InputError(
            f"the FLOPs budget is {budget:g}, but the smallest subnet {who} {shown:g} of the FLOPs "
            f"of the largest. {remedy}"
        )
