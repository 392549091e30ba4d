"""StepPlan: how many steps a run gets. Steps are the unit of a budget.

The budget is that of the *full* set. Epochs are turned into ``ceil(epochs * N / batch)`` steps.
With step matching a core-set gets exactly the steps of the full set, so each of its patches is
seen more often; without, it gets the same epochs, thus fewer steps. In Moser et al. 2024 the full
set gets 15,608 steps, and without matching 75%, 50% and 25% get 11,706, 7,804 and 3,902.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from srprune.core.config import BudgetConfig


@dataclass(frozen=True)
class StepPlan:
    """Steps of one run, beside those of the full set.

    Attributes:
        steps: optimizer updates of this run.
        full_steps: those of the full set.
        batch: crops per step.
        num_patches: patches that the run trains on.
        num_full: patches of the full set.
    """

    steps: int
    full_steps: int
    batch: int
    num_patches: int
    num_full: int

    @property
    def epochs(self) -> float:
        """How often the run sees each of its patches."""
        return self.steps * self.batch / self.num_patches

    def __str__(self) -> str:
        """Both plans, for people."""
        full_epochs = self.full_steps * self.batch / self.num_full
        matched = "steps matched" if self.steps == self.full_steps else "same epochs, fewer steps"
        if self.num_patches == self.num_full:
            matched = "the full set"
        return (
            f"full set: {self.num_full:,} patches, {self.full_steps:,} steps of {self.batch} crops"
            f" = {full_epochs:.1f} epochs\n"
            f"this run: {self.num_patches:,} patches, {self.steps:,} steps of {self.batch} crops"
            f" = {self.epochs:.1f} epochs ({matched})"
        )


def plan_steps(
    budget: BudgetConfig, *, batch: int, num_full: int, num_patches: int, step_matching: bool
) -> StepPlan:
    """Derive the steps of a run.

    Args:
        budget: of the full set, in steps or epochs.
        batch: crops per step.
        num_full: patches of the full set.
        num_patches: patches of the core-set.
        step_matching: give the core-set the steps of the full set.
    """
    if budget.steps is not None:
        full = Fraction(budget.steps)
    else:
        full = Fraction(repr(budget.epochs)) * num_full / batch
    steps = full if step_matching else full * Fraction(num_patches, num_full)
    return StepPlan(max(1, math.ceil(steps)), math.ceil(full), batch, num_patches, num_full)
