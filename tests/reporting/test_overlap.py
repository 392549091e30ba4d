"""Overlap of core-sets and score tables: against SciPy, against counting, and at the edges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from srprune.reporting.overlap import (
    expected_jaccard,
    image_shares,
    kept_by_tenth,
    largest_differences,
    overlap,
    spearman,
    top_overlaps,
)
from srprune.selection.rank_window import des

scores = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=60)


def ids(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_overlap_counts_both_and_each_alone():
    found = overlap(ids(0, 1, 2, 3), ids(2, 3, 4), 10)
    assert (found.both, found.only_a, found.only_b) == (2, 2, 1)
    assert found.jaccard == pytest.approx(2 / 5)
    assert found.chance_both == pytest.approx(4 * 3 / 10)


def test_a_core_set_overlaps_itself_wholly_and_its_complement_not_at_all():
    half, rest = ids(0, 2, 4), ids(1, 3, 5)
    assert overlap(half, half, 6).jaccard == 1
    assert overlap(half, rest, 6).jaccard == 0


@pytest.mark.parametrize(("n", "a", "b"), [(6, 3, 3), (7, 2, 5), (5, 5, 2), (5, 5, 5), (1, 1, 1)])
def test_expected_jaccard_is_the_mean_over_all_pairs_of_sets(n, a, b):
    fixed = set(range(a))  # by symmetry one of the two may stand still
    values = [
        len(fixed & set(other)) / len(fixed | set(other))
        for other in itertools.combinations(range(n), b)
    ]
    assert expected_jaccard(a, b, n) == pytest.approx(np.mean(values), rel=1e-12)


@given(st.integers(1, 3000), st.data())
def test_expected_jaccard_agrees_with_scipys_hypergeometric_distribution(n, data):
    a, b = data.draw(st.integers(1, n)), data.draw(st.integers(1, n))
    k = np.arange(max(0, a + b - n), min(a, b) + 1)
    wanted = (stats.hypergeom(n, a, b).pmf(k) * k / (a + b - k)).sum()
    assert expected_jaccard(a, b, n) == pytest.approx(wanted, rel=1e-9, abs=1e-15)


def test_expected_jaccard_of_a_hundred_million_patches_is_near_its_limit():
    """With N the spread vanishes: p^2 / (2p - p^2) at p = 1/2 is a third."""
    assert expected_jaccard(50_000_000, 50_000_000, 100_000_000) == pytest.approx(1 / 3, rel=1e-7)


def test_image_shares_are_kept_patches_over_all():
    image_N = np.array([0, 0, 1, 1, 1, 1, 2], dtype=np.int32)
    assert image_shares(ids(0, 2, 3, 4), image_N, 3).tolist() == [0.5, 0.75, 0]


def test_the_largest_differences_come_first_and_equal_shares_not_at_all():
    a, b = np.array([0.5, 1.0, 0.2, 0.0]), np.array([0.5, 0.0, 0.1, 1.0])
    assert largest_differences(a, b, 8) == [1, 3, 2]
    assert largest_differences(a, b, 1) == [1]


@given(scores, st.randoms())
def test_tenths_of_the_ranking_hold_the_sizes_of_the_core_sets(values, random):
    scores_N = np.array(values)
    chosen = np.flatnonzero([random.random() < 0.4 for _ in values])
    ranges, (shares, everything) = kept_by_tenth([chosen, np.arange(len(values))], scores_N)
    bins = min(10, len(values))
    assert ranges.shape == (bins, 2)
    assert (everything == 1).all()
    sizes = np.diff(np.unique(np.arange(11) * len(values) // 10))
    assert (shares * sizes).sum() == pytest.approx(len(chosen))
    assert (ranges[:, 0] <= ranges[:, 1]).all()
    assert (ranges[1:, 1] <= ranges[:-1, 0]).all()  # the hardest first


def test_the_refined_core_set_keeps_its_window_of_the_ranking():
    scores_N = np.random.default_rng(0).exponential(size=1000)
    _, (shares,) = kept_by_tenth([des(scores_N, 0.5, 0.05, 0)], scores_N)
    assert shares.tolist() == [0.5, 1, 1, 1, 1, 0.5, 0, 0, 0, 0]


@given(scores, st.data())
def test_spearman_is_scipys(values, data):
    other = data.draw(st.lists(st.integers(-5, 5).map(float), min_size=len(values),
                               max_size=len(values)))  # fmt: skip
    found = spearman(np.array(values), np.array(other))
    if len(set(values)) == 1 or len(set(other)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(stats.spearmanr(values, other).statistic, abs=1e-12)


@given(scores)
def test_a_table_agrees_with_itself_and_is_against_its_reverse(values):
    a_N = np.array(values)
    if len(set(values)) > 1:
        assert spearman(a_N, a_N) == pytest.approx(1)
        assert spearman(a_N, -a_N) == pytest.approx(-1)
    assert all(top.both == 1 for top in top_overlaps(a_N, a_N))


@given(scores, st.randoms())
def test_top_overlaps_are_those_of_the_core_sets_of_des(values, random):
    a_N, b_N = np.array(values), np.array(random.sample(values, len(values)))
    tops = top_overlaps(a_N, b_N, (0.05, 0.25, 0.5, 1))
    assert [top.share for top in tops] == ([0.05] if len(values) >= 10 else []) + (
        [0.25] if len(values) >= 2 else []
    ) + [0.5, 1]
    for top in tops:
        a, b = des(a_N, top.share, 0, 0), des(b_N, top.share, 0, 0)
        assert top.size == len(a)
        assert top.both == pytest.approx(len(set(a) & set(b)) / len(a))
        assert top.chance == pytest.approx(top.size / len(values))
