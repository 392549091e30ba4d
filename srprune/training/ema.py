"""A moving average of the weights, which is smoother than the weights of any one step."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

STALE = 0.01  # share of the first weights in an average that is too much


class MovingAverage:
    """A network whose weights follow those of another, slowly.

    Attributes:
        network: holds the averages, in eval mode; never trained itself.
        decay: share of the average that a step keeps.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Start as a copy of ``network``."""
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step.

        Floating buffers are averaged as parameters are; whole numbers, such as the batches that a
        normalisation has seen, are copied.

        Args:
            network: the one that is trained, or another of its architecture; it is only read.
        """
        average, count = _tensors(self.network)
        average_now, count_now = _tensors(network)
        torch._foreach_lerp_(average, average_now, 1 - self.decay)
        for ours, now in zip(count, count_now, strict=True):
            ours.copy_(now)

    def state_dict(self) -> dict[str, Any]:
        """Give the averages by name, as the network itself would."""
        return self.network.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.network.load_state_dict(state)


def _tensors(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers in a fixed order: those of floating point, and the others."""
    tensors = [*network.parameters(), *network.buffers()]
    floating = [tensor for tensor in tensors if tensor.is_floating_point()]
    return floating, [tensor for tensor in tensors if not tensor.is_floating_point()]


def lag(decay: float | None, steps: int) -> str:
    """What is to be said of an average for which a training is too short; else nothing.

    Args:
        decay: of a :class:`MovingAverage`, which starts at weights that know nothing yet; None for
            no average.
        steps: of the training.
    """
    left = decay**steps if decay else 0.0
    if left < STALE:
        return ""
    return (
        f"the weights that training begins with still make up {left:.0%} of the moving average "
        f"after {steps:,} steps with ema {decay}; set it lower, or to null for no average"
    )
