"""Shares over groups: they add up, nobody gives more than they have, draws are uniform."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from srprune.core.errors import InputError
from srprune.core.seeding import generator
from srprune.selection import quota
from srprune.selection.quota import allocate, by_rank, by_width, draw, id_type, sizes_of

no_deadline = settings(deadline=None)

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=12)
SHARES = st.lists(st.floats(0, 1e3), min_size=12, max_size=12)
VALUES = st.lists(st.floats(-1e6, 1e6) | st.integers(0, 3), min_size=1, max_size=60).map(
    lambda values: np.array(values, dtype=float)
)


def as_published(sizes: list[int], total: int) -> list[int]:
    """bin_allocate of CCS (Coverage-centric-coreset-selection, core/data/Coreset.py), in Python."""
    order = sorted(range(len(sizes)), key=lambda k: sizes[k])
    budgets = [0] * len(sizes)
    for i, k in enumerate(order):
        budgets[k] = min(sizes[k], total // (len(sizes) - i))
        total -= budgets[k]
    return budgets


@no_deadline
@given(SIZES, st.data())
def test_equal_shares_are_those_of_the_ccs_paper(sizes: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(sizes)))
    taken = allocate(np.array(sizes), total)
    assert taken.tolist() == as_published(sizes, total)
    assert taken.sum() == total and (taken <= sizes).all()


@no_deadline
@given(SIZES, st.data())
def test_with_equal_shares_more_takes_no_less_of_any_group(
    sizes: list[int], data: st.DataObject
) -> None:
    total = data.draw(st.integers(0, max(sum(sizes) - 1, 0)))
    assume(total < sum(sizes))
    fewer, more = (allocate(np.array(sizes), each) for each in (total, total + 1))
    assert (more >= fewer).all()


@no_deadline
@given(SIZES, SHARES, st.data())
@example([100, 1, 1], [0.99, 0.005, 0.005, *[0.0] * 9], None)
def test_any_shares_add_up_and_stay_within_the_groups(
    sizes: list[int], shares: list[float], data: st.DataObject | None
) -> None:
    shares = shares[: len(sizes)]
    there = sum(size for size, share in zip(sizes, shares, strict=True) if share > 0)
    assume(there)
    total = data.draw(st.integers(1, there)) if data else 100
    taken = allocate(np.array(sizes), total, shares)
    assert taken.sum() == total and (taken >= 0).all() and (taken <= sizes).all()
    assert all(num == 0 for num, share in zip(taken, shares, strict=True) if share == 0)


@no_deadline
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 500))
def test_groups_with_room_get_their_share(shares: list[int], total: int) -> None:
    taken = allocate(np.full(len(shares), 10_000), total, [float(s) for s in shares])
    exact = np.array(shares) * total / sum(shares)
    assert (np.abs(taken - exact) <= len(shares)).all()


def test_what_a_small_group_lacks_goes_to_the_others() -> None:
    assert allocate(np.array([2, 100, 100]), 30).tolist() == [2, 14, 14]
    assert allocate(np.array([2, 100, 100]), 30, [1.0, 1.0, 3.0]).tolist() == [2, 7, 21]


def test_shares_of_too_few_patches_are_refused() -> None:
    with pytest.raises(InputError, match="hold 5 patches, 2 fewer than the 7 asked for"):
        allocate(np.array([5, 100]), 7, [1.0, 0.0])


# --- classes ---


@no_deadline
@given(VALUES, st.integers(1, 9), st.integers(0, 2**32))
def test_classes_by_rank_hold_the_values_up_to_their_threshold(
    values_N: npt.NDArray[np.float64], num: int, seed: int
) -> None:
    among_N = np.random.default_rng(seed).random(len(values_N)) < 0.8
    assume(among_N.any())
    ranked = np.sort(values_N[among_N])
    edges = [ranked[max(-(-k * len(ranked) // num) - 1, 0)] for k in range(1, num)]
    labels_N = by_rank(values_N, num, among_N)
    for value, inside, label in zip(values_N, among_N, labels_N, strict=True):
        assert label == (sum(value > edge for edge in edges) if inside else -1)


@no_deadline
@given(st.integers(1, 200), st.integers(1, 10), st.integers(0, 2**32))
def test_classes_by_rank_are_equal_in_number(num: int, classes: int, seed: int) -> None:
    values_N = np.random.default_rng(seed).permutation(num).astype(float)
    sizes_K = sizes_of(by_rank(values_N, classes, np.ones(num, dtype=bool)), classes)
    assert sizes_K.sum() == num and sizes_K.max() - sizes_K.min() <= 1


@no_deadline
@given(VALUES, st.integers(1, 60))
@example(np.array([-1.7e308, 0.0, 1.7e308]), 4)
@example(np.array([0.0, 5e-324]), 3)
def test_classes_by_width_rise_with_the_values(values_N: npt.NDArray[np.float64], num: int) -> None:
    labels_N = by_width(values_N, num, np.ones(len(values_N), dtype=bool))
    assert labels_N.min() == 0 and labels_N.max() < num
    assert (np.diff(labels_N[np.argsort(values_N, kind="stable")]) >= 0).all()
    if values_N.max() / 2 > values_N.min() / 2:
        assert labels_N[np.argmax(values_N)] == num - 1


def test_classes_by_width_cut_the_range_evenly() -> None:
    values_N = np.array([0.0, 0.9, 1.0, 1.9, 2.0, 3.9, 4.0, 99.0])
    among_N = values_N < 50
    assert by_width(values_N, 4, among_N).tolist() == [0, 0, 1, 1, 2, 3, 3, -1]


# --- draws ---


def test_a_draw_takes_what_it_is_told_from_each_group() -> None:
    labels_N = np.array([0, 1, -1, 1, 2, 1, 0, -1, 2, 2], dtype=np.int32)
    ids = draw(labels_N, np.array([1, 2, 3]), 0, "test")
    assert ids.dtype == np.int64 and (np.diff(ids) > 0).all()
    assert np.bincount(labels_N[ids], minlength=3).tolist() == [1, 2, 3]


def test_draws_of_a_group_are_nested_and_uniform() -> None:
    labels_N = np.repeat(np.array([0, 1], dtype=np.int32), 20)
    counts = np.zeros(40)
    draws = 2000
    for seed in range(draws):
        few, more = (draw(labels_N, np.array([n, 10]), seed, "test") for n in (5, 9))
        assert set(few) <= set(more)
        counts[few] += 1
    for group, chance in ((counts[:20], 5 / 20), (counts[20:], 10 / 20)):
        deviation = np.sqrt(draws * chance * (1 - chance))
        assert np.abs(group - draws * chance).max() < 4.5 * deviation


@pytest.mark.parametrize("block", [quota.BLOCK, 7, 64])
@pytest.mark.parametrize("num", [1, 3, 50, 40_000])
def test_a_draw_is_that_of_a_sort_and_a_permutation(
    monkeypatch: pytest.MonkeyPatch, block: int, num: int
) -> None:
    """The plain way, which takes five times the memory: old core-sets stay valid."""
    labels_N = np.random.default_rng(num).integers(-1, num, 500).astype(np.int32)
    sizes_K = sizes_of(labels_N, num)
    taken_K = (sizes_K + 1) // 2
    expected: list[int] = []
    for k in np.flatnonzero(taken_K):
        own = np.flatnonzero(labels_N == k)
        order = generator(5, "test", int(k)).permutation(len(own))
        expected += own[order[: taken_K[k]]].tolist()
    monkeypatch.setattr(quota, "BLOCK", block)
    assert sizes_of(labels_N, num).tolist() == sizes_K.tolist()
    assert sizes_K.tolist() == [int((labels_N == k).sum()) for k in range(num)]
    ids = draw(labels_N, taken_K, 5, "test")
    assert ids.dtype == np.int64 and ids.tolist() == sorted(expected)


def test_a_patch_id_fits_its_type() -> None:
    for num in (1, 2**31, 2**31 + 1, 10**12):
        assert np.iinfo(id_type(num)).max >= num - 1
    assert id_type(10**8) == np.int32
