"""Losses as the training loop sees them: what they are made from, and those with a state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from srprune.core.config import BalanceConfig

Criterion = Callable[[Tensor, Any], Tensor]  # of output and target: a tensor, or a tuple


@dataclass(frozen=True)
class Given:
    """What the loss of a run may be made from.

    Attributes:
        network: that is trained, on its device.
        balance: settings of the loss bd.
        mixture: file of what that balances by.
    """

    network: nn.Module
    balance: BalanceConfig | None
    mixture: Path


@dataclass(frozen=True)
class Loss:
    """A loss: two functions of output and target, both (B, C, H, W).

    Attributes:
        of_batch: (), with gradients; or a :class:`StatefulCriterion`.
        of_crops: (B,), each crop alone; their mean is that of the batch.
    """

    of_batch: Criterion
    of_crops: Criterion


@dataclass(frozen=True)
class Fault:
    """Why a training cannot go on.

    Attributes:
        what: happened, such as ``sigma of the loss bd has collapsed to 1e-05``.
        remedy: what to do, the beginning of a sentence.
    """

    what: str
    remedy: str


class StatefulCriterion(nn.Module):
    """Base of such losses: () from output and target.

    Its parameters are trained beside those of the network; its ``state_dict`` is part of every
    checkpoint.

    Attributes:
        peak_lr: learning rate of its parameters, if it has any, at its peak.
    """

    peak_lr: float = 0.0

    def fault(self) -> Fault | None:
        """Why training cannot go on; None: it can. Asked now and then."""
        return None

    def facts(self) -> dict[str, float]:
        """What the header of the weights tells of it."""
        return {}
