"""The adaptive rule as arithmetic: averages, the level, choices, and when they fall due."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from srprune.core.errors import InputError
from srprune.selection.adaptive import (
    AdaptivePlan,
    Difficulty,
    Level,
    adaptive,
    adaptive_plan,
    choose,
    stands_for,
)
from srprune.selection.random_uniform import random_uniform
from srprune.selection.rule import portion

SHARES = st.integers(1, 100).map(lambda percent: percent / 100)
SEEDS = st.integers(0, 2**40)
no_deadline = settings(deadline=None)
UNLIKELY = 1e-3  # that chance alone would look so uneven; seeds are fixed, so it never flickers


def a_plan(
    num: int = 100, ratio: float = 0.5, offset: float = 0.0, seed: int = 0, **given: Any
) -> AdaptivePlan:
    return adaptive_plan(num, ratio, offset, seed, adaptive.checked(given))


# --- the average of a patch ---

VISITS = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1e3)), max_size=40)


@no_deadline
@given(VISITS, st.floats(0, 0.99), st.integers(1, 9))
def test_an_estimate_is_the_weighted_mean_of_the_visits(
    visits: list[tuple[int, float]], decay: float, chunk: int
) -> None:
    """However they are cut into calls, and whatever else is in a call."""
    difficulty = Difficulty(6, decay)
    for first in range(0, len(visits), chunk):
        places, losses = zip(*visits[first : first + chunk], strict=True)
        difficulty.add(np.array(places), np.array(losses))
    for patch, found in enumerate(difficulty.estimates()):
        seen = [loss for place, loss in visits if place == patch]
        weights = decay ** np.arange(len(seen))[::-1]
        expected = np.average(seen, weights=weights) if seen else 1.0
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_few_visits_count_alike_and_many_are_forgotten() -> None:
    difficulty = Difficulty(1, 0.9)
    difficulty.add(np.array([0, 0]), np.array([1.0, 3.0]))
    assert difficulty.estimates()[0] == pytest.approx((0.9 * 1 + 3) / 1.9)
    difficulty.add(np.zeros(200, dtype=np.int64), np.full(200, 7.0))
    assert difficulty.estimates()[0] == pytest.approx(7.0)


# --- the level ---


@no_deadline
@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 200))
def test_active_patches_stand_for_all(num_drawn: int, certain: int, others: int) -> None:
    drawn_K = np.arange(num_drawn + certain) < num_drawn
    total = len(drawn_K) + others
    weight_K = stands_for(drawn_K, total)
    assert weight_K.mean() == pytest.approx(1)
    assert weight_K[drawn_K].sum() / len(drawn_K) == pytest.approx((total - certain) / total)


def test_the_level_is_the_mean_over_all_though_the_hardest_are_seen_most() -> None:
    rng = np.random.default_rng(0)
    loss_M = rng.lognormal(size=2000)
    plan = a_plan(2000, 0.2)
    found, plain = [], []
    for number in range(200):
        place_K, drawn_K = choose(plan, loss_M, number)
        weight_K = stands_for(drawn_K, 2000)
        found.append(Level().add(loss_M[place_K], weight_K))
        plain.append(loss_M[place_K].mean())
    assert np.mean(found) == pytest.approx(loss_M.mean(), rel=0.02)
    assert np.mean(plain) > 2 * loss_M.mean()


def test_the_level_follows_the_network_and_smooths() -> None:
    level, ones = Level(), np.ones(4)
    assert level.add(np.full(4, 8.0), ones) == 8.0
    assert 4.0 < level.add(np.full(4, 4.0), ones) < 8.0
    for _ in range(100):
        last = level.add(np.full(4, 2.0), ones)
    assert last == pytest.approx(2.0, rel=1e-3)


# --- choices ---


@no_deadline
@given(st.integers(2, 80), SHARES, SHARES, SHARES, SEEDS, st.integers(0, 9), st.data())
def test_a_choice_is_the_hardest_and_a_draw_of_the_rest(
    num: int,
    ratio: float,
    offset: float,
    explore: float,
    seed: int,
    number: int,
    data: st.DataObject,
) -> None:
    size, skip = portion(ratio, num), portion(min(offset, 0.99), num)
    assume(0 < size <= num - skip)
    plan = a_plan(num, ratio, min(offset, 0.99), seed, explore=explore)
    estimate_M = np.array(data.draw(st.lists(st.integers(0, 9), min_size=num, max_size=num))) / 3
    place_K, drawn_K = choose(plan, estimate_M, number)
    assert len(place_K) == size and (np.diff(place_K) > 0).all()
    assert place_K[0] >= 0 and place_K[-1] < num
    assert np.count_nonzero(drawn_K) == plan.num_explored == max(1, portion(explore, size))
    certain = sorted(estimate_M[place_K[~drawn_K]])
    by_rank = sorted(estimate_M)[::-1][skip : skip + len(certain)]
    assert certain == sorted(by_rank)
    again, drawn_again = choose(plan, estimate_M, number)
    assert np.array_equal(again, place_K) and np.array_equal(drawn_again, drawn_K)


def test_the_draw_is_uniform_and_another_one_each_time() -> None:
    plan = a_plan(40, 0.5, 0.1, explore=0.4)
    estimate_M = np.arange(40.0)
    certain = set(range(24, 36))  # the top 4 are passed over, 12 of 20 are certain
    times_M = np.zeros(40, dtype=np.int64)
    for number in range(500):
        place_K, drawn_K = choose(plan, estimate_M, number)
        assert set(place_K[~drawn_K].tolist()) == certain
        times_M[place_K[drawn_K]] += 1
    rest = np.array(sorted(set(range(40)) - certain))
    assert times_M[rest].sum() == 500 * 8 == times_M.sum()
    assert chisquare(times_M[rest]).pvalue > UNLIKELY  # those of the offset among them


def test_patches_alike_are_chosen_by_lot() -> None:
    plan = a_plan(40, 0.25, explore=0.01)
    times_M = np.zeros(40, dtype=np.int64)
    for number in range(400):
        times_M[choose(plan, np.ones(40), number)[0]] += 1
    assert chisquare(times_M).pvalue > UNLIKELY


def test_seeds_draw_others() -> None:
    sets = {tuple(choose(a_plan(seed=seed), np.ones(100), 0)[0]) for seed in range(5)}
    assert len(sets) == 5


def test_a_patch_never_seen_goes_after_the_hard_and_before_the_easy() -> None:
    difficulty = Difficulty(100, 0.9)
    difficulty.add(np.arange(60), np.repeat([2.0, 0.5], 30))  # 40 are unknown
    place_K, drawn_K = choose(a_plan(explore=0.02), difficulty.estimates(), 0)
    certain = place_K[~drawn_K]
    assert set(range(30)) <= set(certain.tolist())
    assert len(certain[certain >= 60]) == 19 and not ((certain >= 30) & (certain < 60)).any()


# --- when ---


@no_deadline
@given(st.integers(1, 500), SHARES, SHARES)
def test_choices_fall_due_after_the_warm_up_and_then_every_period(
    steps: int, warmup: float, period: float
) -> None:
    plan = a_plan(warmup=warmup, period=period)
    numbers = {done: plan.choice_at(done, steps) for done in range(steps + 1)}
    due = [done for done, number in numbers.items() if number is not None]
    assert [numbers[done] for done in due] == list(range(len(due)))
    assert all(done >= max(1, portion(warmup, steps)) for done in due)
    assert all(b - a == max(1, portion(period, steps)) for a, b in pairwise(due))
    assert steps not in due  # what would it be for
    first = max(1, portion(warmup, steps))
    assert (first in due) == (first < steps)


# --- the plan ---


@no_deadline
@given(st.integers(2, 200), SHARES, SHARES, SEEDS)
def test_a_run_begins_with_the_core_set_of_random(
    num: int, ratio: float, bound: float, seed: int
) -> None:
    assume(0 < portion(ratio, num) <= portion(bound, num))
    plan = a_plan(num, ratio, seed=seed, bound=bound)
    assert np.array_equal(plan.start_K, random_uniform(np.zeros(num), ratio, seed=seed))
    assert np.array_equal(plan.ids_M, random_uniform(np.zeros(num), bound, seed=seed))
    assert np.isin(plan.start_K, plan.ids_M).all()


def test_what_does_not_fit_the_bound_is_refused_in_numbers() -> None:
    with pytest.raises(InputError) as caught:
        a_plan(100, 0.5, 0.1, bound=0.55)
    assert str(caught.value) == (
        "ratio 0.5 and offset 0.1 need 60 patches, but pruning.args.bound 0.55 lets the run visit "
        "55. Raise bound, or make ratio or offset smaller."
    )
    assert len(a_plan(100, 0.5, 0.1, bound=0.6).ids_M) == 60


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"warmup": 0.0}, "warmup is 0.0; with adaptive it must be greater than 0 and at most 1"),
        ({"period": 1.5}, "period is 1.5; with adaptive it must be greater than 0 and at most 1"),
        ({"explore": 0}, "explore is 0; with adaptive it must be greater than 0 and at most 1"),
        ({"decay": 1.0}, "decay is 1.0; with adaptive it must be at least 0 and less than 1"),
        ({"perod": 0.1}, "unknown adaptive setting 'perod'"),
    ],
)
def test_settings_out_of_bounds_are_named(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        adaptive.checked(asked)


def test_arrays_alone_are_not_enough_to_choose_by() -> None:
    with pytest.raises(InputError, match=r"rule adaptive chooses while a network trains.* --set"):
        adaptive(np.arange(9.0), 0.5)
