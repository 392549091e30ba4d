"""FLOPs of a restorer's network, counted on the meta device: nothing is computed."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from srprune.models.network import PLANES
from srprune.models.restorer import NetworkRestorer

SIDE = 32  # LR px that FlopCount measures at; above the minimum of every network


def count_flops(restorer: NetworkRestorer, height: int, width: int) -> int:
    """FLOPs of the network on an LR image of ``height`` x ``width`` px, two a multiply-add.

    As :class:`torch.utils.flop_counter.FlopCounterMode` counts them: those of convolutions,
    products of matrices and attention. Bicubic and colours are not the network's, and ways to
    compute that a CPU prefers (:mod:`srprune.models.paths`) do not count: these are the FLOPs of
    ``ModelSpec``.
    """
    domain = restorer.domain
    enlarged = domain.scale if domain.pre_upsampled else 1
    planes = PLANES[domain.channels]
    return count_module(restorer.network, planes, enlarged * height, enlarged * width)


@torch.no_grad()
def count_module(module: nn.Module, planes: int, height: int, width: int) -> int:
    """FLOPs of any module on an image of its input; counted as by :func:`count_flops`."""
    named = [*module.named_parameters(), *module.named_buffers()]
    state = {name: tensor.to("meta") for name, tensor in named}
    x = torch.empty(1, planes, height, width, device="meta")
    with FlopCounterMode(display=False) as counter:
        functional_call(module, state, (x,))
    return int(counter.get_total_flops())


class FlopCount:
    """FLOPs of a restorer's network on LR images of any size, from two counts.

    Convolutions that keep the size, and layers on the mean of an image, take a constant and so much
    a px; a test holds every network of the table to that. A network with windows, which pads to
    whole ones, is counted at each size.
    """

    def __init__(self, restorer: NetworkRestorer) -> None:
        """Count when asked."""
        self._restorer = restorer
        self._known: dict[tuple[int, int], int] = {}

    def __call__(self, height: int, width: int) -> int:
        """FLOPs on ``height`` x ``width`` LR px; see :func:`count_flops`."""
        if self._restorer.multiple > 1:
            return self._count(height, width)
        once, twice = self._count(SIDE, SIDE), self._count(SIDE, 2 * SIDE)
        return once + (twice - once) * (height * width - SIDE**2) // SIDE**2

    def _count(self, height: int, width: int) -> int:
        if (height, width) not in self._known:
            self._known[height, width] = count_flops(self._restorer, height, width)
        return self._known[height, width]
