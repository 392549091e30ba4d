"""The random control: of the same size, nested by ratio, uniform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from srprune.core.errors import InputError
from srprune.selection.random_uniform import random_uniform
from srprune.selection.rank_window import des, portion

no_deadline = settings(deadline=None)

NUMS = st.integers(1, 300)
SEEDS = st.integers(0, 2**40)
SHARES = st.integers(1, 100).map(lambda percent: percent / 100)


def draw(num: int, ratio: float, seed: int, offset: float = 0.0) -> list[int]:
    return random_uniform(np.zeros(num), ratio, offset, seed).tolist()


@no_deadline
@given(NUMS, SHARES, SEEDS)
def test_it_keeps_as_many_as_des_sorted_and_unique(num: int, ratio: float, seed: int) -> None:
    assume(portion(ratio, num))
    kept = random_uniform(np.zeros(num), ratio, 0.0, seed)
    assert kept.dtype == np.int64 and len(kept) == len(des(np.zeros(num), ratio, 0.0, 0))
    assert kept.tolist() == sorted(set(kept.tolist())) and kept[0] >= 0 and kept[-1] < num


@no_deadline
@given(st.integers(4, 300), SEEDS)
def test_sets_of_one_seed_are_nested(num: int, seed: int) -> None:
    quarter, half, most, full = (set(draw(num, ratio, seed)) for ratio in (0.25, 0.5, 0.75, 1))
    assert quarter <= half <= most <= full == set(range(num))


@no_deadline
@given(NUMS, SEEDS)
def test_the_scores_have_no_effect(num: int, seed: int) -> None:
    scores_N = np.random.default_rng(seed).normal(size=num)
    assert random_uniform(scores_N, 1.0, 0.0, seed).tolist() == draw(num, 1.0, seed)
    if num > 1:
        assert random_uniform(scores_N, 0.5, 0.0, seed).tolist() == draw(num, 0.5, seed)


@no_deadline
@given(SEEDS, SEEDS)
def test_seeds_differ(one: int, two: int) -> None:
    assert (draw(200, 0.5, one) == draw(200, 0.5, two)) == (one == two)


@no_deadline
@given(st.integers(2, 100).map(lambda half: 2 * half), SEEDS)
def test_an_offset_draws_a_second_disjoint_set(num: int, seed: int) -> None:
    assert sorted(draw(num, 0.5, seed) + draw(num, 0.5, seed, offset=0.5)) == list(range(num))


def test_every_patch_is_as_likely_as_another() -> None:
    draws = 2000
    counts = np.zeros(40)
    together = 0  # of two neighbours
    for seed in range(draws):
        kept = draw(40, 0.25, seed)
        counts[kept] += 1
        together += {0, 1} <= set(kept)
    deviation = np.sqrt(draws * 0.25 * 0.75)
    assert np.abs(counts - draws * 0.25).max() < 4.5 * deviation
    assert abs(together / draws - 10 / 40 * 9 / 39) < 0.025


def test_the_draw_is_the_same_on_every_machine() -> None:
    assert draw(20, 0.25, 0) == [0, 2, 4, 10, 13]


def test_a_window_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="1 more than the 10 there are"):
        draw(10, 0.9, 0, offset=0.2)
