"""The learning rate as a function of the step alone, so that resuming has nothing to restore."""

from __future__ import annotations

import math

from srprune.core.config import ScheduleConfig

ONE_CYCLE_WARMUP = 0.3  # of the budget, as in torch


def rate(config: ScheduleConfig, step: int, steps: int) -> float:
    """Factor on the learning rate at a step.

    Args:
        config: the schedule.
        step: 0 to ``steps - 1``.
        steps: of the whole run.
    """
    if config.name == "one_cycle":
        return _one_cycle(config, step, steps)
    rising = round((config.warmup or 0.0) * steps)
    ramp = (step + 1) / rising if step < rising else 1.0
    if config.name == "multistep":
        # a quotient rounds as the share did, where a product may end a hair above a whole step
        return ramp * config.factor ** sum(step / steps >= share for share in config.milestones)
    if config.name == "constant" or step < rising:
        return ramp
    return _cosine(config, step - rising, steps - rising)


def _cosine(config: ScheduleConfig, step: int, steps: int) -> float:
    """Cycles that fall from 1 to ``final``; where they can't be equal, they differ by one step."""
    cycle = step * config.cycles // steps
    first, after = (-(-n * steps // config.cycles) for n in (cycle, cycle + 1))  # rounded up
    return _half_cosine(1.0, config.final, (step - first) / max(1, after - first - 1))


def _one_cycle(config: ScheduleConfig, step: int, steps: int) -> float:
    """Smith and Topin 2018, as torch has it: up to 1 and down to ``final``."""
    warmup = ONE_CYCLE_WARMUP if config.warmup is None else config.warmup
    peak = max(0.0, warmup * steps - 1)  # where the rate is 1, between two steps perhaps
    if step < peak:
        return _half_cosine(config.start, 1.0, step / peak)
    falling = steps - 1 - peak
    return _half_cosine(1.0, config.final, (step - peak) / falling if falling else 0.0)


def _half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
