"""Recipe: what the training loop wants to know, whatever is trained."""

from __future__ import annotations

from typing import Protocol

from srprune.core.config import (
    CheckpointConfig,
    ComputeConfig,
    OptimizerConfig,
    ScheduleConfig,
)


class Interval(Protocol):
    """Something that is done every so many steps."""

    @property
    def every(self) -> int:
        """Steps between two times."""


class Recipe(Protocol):
    """How a network is trained: part of every training config."""

    @property
    def optimizer(self) -> OptimizerConfig:
        """With the learning rate at its peak."""

    @property
    def schedule(self) -> ScheduleConfig:
        """Of the learning rate."""

    @property
    def seed(self) -> int:
        """Of what layers drop."""

    @property
    def ema(self) -> float | None:
        """Decay of a moving average; None keeps the weights themselves."""

    @property
    def compute(self) -> ComputeConfig:
        """Precision, parts, compiling."""

    @property
    def validation(self) -> Interval:
        """When to measure."""

    @property
    def checkpoints(self) -> CheckpointConfig:
        """When to save."""
