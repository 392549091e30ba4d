"""The learning rate over the steps, against closed forms."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from srprune.core.config import ScheduleConfig
from srprune.training.schedule import rate

steps_of_runs = st.integers(1, 100_000)
positions = st.integers(0, 99_999)


@given(steps_of_runs, positions)
def test_constant(steps: int, step: int) -> None:
    assert rate(ScheduleConfig(name="constant"), step % steps, steps) == 1


@given(steps_of_runs, positions, st.sampled_from([0.0, 0.01, 0.5, 1.0]))
def test_cosine(steps: int, step: int, final: float) -> None:
    step %= steps
    factor = rate(ScheduleConfig(name="cosine", final=final), step, steps)
    half_angle = math.pi * step / (2 * (steps - 1)) if steps > 1 else 0.0
    expected = final * math.sin(half_angle) ** 2 + math.cos(half_angle) ** 2
    assert factor == pytest.approx(expected, abs=1e-12)


@given(st.integers(2, 100_000), st.sampled_from([0.0, 0.01, 0.3]))
def test_cosine_falls_from_one_to_final(steps: int, final: float) -> None:
    config = ScheduleConfig(name="cosine", final=final)
    assert rate(config, 0, steps) == 1
    assert rate(config, steps - 1, steps) == pytest.approx(final, abs=1e-15)
    some = [rate(config, step, steps) for step in range(0, steps, max(1, steps // 50))]
    assert some == sorted(some, reverse=True)


def test_cosine_of_a_single_step_is_the_full_rate() -> None:
    assert rate(ScheduleConfig(name="cosine", final=0.0), 0, 1) == 1


@given(
    st.sets(st.integers(1, 99), min_size=1, max_size=4),
    steps_of_runs,
    positions,
    st.sampled_from([0.1, 0.5]),
)
@example({55}, 100, 55, 0.5)  # 0.55 * 100 is a hair over 55 in floating point
@example({7}, 100, 7, 0.5)
@example({57}, 100, 57, 0.5)
def test_multistep_drops_at_each_share_of_the_budget(
    hundredths: set[int], steps: int, step: int, factor: float
) -> None:
    step %= steps
    milestones = tuple(h / 100 for h in sorted(hundredths))
    config = ScheduleConfig(name="multistep", milestones=milestones, factor=factor)
    drops = sum(step >= Fraction(h, 100) * steps for h in hundredths)
    assert rate(config, step, steps) == pytest.approx(factor**drops, rel=1e-12)


def test_multistep_by_hand() -> None:
    config = ScheduleConfig(name="multistep", milestones=(0.5, 0.75), factor=0.1)
    factors = [rate(config, step, 8) for step in range(8)]
    assert factors == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
