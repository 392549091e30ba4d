"""The learning rate over the steps, against closed forms and the schedulers of torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from srprune.core.config import ScheduleConfig
from srprune.training.schedule import rate

torch = pytest.importorskip("torch")
from torch.optim import lr_scheduler  # noqa: E402

steps_of_runs = st.integers(1, 100_000)
positions = st.integers(0, 99_999)
shares = st.floats(0, 1, exclude_max=True)
warm = st.none() | shares


@st.composite
def schedules(draw: Any) -> ScheduleConfig:
    """Any schedule at all."""
    name = draw(st.sampled_from(["constant", "multistep", "cosine", "one_cycle"]))
    inner = st.floats(0, 1, exclude_min=True, exclude_max=True)
    milestones = draw(st.sets(inner, min_size=1, max_size=4)) if name == "multistep" else ()
    return ScheduleConfig(
        name=name,
        warmup=draw(warm),
        milestones=tuple(sorted(milestones)),
        factor=draw(inner),
        cycles=draw(st.integers(1, 20)) if name == "cosine" else 1,
        final=draw(st.floats(0, 1)),
        start=draw(st.floats(0, 1, exclude_min=True)),
    )


def rates(steps: int, **values: Any) -> list[float]:
    config = ScheduleConfig(**values)
    return [rate(config, step, steps) for step in range(steps)]


def rates_of_torch(make: Callable[[Any], Any], steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for step in range(steps):
        if step:
            optimizer.step()
            scheduler.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


@given(schedules(), steps_of_runs, positions)
@example(ScheduleConfig(name="one_cycle", start=1e-300), 10, 0)
@example(ScheduleConfig(name="cosine", final=1e-17), 10, 0)
def test_a_rate_is_a_share_of_the_peak(config: ScheduleConfig, steps: int, step: int) -> None:
    assert 0 <= rate(config, step % steps, steps) <= 1  # neither holds for NaN


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


# --- against torch ---


@settings(deadline=None)  # torch's first scheduler is slow to make
@given(st.integers(2, 200), st.data())
def test_multistep_is_that_of_torch(steps: int, data: st.DataObject) -> None:
    drops = sorted(data.draw(st.sets(st.integers(1, steps - 1), min_size=1, max_size=4)))
    milestones = tuple(drop / steps for drop in drops)
    ours = rates(steps, name="multistep", milestones=milestones, factor=0.3)
    theirs = rates_of_torch(lambda o: lr_scheduler.MultiStepLR(o, drops, gamma=0.3), steps)
    assert ours == pytest.approx(theirs, rel=1e-12)


@settings(deadline=None)  # torch's first scheduler is slow to make
@given(st.integers(2, 200), st.sampled_from([0.0, 0.01, 0.5, 1.0]))
def test_cosine_is_that_of_torch(steps: int, final: float) -> None:
    theirs = rates_of_torch(
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=steps - 1, eta_min=final), steps
    )
    assert rates(steps, name="cosine", final=final) == pytest.approx(theirs, abs=1e-9)


@settings(deadline=None)  # torch's first scheduler is slow to make
@given(st.integers(1, 50), st.integers(1, 6), st.sampled_from([0.0, 0.01, 0.5]))
def test_warm_restarts_are_those_of_torch(falls: int, cycles: int, final: float) -> None:
    """Torch restarts where the rate would be at its end; here a cycle has that step, too."""
    ours = rates((falls + 1) * cycles, name="cosine", final=final, cycles=cycles)
    theirs = rates_of_torch(
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=falls, eta_min=final),
        falls * cycles,
    )
    for cycle in range(cycles):
        expected = [*theirs[cycle * falls : (cycle + 1) * falls], final]
        found = ours[cycle * (falls + 1) : (cycle + 1) * (falls + 1)]
        assert found == pytest.approx(expected, abs=1e-12)
        assert found[0] == 1 and found[-1] == final


@settings(deadline=None)  # torch's first scheduler is slow to make
@given(
    st.integers(2, 200),
    st.none() | st.floats(0.01, 0.99),
    st.floats(0.001, 1),
    st.floats(0.0001, 1),
)
@example(100, None, 0.04, 4e-6)  # the defaults of torch
@example(10, 0.2, 0.04, 0.01)  # the peak is a step
@example(10, 0.95, 0.04, 0.01)
def test_one_cycle_is_that_of_torch(
    steps: int, warmup: float | None, start: float, final: float
) -> None:
    share = 0.3 if warmup is None else warmup
    assume(share * steps > 1)  # less than a step of warmup is an error in torch, or a kink
    theirs = rates_of_torch(
        lambda o: lr_scheduler.OneCycleLR(
            o,
            max_lr=1.0,
            total_steps=steps,
            pct_start=share,
            anneal_strategy="cos",
            cycle_momentum=False,
            div_factor=1 / start,
            final_div_factor=start / final,
        ),
        steps,
    )
    ours = rates(steps, name="one_cycle", warmup=warmup, start=start, final=final)
    assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_one_cycle_without_a_rise_only_falls(steps: int) -> None:
    for warmup in (0.0, 0.9 / steps):
        ours = rates(steps, name="one_cycle", warmup=warmup, final=0.2)
        assert ours == pytest.approx(rates(steps, name="cosine", final=0.2))


# --- cycles and warmup ---


@given(st.integers(1, 300), st.integers(1, 30))
def test_cycles_differ_by_a_step_at_most(steps: int, cycles: int) -> None:
    assume(2 * cycles <= steps)
    ours = rates(steps, name="cosine", final=0.0, cycles=cycles)
    starts = [step for step in range(steps) if ours[step] == 1]
    assert starts[0] == 0 and len(starts) == cycles
    ends = [*starts[1:], steps]
    lengths = [end - start for start, end in zip(starts, ends, strict=True)]
    assert max(lengths) - min(lengths) <= 1
    assert all(ours[end - 1] == 0 for end in ends)


@given(st.integers(1, 20), st.integers(1, 60))
def test_more_cycles_than_steps_are_steps_at_the_peak(steps: int, more: int) -> None:
    assert rates(steps, name="cosine", final=0.0, cycles=steps + more - 1) == [1.0] * steps


@given(schedules(), steps_of_runs, positions)
def test_no_warmup_is_the_schedule_itself(config: ScheduleConfig, steps: int, step: int) -> None:
    assume(config.name != "one_cycle")
    step %= steps
    without, none = (config.model_copy(update={"warmup": warmup}) for warmup in (None, 0.0))
    assert rate(without, step, steps) == rate(none, step, steps)
    if config.name == "constant":
        expected = 1.0
    elif config.name == "multistep":
        expected = config.factor ** sum(step / steps >= share for share in config.milestones)
    else:
        assume(config.cycles == 1)
        turn = 1 + math.cos(math.pi * (step / max(1, steps - 1)))
        expected = config.final + (1 - config.final) * turn / 2
    assert rate(without, step, steps) == expected  # to the bit


@given(st.integers(1, 500), shares, st.sampled_from(["constant", "cosine"]), st.integers(1, 3))
def test_the_rest_of_the_budget_is_left_after_the_warmup(
    steps: int, warmup: float, name: str, cycles: int
) -> None:
    values = {"name": name, "final": 0.1, "cycles": cycles if name == "cosine" else 1}
    rising = round(warmup * steps)
    ours = rates(steps, warmup=warmup, **values)
    assert ours[:rising] == [(step + 1) / rising for step in range(rising)]
    assert ours[rising:] == rates(steps - rising, **values)


def test_milestones_count_from_the_start_of_the_warmup() -> None:
    ours = rates(8, name="multistep", warmup=0.5, milestones=(0.5, 0.75), factor=0.1)
    assert ours == pytest.approx([0.25, 0.5, 0.75, 1, 0.1, 0.1, 0.01, 0.01])
    within = rates(8, name="multistep", warmup=0.5, milestones=(0.25,), factor=0.1)
    assert within == pytest.approx([0.25, 0.5, 0.075, 0.1, 0.1, 0.1, 0.1, 0.1])


@given(schedules(), st.integers(2, 100_000))
def test_the_rate_does_not_jump_at_the_end_of_the_warmup(
    config: ScheduleConfig, steps: int
) -> None:
    warmup = 0.3 if config.name == "one_cycle" and config.warmup is None else config.warmup
    end = round((warmup or 0.0) * steps)
    assume(0 < end < steps)
    dropped = [share for share in config.milestones if (end - 1) / steps < share <= end / steps]
    assume(not dropped)
    before, after = rate(config, end - 1, steps), rate(config, end, steps)
    if config.name == "one_cycle":  # the peak may stand between the two steps
        rise, fall = max(1.0, end - 1.5), max(1.0, steps - end - 1.5)
        assert abs(after - before) <= math.pi / 2 * (1 / rise + 1 / fall)
    else:
        assert before == after
