"""Differences of two rows: tests, intervals, and what is said where nothing can be tested."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from srprune.core.findings import Verdict
from srprune.studies import bootstrap
from srprune.studies.bootstrap import bootstrap_interval
from srprune.studies.statistics import difference, paired

MARGIN = 0.05
FEW = 500  # draws, where the interval is not what is tested


def table(num_seeds: int, num_images: int, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    seeds_S1 = rng.normal(0, 0.05, (num_seeds, 1))
    return mean + seeds_S1 + rng.normal(0, 0.1, (num_seeds, num_images))


def two_rows(num_seeds: int, num_images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    other_SI = 33 + 3 * table(num_seeds, num_images, seed)
    return other_SI + table(num_seeds, num_images, seed + 1, 0.03), other_SI


@given(st.integers(2, 8), st.integers(1, 30), st.integers(0, 2**32), st.floats(0.001, 1))
@settings(deadline=None, max_examples=50)
def test_the_tests_are_those_of_scipy(num_seeds, num_images, seed, margin):
    values_SI, other_SI = two_rows(num_seeds, num_images, seed)
    told = difference(values_SI, other_SI, margin, draws=FEW)
    own_S, other_S = values_SI.mean(axis=1), other_SI.mean(axis=1)
    expected = stats.ttest_rel(own_S, other_S)
    assert told.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    interval = expected.confidence_interval(0.95)
    assert told.over_seeds.interval == pytest.approx((interval.low, interval.high), abs=1e-9)
    above = stats.ttest_1samp(own_S - other_S, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(own_S - other_S, margin, alternative="less").pvalue
    assert told.p_equivalent == pytest.approx(max(above, below), rel=1e-6, abs=1e-12)
    assert (told.p_adjusted, told.verdict, told.more_seeds) == (None, Verdict.UNDECIDED, None)


def test_student_s_sleep():
    """R's example of the paired test, ?t.test, on its data "sleep".

    They are those of Student 1908: ten patients, extra hours of sleep by two drugs.
    """
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    told = difference(np.array([first]).T, np.array([second]).T)
    assert told.over_seeds.mean == pytest.approx(-1.58, abs=1e-12)
    assert told.over_seeds.interval == pytest.approx((-2.4598858, -0.7001142), abs=1e-7)
    assert told.p == pytest.approx(0.002833, abs=5e-7)
    assert told.p_equivalent is None  # no margin, no such test
    assert told.over_images is None  # one column


@given(st.integers(2, 6), st.integers(2, 20), st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_the_other_way_round_only_signs_change(num_seeds, num_images, seed):
    values_SI, other_SI = two_rows(num_seeds, num_images, seed)
    told = difference(values_SI, other_SI, MARGIN, draws=FEW)
    back = difference(other_SI, values_SI, MARGIN, draws=FEW)
    assert back.over_seeds.mean == pytest.approx(-told.over_seeds.mean, abs=1e-12)
    assert (back.p, back.p_equivalent) == pytest.approx((told.p, told.p_equivalent), abs=1e-9)
    assert told.over_images is not None and back.over_images is not None
    low, high = told.over_images
    assert back.over_images == pytest.approx((-high, -low), abs=1e-9)


@given(st.integers(2, 6), st.integers(4, 20), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_the_order_of_seeds_and_images_is_nothing(num_seeds, num_images, random):
    values_SI, other_SI = two_rows(num_seeds, num_images, 7)
    seeds, images = list(range(num_seeds)), list(range(num_images))
    random.shuffle(seeds)
    random.shuffle(images)
    told = difference(values_SI, other_SI, MARGIN)
    mixed = difference(values_SI[seeds][:, images], other_SI[seeds][:, images], MARGIN)
    assert mixed.over_seeds.mean == pytest.approx(told.over_seeds.mean, abs=1e-12)
    assert (mixed.p, mixed.p_equivalent) == pytest.approx((told.p, told.p_equivalent), abs=1e-9)
    assert told.over_images is not None
    # the draws fall upon others: the same but for chance, from which few images have jumps
    wide = told.over_images[1] - told.over_images[0]
    assert mixed.over_images == pytest.approx(told.over_images, abs=0.08 * wide)


@pytest.mark.parametrize(
    ("gain", "p", "p_equivalent"),
    [(0.0, 1.0, 0.0), (0.25, 0.0, 1.0), (-0.03125, 0.0, 0.0), (0.0625, 0.0, 0.5), (2.0, 0.0, 1.0)],
)
def test_runs_that_differ_by_the_same_everywhere(gain, p, p_equivalent):
    other_SI = np.full((4, 6), 33.0)
    told = difference(other_SI + gain, other_SI, margin=0.0625)
    assert (told.p, told.p_equivalent) == (p, p_equivalent)
    assert told.over_seeds.sd == 0
    assert told.over_images == (gain, gain)


@pytest.mark.parametrize("num_images", [1, 12])
def test_one_seed_is_an_anecdote(num_images):
    values_SI, other_SI = two_rows(1, num_images, 0)
    told = difference(values_SI, other_SI, MARGIN)
    assert told.over_seeds.n == 1 and told.over_seeds.interval is None
    assert (told.p, told.p_equivalent, told.over_images) == (None, None, None)


def test_what_both_restore_to_the_last_bit_differs_by_nothing():
    values_SI, other_SI = two_rows(3, 5, 0)
    values_SI[:, 2] = other_SI[:, 2] = math.inf
    gains_SI = paired(values_SI, other_SI)
    assert (gains_SI[:, 2] == 0).all()
    told = difference(values_SI, other_SI, MARGIN, draws=FEW)
    assert told.p is not None and told.over_images is not None
    assert told.over_seeds.mean == pytest.approx(gains_SI.mean())


@pytest.mark.parametrize(
    ("own", "other", "mean"), [(0, None, math.inf), (None, 0, -math.inf), (0, 1, math.nan)]
)
def test_an_infinite_difference_is_shown_and_not_tested(own, other, mean):
    values_SI, other_SI = two_rows(3, 5, 0)
    if own is not None:
        values_SI[1, own] = math.inf
    if other is not None:
        other_SI[1, other] = math.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = difference(values_SI, other_SI, MARGIN, draws=FEW)
    assert told.over_seeds.mean == pytest.approx(mean, nan_ok=True)
    tested = (told.p, told.p_equivalent, told.over_images, told.more_seeds)
    assert tested == (None, None, None, None)


# The bootstrap


def slow_interval(values_SI: np.ndarray, draws: int) -> tuple[float, float]:
    """Draw by draw, by indices."""
    num_seeds, num_images = values_SI.shape
    seeds_BS = bootstrap._counts(draws, num_seeds, 0, "bootstrap of seeds")
    images_BI = bootstrap._counts(draws, num_images, 0, "bootstrap of images")
    means = []
    for seeds_S, images_I in zip(seeds_BS, images_BI, strict=True):
        seeds = [s for s, count in enumerate(seeds_S) for _ in range(count)]
        images = [i for i, count in enumerate(images_I) for _ in range(count)]
        assert len(seeds) == num_seeds and len(images) == num_images
        means.append(np.mean([[values_SI[s, i] for i in images] for s in seeds]))
    mean = values_SI.mean()
    # Two-way analysis of variance without repetition, as in any textbook.
    total = ((values_SI - mean) ** 2).sum()
    of_seeds = num_images * ((values_SI.mean(axis=1) - mean) ** 2).sum()
    of_images = num_seeds * ((values_SI.mean(axis=0) - mean) ** 2).sum()
    free = [num_seeds - 1, num_images - 1, (num_seeds - 1) * (num_images - 1)]
    squares = np.array([of_seeds, of_images, total - of_seeds - of_images]) / free
    squares[:2] = np.maximum(squares[:2], squares[2])
    variance = (squares[0] + squares[1] - squares[2]) / (num_seeds * num_images)
    freedom = (squares[0] + squares[1] - squares[2]) ** 2 / (squares**2 / free).sum()
    stretch = stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)
    stretch *= math.sqrt(variance) / np.std(means)
    low, high = np.quantile(means, [0.025, 0.975])
    return mean + stretch * (low - mean), mean + stretch * (high - mean)


@pytest.mark.parametrize(("num_seeds", "num_images"), [(2, 2), (3, 5), (5, 14), (4, 3)])
def test_the_interval_is_that_of_drawing_one_by_one(num_seeds, num_images, monkeypatch):
    monkeypatch.setattr(bootstrap, "BLOCK", 64)  # 300 draws do not fill the last block
    values_SI = table(num_seeds, num_images, seed=num_images)
    assert bootstrap_interval(values_SI, draws=300) == pytest.approx(
        slow_interval(values_SI, 300), abs=1e-10
    )


def coverage(spread: tuple[float, float, float], shape: tuple[int, int], tables: int) -> float:
    """Share of simulated tables whose interval holds the mean, 0; spread of seed, image, rest."""
    rng = np.random.default_rng(0)
    num_seeds, num_images = shape
    held = 0
    for _ in range(tables):
        values_SI = (
            spread[0] * rng.standard_normal((num_seeds, 1))
            + spread[1] * rng.standard_normal(num_images)
            + spread[2] * rng.standard_normal(shape)
        )
        low, high = bootstrap_interval(values_SI, draws=1000)
        held += low <= 0 <= high
    return held / tables


@pytest.mark.parametrize("shape", [(3, 14), (5, 5), (5, 100)])
@pytest.mark.parametrize("spread", [(1, 0.3, 0.3), (0.1, 1, 0.3), (0.4, 1, 0.5)])
def test_19_of_20_intervals_hold_the_truth(spread, shape):
    # The plain quantiles of the draws hold it in 75% to 93% of these, those over seeds alone in
    # 35% to 95%. Four standard deviations of 600 tables are 3.6%.
    assert 0.91 <= coverage(spread, shape, 600) <= 0.985


def test_with_many_seeds_and_images_it_is_the_interval_of_the_normal_distribution():
    rng = np.random.default_rng(0)
    seeds_S1, images_I = rng.normal(0, 2, (150, 1)), rng.normal(0, 1, 200)
    values_SI = 5 + seeds_S1 + images_I + rng.normal(0, 1, (150, 200))
    low, high = bootstrap_interval(values_SI)
    half = 1.96 * math.sqrt(4 / 150 + 1 / 200)
    assert (low + high) / 2 == pytest.approx(values_SI.mean(), abs=0.03)
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)


def test_a_few_images_that_gain_much_make_it_lean_that_way():
    values_SI = np.zeros((4, 40)) + np.random.default_rng(0).normal(0, 0.01, (4, 1))
    values_SI[:, :3] += 1.0
    low, high = bootstrap_interval(values_SI)
    mean = values_SI.mean()
    assert high - mean > 1.15 * (mean - low)


@given(
    arrays(float, (3, 4), elements=st.floats(-1, 1, width=16)),
    st.floats(-50, 50),
    st.floats(0.01, 100),
)
@settings(deadline=None, max_examples=50)
def test_the_interval_moves_and_grows_with_the_values(values_SI, shift, factor):
    low, high = bootstrap_interval(values_SI, draws=FEW)
    assert low <= high
    moved = bootstrap_interval(shift + factor * values_SI, draws=FEW)
    expected = (shift + factor * low, shift + factor * high)
    assert moved == pytest.approx(expected, abs=1e-6 * (1 + factor))


def test_the_same_call_gives_the_same_interval_and_another_seed_nearly():
    values_SI = table(4, 30)
    once = bootstrap_interval(values_SI)
    bootstrap._counts.cache_clear()
    assert bootstrap_interval(values_SI) == once
    other = bootstrap_interval(values_SI, seed=1)
    assert other != once
    assert other == pytest.approx(once, abs=0.05 * (once[1] - once[0]))
