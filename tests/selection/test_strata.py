"""ccs and stratified: the budget over classes of difficulty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import InputError
from srprune.selection.ccs import ccs
from srprune.selection.quota import allocate
from srprune.selection.rule import Pool
from srprune.selection.stratified import stratified

RNG = np.random.default_rng(0)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(0, 60), st.integers(1, 140))
def test_ccs_takes_what_the_papers_code_takes_from_each_stratum(
    seed: int, strata: int, skip: int, size: int
) -> None:
    scores_N = np.random.default_rng(seed).lognormal(size=200)
    prepared = ccs.prepare(Pool(200, skip, seed, scores_N), strata=strata)
    rest = np.sort(np.argsort(-scores_N)[skip:])
    low, high = scores_N[rest].min(), scores_N[rest].max()
    edges = np.linspace(low, high, strata + 1)
    strata_N = np.searchsorted(edges[1:-1], scores_N[rest], side="right")
    sizes = np.bincount(strata_N, minlength=strata).tolist()
    ids = prepared.take(size).ids
    assert set(ids) <= set(rest.tolist())
    kept = np.bincount(strata_N[np.isin(rest, ids)], minlength=strata)
    assert kept.tolist() == allocate(np.array(sizes), size).tolist()


def test_ccs_covers_the_range_where_random_follows_the_crowd() -> None:
    scores_N = RNG.lognormal(size=5000)
    kept = ccs(scores_N, 0.1, 0.05)
    strata_N = ccs.prepare(Pool(5000, 250, 0, scores_N)).groups_N
    assert strata_N is not None
    assert np.bincount(strata_N + 1)[0] == 250  # those skipped belong to no stratum
    there = set(strata_N[strata_N >= 0].tolist())
    assert set(strata_N[kept].tolist()) == there  # every stratum that has a patch gives one


def test_equal_scores_are_one_stratum() -> None:
    assert len(ccs(np.ones(30), 0.5)) == 15


def test_stratified_takes_equal_parts_of_the_classes() -> None:
    scores_N = RNG.permutation(100).astype(float)
    kept = scores_N[stratified(scores_N, 0.4, classes=4)]
    assert np.histogram(kept, bins=[0, 25, 50, 75, 100])[0].tolist() == [10, 10, 10, 10]


def test_stratified_shares_go_from_the_easiest_to_the_hardest() -> None:
    scores_N = RNG.permutation(100).astype(float)
    kept = scores_N[stratified(scores_N, 0.2, classes=4, shares=[0, 1, 1, 2])]
    assert np.histogram(kept, bins=[0, 25, 50, 75, 100])[0].tolist() == [0, 5, 5, 10]


def test_stratified_by_width_cuts_the_range() -> None:
    scores_N = np.r_[np.linspace(0, 1, 90), np.linspace(9, 10, 10)]
    kept = stratified(scores_N, 0.2, classes=2, cuts="width")
    assert (scores_N[kept] > 5).sum() == 10


def test_the_offset_skips_the_hardest_before_classes_are_made() -> None:
    scores_N = np.r_[np.arange(90.0), np.full(10, 1e6)]
    kept = stratified(scores_N, 0.9, 0.1, classes=2, cuts="width")
    assert kept.tolist() == list(range(90))


@pytest.mark.parametrize("shares", [[1, 2], [0] * 10, [1] * 11])
def test_shares_that_do_not_fit_the_classes(shares: list[float]) -> None:
    with pytest.raises(InputError, match=r"a number for each of the 10 classes"):
        stratified(np.arange(50.0), 0.5, shares=shares)
