"""Verdicts over a table: Holm's correction, the rule, and how many more seeds."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from srprune.core.estimate import Estimate, estimate
from srprune.core.findings import MOST_SEEDS, Difference, Verdict
from srprune.studies.statistics import difference, equivalence_test, t_test
from srprune.studies.verdicts import (
    ALPHA,
    decided,
    holm,
    more_seeds,
    power_of_equivalence,
    power_of_t_test,
)

MARGIN = 0.05


def told(*gains: float, margin: float | None = MARGIN) -> Difference:
    """A difference of these gains, a seed each."""
    value = estimate(gains)
    p_equivalent = None if margin is None else equivalence_test(value, margin)
    return Difference(value, None, t_test(value), None, p_equivalent, Verdict.UNDECIDED, None)


def rejected(ps: list[float], alpha: float) -> set[int]:
    """Holm's procedure as he wrote it: from the smallest on, until one is not small enough."""
    found: set[int] = set()
    for place in sorted(range(len(ps)), key=lambda place: ps[place]):
        if ps[place] > alpha / (len(ps) - len(found)):
            break
        found.add(place)
    return found


@given(st.lists(st.integers(0, 1024), max_size=20), st.integers(0, 400))
def test_an_adjusted_p_is_below_alpha_where_the_procedure_rejects(numerators, level):
    ps = [numerator / 1024 for numerator in numerators]
    alpha = (level + 0.5) / 4096  # never equal to a multiple of a p
    adjusted = holm(ps)
    assert {n for n, p in enumerate(adjusted) if p is not None and p <= alpha} == rejected(
        ps, alpha
    )
    assert all(p is not None and own <= p <= 1 for own, p in zip(ps, adjusted, strict=True))
    by_p = [adjusted[n] for n in sorted(range(len(ps)), key=lambda n: ps[n])]
    assert all(one <= other for one, other in pairwise(by_p))  # type: ignore[operator]


def test_holm_as_r_computes_it():
    """R package multtest, mt.rawp2adjp; in statsmodels 0.14, stats/tests/test_multi.py."""
    six = [0.002, 0.004, 0.006, 0.008, 0.01, 0.012]
    assert holm(six) == pytest.approx([0.012, 0.02, 0.024, 0.024, 0.024, 0.024], abs=1e-15)
    ten = [0.838541367553, 0.642193923795, 0.680845947633, 0.967833824309, 0.71626938238]
    ten += [0.177096952723, 5.23656777208e-5, 0.0202732688798, 2.8140506198e-4, 0.0149877310796]
    expected = [1, 1, 1, 1, 1, 1]
    expected += [5.23656777208e-4, 0.1419128821586, 2.53264555782e-3, 0.1199018486368]
    assert holm(ten) == pytest.approx(expected, abs=1e-13)


def test_what_is_no_hypothesis_does_not_count():
    assert holm([None, 0.02, None, 0.03]) == [None, 0.04, None, 0.04]
    assert holm([None]) == [None]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0.2, 0.21, 0.19), Verdict.BETTER),
        ((-0.2, -0.21, -0.19), Verdict.WORSE),
        ((0.001, -0.002, 0.003), Verdict.EQUIVALENT),
        ((0.010, 0.011, 0.0105), Verdict.EQUIVALENT),  # surely above 0, and surely too little
        ((0.0, 0.0, 0.0), Verdict.EQUIVALENT),
        ((0.2, -0.1, 0.3), Verdict.UNDECIDED),
        ((0.2,), Verdict.UNDECIDED),
        ((math.inf, 0.2, 0.1), Verdict.UNDECIDED),
    ],
)
def test_one_difference_is_told_by_its_own(gains, verdict):
    (own,) = decided([told(*gains)], MARGIN)
    assert own.verdict is verdict
    assert own.p_adjusted == told(*gains).p
    testable = len(gains) > 1 and math.isfinite(sum(gains))
    assert (own.more_seeds is not None) == (verdict is Verdict.UNDECIDED and testable)


def test_without_a_margin_nothing_is_equivalent():
    small, none = decided([told(0.010, 0.011, 0.0105, margin=None), told(0, 0, margin=None)], None)
    assert small.verdict is Verdict.BETTER and small.p_equivalent is None
    assert none.verdict is Verdict.UNDECIDED
    assert none.more_seeds == MOST_SEEDS + 1  # no number of seeds finds what is not there


def test_what_holds_alone_need_not_hold_among_many():
    own = told(0.11, 0.19, 0.12, 0.20)
    assert own.p is not None and ALPHA / 10 < own.p < ALPHA
    assert decided([own], MARGIN)[0].verdict is Verdict.BETTER
    noise = [told(0.3, -0.3, 0.1 * n, -0.2) for n in range(9)]
    among = decided([own, *noise], MARGIN)[0]
    assert among.p == own.p and among.p_adjusted == pytest.approx(10 * own.p)
    assert among.verdict is Verdict.UNDECIDED
    assert among.more_seeds is not None and among.more_seeds >= 1


def test_the_two_kinds_of_test_are_families_of_their_own():
    sure = [told(0.2, 0.21, 0.19, 0.2)] * 4
    (*_, last) = decided([*sure, told(0.0, 0.004, 0.002, -0.003)], MARGIN)
    alone = told(0.0, 0.004, 0.002, -0.003).p_equivalent
    assert alone is not None
    assert last.p_equivalent == pytest.approx(5 * alone)
    assert last.verdict is Verdict.EQUIVALENT


# More seeds


def chance(mean: float, sd: float, n: int, low: float, high: float) -> float:
    """Chance that low < t < high, by integrating over the sample's variance."""
    free = n - 1

    def given_variance(v: float) -> float:
        scale, shift = math.sqrt(v / free), mean / sd * math.sqrt(n)
        within = stats.norm.cdf(high * scale - shift) - stats.norm.cdf(low * scale - shift)
        return float(within * stats.chi2.pdf(v, free))

    return float(quad(given_variance, 0, 8 * free + 60, limit=200, points=[free])[0])


def test_power_as_r_computes_it():
    """R package pwr, pwr.t.test(type = "one.sample"); in statsmodels, stats/tests/test_power.py."""
    assert power_of_t_test(1, 1, 30, 0.05) == pytest.approx(0.9995636009612725, abs=1e-4)
    assert power_of_t_test(0.2, 1, 20, 0.05) == pytest.approx(0.1359562887679666, abs=1e-4)


@pytest.mark.parametrize("level", [0.05, 0.05 / 40])
@pytest.mark.parametrize("effect", [0.3, -1.0, 40.0])
def test_power_is_that_of_integrating(effect, level):
    for n in (3, 7, 60):
        bound = stats.t.ppf(1 - level / 2, n - 1)
        expected = 1 - chance(effect, 1.0, n, -bound, bound)
        assert power_of_t_test(effect, 1.0, n, level) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 0.02), (0.02, 0.02), (-0.03, 0.05), (0.08, 0.02)])
def test_power_of_equivalence_is_that_of_simulated_seeds(mean, sd):
    rng = np.random.default_rng(0)
    for n in (3, 6, 12, 40):
        gains_BN = rng.normal(mean, sd, (20_000, n))
        error_B = gains_BN.std(axis=1, ddof=1) / math.sqrt(n)
        half_B = stats.t.ppf(0.95, n - 1) * error_B
        seen = (np.abs(gains_BN.mean(axis=1)) + half_B < MARGIN).mean()
        power = power_of_equivalence(mean, sd, n, MARGIN, 0.05)
        assert power == pytest.approx(seen, abs=0.015)  # four standard deviations of 20,000


@given(
    st.integers(2, 12), st.floats(-0.5, 0.5), st.floats(0, 0.3), st.sampled_from([0.05, 0.05 / 30])
)
@settings(deadline=None, max_examples=60)
def test_so_many_seeds_do_and_one_fewer_does_not(n, mean, sd, level):
    value = Estimate(mean, n, sd, (mean, mean))
    more = more_seeds(value, MARGIN, level, level)
    assert more is not None and 1 <= more <= MOST_SEEDS + 1

    def enough(seeds: int) -> bool:
        by_equivalence = power_of_equivalence(mean, sd, seeds, MARGIN, level)
        return max(power_of_t_test(mean, sd, seeds, level), by_equivalence) >= 0.8

    if more <= MOST_SEEDS:
        assert enough(n + more)
    if more > 1:
        assert not enough(n + more - 1)


def test_more_spread_and_a_stricter_level_ask_for_more_seeds():
    asked = [more_seeds(Estimate(0.1, 3, sd, (0, 0)), None) for sd in (0.01, 0.1, 0.2, 0.3, 9.0)]
    assert asked == sorted(asked)  # type: ignore[type-var]
    assert asked[0] == 1 and asked[-1] == MOST_SEEDS + 1
    strict = more_seeds(Estimate(0.1, 3, 0.1, (0, 0)), None, 0.05 / 30)
    assert strict is not None and asked[1] is not None and strict > asked[1]


def test_the_number_of_pairs_that_textbooks_give():
    """A medium effect (d = 0.5), 80% power, alpha 0.05 two-sided: 34 pairs.

    R: pwr.t.test(d = 0.5, power = 0.8, type = "paired") gives n = 33.37, which is rounded up.
    """
    assert more_seeds(Estimate(0.5, 4, 1.0, (0, 0)), None) == 34 - 4


@pytest.mark.parametrize("value", [Estimate(0.1, 1), Estimate(math.inf, 5), Estimate(math.nan, 3)])
def test_nothing_is_said_of_the_seeds_where_there_is_no_spread_to_go_by(value):
    assert more_seeds(value, MARGIN) is None


def test_the_page_tells_what_is_computed():
    """The worked example of docs/statistics.md."""
    page = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
    gains = {
        "des50": (0.084, 0.102, 0.095, 0.078, 0.110),
        "random50": (0.012, -0.006, 0.021, 0.003, 0.010),
        "asc50": (-0.090, 0.010, -0.045, -0.120, 0.025),
    }
    rows = [difference(np.array([own]).T, np.zeros((5, 1)), MARGIN) for own in gains.values()]
    for name, own in zip(gains, decided(rows, MARGIN), strict=True):
        assert own.over_seeds.interval is not None and own.p is not None
        assert own.p_adjusted is not None and own.p_equivalent is not None
        low, high = own.over_seeds.interval
        said = own.verdict.value
        if own.more_seeds:
            said += f", about {own.more_seeds} more seeds"
        cells = [
            f"`{name}`",
            ", ".join(f"{gain:+.3f}" for gain in gains[name]),
            f"{own.over_seeds.mean:+.3f} [{low:+.3f}, {high:+.3f}]",
            f"{own.p:.2g}",
            f"{own.p_adjusted:.2g}",
            f"{own.p_equivalent:.2g}",
            said,
        ]
        assert f"| {' | '.join(cells)} |" in page
