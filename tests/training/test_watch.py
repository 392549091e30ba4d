"""Watching the loss: sums, and the first step at which it is lost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from srprune.training.distributed import ALONE, World  # noqa: E402
from srprune.training.watch import BETWEEN, LossWatch  # noqa: E402

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
losses = st.lists(st.floats(0, 1e4, width=32), max_size=20)


def filled(first: int, values: list[float], loss_sum: float = 0.0) -> LossWatch:
    watch = LossWatch(CPU, ALONE, loss_sum)
    for step, value in enumerate(values, first):
        watch.add(step, torch.tensor(value))
    return watch


@given(losses, losses, st.floats(0, 1e4))
def test_the_sum_goes_on_from_what_was_there(
    before: list[float], after: list[float], loss_sum: float
) -> None:
    watch = filled(0, before, loss_sum)
    assert watch.look() is None
    for step, value in enumerate(after, len(before)):
        watch.add(step, torch.tensor(value))
    assert watch.look() is None
    assert watch.sum == pytest.approx(math.fsum([loss_sum, *before, *after]))
    if before or after:
        assert watch.last == [*before, *after][-1]


@given(losses, st.sampled_from([math.nan, math.inf, -math.inf]), losses, st.integers(0, 1000))
def test_the_first_bad_step_is_found(
    good: list[float], bad: float, others: list[float], first: int
) -> None:
    """However late the look comes, and whatever came after."""
    watch = filled(first, [*good, bad, *others, math.nan])
    assert watch.look() == first + len(good)
    assert repr(watch.last) == repr(bad)
    assert watch.sum == pytest.approx(math.fsum(good))


def test_a_loss_is_not_read_before_a_look() -> None:
    watch = LossWatch(CPU, ALONE)
    loss = torch.tensor(1.0)
    watch.add(0, loss)
    assert (watch.sum, math.isnan(watch.last)) == (0.0, True)
    loss.fill_(3.0)
    assert watch.look() is None
    assert (watch.sum, watch.last) == (3.0, 3.0)


def test_each_loss_counts_once() -> None:
    watch = filled(0, [1.0, 2.0])
    assert [watch.look(), watch.look(), watch.sum] == [None, None, 3.0]


def test_nothing_to_see_is_not_bad() -> None:
    watch = LossWatch(CPU, ALONE, 5.0)
    assert watch.look() is None
    assert watch.sum == 5.0


@pytest.mark.parametrize(
    ("device", "world", "between"),
    [(CPU, ALONE, 1), (CUDA, ALONE, BETWEEN), (CPU, World(1, 2), BETWEEN)],
    ids=["cpu", "cuda", "two processes"],
)
def test_looks_that_make_others_wait_are_rare(
    device: torch.device, world: World, between: int
) -> None:
    watch = LossWatch(device, world)
    due = [done for done in range(1, 33) if watch.due(done)]
    assert due == list(range(between, 33, between))
