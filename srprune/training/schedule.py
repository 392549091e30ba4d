"""The learning rate as a function of the step alone, so that resuming has nothing to restore."""

from __future__ import annotations

import math

from srprune.core.config import ScheduleConfig


def rate(config: ScheduleConfig, step: int, steps: int) -> float:
    """Factor on the learning rate at a step.

    Args:
        config: the schedule.
        step: 0 to ``steps - 1``.
        steps: of the whole run.
    """
    if config.name == "constant":
        return 1.0
    if config.name == "multistep":
        # a quotient rounds as the share did, where a product may end a hair above a whole step
        return config.factor ** sum(step / steps >= share for share in config.milestones)
    share = step / max(1, steps - 1)
    return config.final + (1 - config.final) * (1 + math.cos(math.pi * share)) / 2
