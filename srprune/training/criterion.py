"""A loss that keeps something from step to step: what the training loop does with it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


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
