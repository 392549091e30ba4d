"""ASC, DES and offset: exact sizes, nested sets, and only the order of scores counts."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from srprune.core.errors import InputError
from srprune.selection import RULES
from srprune.selection.rank_window import asc, des, portion, ranks, window

no_deadline = settings(deadline=None)

DIV2K = 32_592

Scores = npt.NDArray[np.float64]
SCORES = st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=60).map(np.array)
DISTINCT = st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=60, unique=True).map(np.array)
TIED = st.lists(st.integers(0, 3), min_size=4, max_size=60).map(lambda s: np.array(s, dtype=float))
SHARES = st.integers(1, 100).map(lambda percent: percent / 100)


def half_up(share: float, num: int) -> int:
    """floor(share * N + 1/2) of the share as it is written."""
    return math.floor(Fraction(Decimal(repr(share))) * num + Fraction(1, 2))


def chosen(scores_N: Scores, ratio: float, offset: float = 0.0) -> list[int]:
    return des(scores_N, ratio, offset, 0).tolist()


# --- sizes ---


@no_deadline
@given(st.floats(0, 1), st.integers(1, 10**7))
def test_portions_round_half_up_exactly(share: float, num: int) -> None:
    assert portion(share, num) == half_up(share, num)


@pytest.mark.parametrize(
    ("share", "num", "expected"),
    [(0.35, 10, 4), (0.5, 3, 2), (0.5, 1, 1), (0.05, 10, 1), (0.15, 10, 2), (0.145, 100, 15)],
)
def test_halves_go_up_as_shares_are_written(share: float, num: int, expected: int) -> None:
    assert portion(share, num) == expected


@pytest.mark.parametrize(("ratio", "size"), [(0.25, 8_148), (0.5, 16_296), (0.75, 24_444)])
def test_the_sizes_on_div2k(ratio: float, size: int) -> None:
    assert window(ratio, 0, DIV2K) == (0, size)


def test_the_refined_set_on_div2k_skips_1630_and_keeps_16296() -> None:
    scores_N = np.random.default_rng(0).permutation(DIV2K).astype(float)
    kept = des(scores_N, 0.5, 0.05, 0)
    assert window(0.5, 0.05, DIV2K) == (1_630, 16_296) and len(kept) == 16_296
    assert scores_N[kept].max() == DIV2K - 1 - 1_630  # the hardest that is not skipped
    assert scores_N[kept].min() == DIV2K - 1_630 - 16_296


@no_deadline
@given(SCORES, SHARES, st.integers(0, 99).map(lambda percent: percent / 100))
def test_ids_are_sorted_unique_and_as_many_as_the_ratio_says(
    scores_N: Scores, ratio: float, offset: float
) -> None:
    num = len(scores_N)
    size, first = half_up(ratio, num), half_up(offset, num)
    assume(size >= 1 and first + size <= num)
    for rule in (des, asc):
        kept = rule(scores_N, ratio, offset, 0)
        assert kept.dtype == np.int64 and len(kept) == size
        assert (np.diff(kept) > 0).all() and kept[0] >= 0 and kept[-1] < num


# --- which ---


@no_deadline
@given(SCORES)
def test_des_is_nested(scores_N: Scores) -> None:
    quarter, half, most, full = (set(chosen(scores_N, r)) for r in (0.25, 0.5, 0.75, 1.0))
    assert quarter <= half <= most <= full == set(range(len(scores_N)))


@no_deadline
@given(SCORES | TIED, SHARES)
def test_what_des_keeps_is_never_easier_than_what_it_drops(scores_N: Scores, ratio: float) -> None:
    assume(portion(ratio, len(scores_N)))
    kept = chosen(scores_N, ratio)
    dropped = np.delete(scores_N, kept)
    assert len(dropped) == 0 or scores_N[kept].min() >= dropped.max()


@no_deadline
@given(TIED, SHARES)
def test_ties_go_to_the_lower_id(scores_N: Scores, ratio: float) -> None:
    assume(portion(ratio, len(scores_N)))
    for rule in (des, asc):
        kept = set(rule(scores_N, ratio, 0.0, 0).tolist())
        for i in kept:
            assert all(j in kept for j in range(i) if scores_N[j] == scores_N[i])


def test_equal_scores_keep_the_first_patches() -> None:
    assert chosen(np.zeros(10), 0.3) == [0, 1, 2]
    assert chosen(np.zeros(10), 0.3, 0.2) == [2, 3, 4]
    assert chosen(np.array([0.0, -0.0, 0.0, -0.0]), 0.5) == [0, 1]


@no_deadline
@given(DISTINCT, SHARES, st.randoms())
def test_permuting_patches_permutes_the_choice_and_nothing_else(
    scores_N: Scores, ratio: float, random: Random
) -> None:
    assume(portion(ratio, len(scores_N)))
    order = np.array(random.sample(range(len(scores_N)), len(scores_N)))
    for rule in (des, asc):
        permuted = order[rule(scores_N[order], ratio, 0.0, 0)]
        np.testing.assert_array_equal(np.sort(permuted), rule(scores_N, ratio, 0.0, 0))


@no_deadline
@given(SCORES | TIED, SHARES)
def test_only_the_order_of_the_scores_counts(scores_N: Scores, ratio: float) -> None:
    assume(portion(ratio, len(scores_N)))
    ranks = np.unique(scores_N, return_inverse=True)[1].astype(float)
    assert chosen(scores_N, ratio) == chosen(ranks, ratio)


@no_deadline
@given(SCORES | TIED, SHARES)
def test_asc_is_des_of_negated_scores(scores_N: Scores, ratio: float) -> None:
    assume(portion(ratio, len(scores_N)))
    assert asc(scores_N, ratio, 0.0, 0).tolist() == chosen(-scores_N, ratio)


@no_deadline
@given(DISTINCT)
def test_halves_of_des_and_asc_share_nothing(scores_N: Scores) -> None:
    scores_N = scores_N[: len(scores_N) // 2 * 2]
    easy = asc(scores_N, 0.5, 0.0, 0).tolist()
    assert sorted(easy + chosen(scores_N, 0.5)) == list(range(len(scores_N)))


@no_deadline
@given(SCORES | TIED)
def test_refined_is_the_window_of_ranks(scores_N: Scores) -> None:
    num = len(scores_N)
    ranked = sorted(range(num), key=lambda i: (-scores_N[i], i))
    first, size = half_up(0.05, num), half_up(0.5, num)
    assert chosen(scores_N, 0.5, 0.05) == sorted(ranked[first : first + size])


@no_deadline
@given(SCORES, st.integers(0, 2**32))
def test_the_seed_has_no_effect_on_ranks(scores_N: Scores, seed: int) -> None:
    for rule in (des, asc):
        np.testing.assert_array_equal(rule(scores_N, 0.5, 0.0, seed), rule(scores_N, 0.5, 0.0, 0))


def test_scores_stay_as_they_were() -> None:
    scores_N = np.array([3.0, 1.0, 2.0])
    for name in ("des", "asc", "random", "ccs", "stratified"):
        RULES.load(name)(scores_N, 0.5, 0.0, 0)
    assert scores_N.tolist() == [3.0, 1.0, 2.0]


@no_deadline
@given(SCORES | TIED, st.data(), st.booleans())
def test_ranks_are_those_of_the_stable_sort(
    scores_N: Scores, data: st.DataObject, hardest_first: bool
) -> None:
    first = data.draw(st.integers(0, len(scores_N) - 1))
    size = data.draw(st.integers(1, len(scores_N) - first))
    order_N = np.argsort(-scores_N if hardest_first else scores_N, kind="stable")
    expected = np.sort(order_N[first : first + size]).tolist()
    assert ranks(scores_N, first, size, hardest_first=hardest_first).tolist() == expected


# --- refusals ---


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.5, math.nan, math.inf])
def test_a_ratio_out_of_range(ratio: float) -> None:
    with pytest.raises(InputError, match=f"ratio is {ratio:g}; it must be above 0 and at most 1"):
        window(ratio, 0.0, 10)


@pytest.mark.parametrize("offset", [-0.1, 1.0, math.nan])
def test_an_offset_out_of_range(offset: float) -> None:
    with pytest.raises(InputError, match=f"offset is {offset:g}; it must be at least 0 and below"):
        window(0.5, offset, 10)


def test_a_ratio_that_keeps_nothing() -> None:
    with pytest.raises(InputError, match=r"ratio 0\.01 of 10 patches keeps none\. .*least 0\.1\."):
        window(0.01, 0.0, 10)


def test_a_window_that_runs_past_the_end_says_by_how_much() -> None:
    with pytest.raises(InputError, match="need 34222 patches, 1630 more than the 32592 there are"):
        window(1.0, 0.05, DIV2K)


@no_deadline
@given(SHARES, st.integers(0, 99).map(lambda percent: percent / 100), st.integers(1, 1000))
def test_a_window_fits_or_is_refused(ratio: float, offset: float, num: int) -> None:
    try:
        first, size = window(ratio, offset, num)
    except InputError as error:
        past = half_up(ratio, num) + half_up(offset, num) - num
        assert half_up(ratio, num) == 0 or f" {past} more than the {num} " in str(error)
    else:
        assert size >= 1 and first + size <= num
