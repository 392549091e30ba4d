"""Which subnets of a supernet a step trains: a function of seed and step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from srprune.core.config import ComputeConfig, SubnetsConfig
from srprune.core.errors import InputError
from srprune.core.names import unknown
from srprune.core.seeding import hashed
from srprune.models.supernet import Subnet, Supernet

DRAWS = ("sandwich", "one")


def draw(
    subnets: Sequence[Subnet], how: str, seed: int, step: int, *, between: int = 1
) -> tuple[Subnet, ...]:
    """The subnets of a step, cheapest first.

    ``sandwich`` is the rule of Yu and Huang, "Universally Slimmable Networks and Improved Training
    Techniques" (ICCV 2019): the smallest, the largest, and some at random in between, where they
    take two. WBSR does not say how it draws. ``one`` is one of all at random.

    Args:
        subnets: cheapest first.
        how: ``sandwich`` or ``one``.
        seed: of the run.
        step: from 0.
        between: how many the sandwich takes at random, each at most once; fewer where there are
            fewer.

    Raises:
        UnknownName: no such way to draw.
    """
    if how not in DRAWS:
        raise unknown("way to draw subnets", how, DRAWS)
    if how == "one":
        return (subnets[int(hashed(seed, "training.subnets", step) % len(subnets))],)
    inner = range(1, len(subnets) - 1)
    ranks = np.argsort(hashed(seed, "training.subnets", step, np.array(inner, dtype=np.int64)))
    chosen = {0, len(subnets) - 1, *(inner[rank] for rank in ranks[:between])}
    return tuple(subnets[number] for number in sorted(chosen))


def subnets_of(
    network: nn.Module, how: SubnetsConfig | None, seed: int
) -> Callable[[int], Sequence[Subnet]] | None:
    """Step -> the subnets that it trains; None where the network is no supernet.

    Args:
        network: that is trained.
        how: they are drawn; supernets need it.
        seed: of the run.
    """
    if not isinstance(network, Supernet):
        return None
    assert how is not None
    subnets = network.subnets
    return lambda step: draw(subnets, how.draw, seed, step, between=how.between)


def check_compute(compute: ComputeConfig) -> None:
    """Refuse what cannot be had with subnets.

    Raises:
        InputError: a CUDA graph, which would go on with the subnets of the first step.
    """
    if compute.cuda_graph:
        raise InputError(
            "compute.cuda_graph repeats one step, but a supernet trains other subnets at each. "
            "Choose compute.compile, or --set compute.cuda_graph=false."
        )
