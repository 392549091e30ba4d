"""Verdicts over a table: corrected for its size, and what it would take to decide the rest."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from srprune.core.estimate import Estimate
from srprune.core.findings import MOST_SEEDS, Difference, Verdict

# Chance, over all tests of one kind in a table, that any of their verdicts is wrong. The t-tests
# are one kind and the equivalence tests another, so over both it is at most twice as large.
ALPHA = 0.05
POWER = 0.8  # chance that so many seeds decide, if the truth is what was seen
LEVELS = 2_000  # of the integral of a chance over the spread that may be seen

Floats = npt.NDArray[np.float64]


def decided(table: Sequence[Difference], margin: float | None) -> tuple[Difference, ...]:
    """Correct the p of all differences of a table, and give each its verdict.

    A difference is *equivalent* if the equivalence test holds, even where it is also significant:
    a gain that is surely there and surely smaller than the margin is no reason to choose. If it
    does not hold, a significant difference is *better* or *worse*, and any other *undecided*.
    The t-tests are one family of hypotheses, the equivalence tests another.

    Args:
        table: differences as `statistics.difference` returns them, of one metric.
        margin: of the equivalence tests; None where none were made.
    """
    ps = holm([each.p for each in table])
    equivalent_ps = holm([each.p_equivalent for each in table])
    told = []
    for each, p, p_equivalent in zip(table, ps, equivalent_ps, strict=True):
        verdict = _verdict(each, p, p_equivalent)
        more = None
        if verdict is Verdict.UNDECIDED:
            more = more_seeds(each.over_seeds, margin, _level(ps), _level(equivalent_ps))
        told.append(
            replace(each, p_adjusted=p, p_equivalent=p_equivalent, verdict=verdict, more_seeds=more)
        )
    return tuple(told)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Adjusted p by the step-down method (Holm 1979, Scandinavian Journal of Statistics 6(2)).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is smaller than that
    of a smaller p, and none above 1. Below alpha, it may be called significant, with a chance of
    at most alpha that any such call in the family is wrong, however the tests depend on each other.

    Args:
        ps: of a family of hypotheses; None is no hypothesis and stays None.
    """
    ranked = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    least = 0.0
    for rank, (p, place) in enumerate(ranked):
        least = min(1.0, max(least, (len(ranked) - rank) * p))
        adjusted[place] = least
    return adjusted


def more_seeds(
    value: Estimate, margin: float | None, level: float = ALPHA, level_equivalent: float = ALPHA
) -> int | None:
    """About how many more seeds would decide, if mean and spread are as seen so far.

    The smallest number with a chance of 80% that the t-test, or else the equivalence test, comes
    out below its level. It is a rough guide: mean and spread of a few seeds are rough themselves.

    Args:
        value: of the differences so far.
        margin: of the equivalence test; None for the t-test alone.
        level: p below which the t-test decides.
        level_equivalent: p below which the equivalence test decides.

    Returns:
        At least 1; ``MOST_SEEDS + 1`` where ``MOST_SEEDS`` would not do; None where there are
        fewer than two differences, or an infinite one.
    """
    if value.sd is None:
        return None
    mean, sd = value.mean, value.sd

    def enough(more: int) -> bool:
        chance = power_of_t_test(mean, sd, value.n + more, level)
        if margin is not None and chance < POWER:
            chance = power_of_equivalence(mean, sd, value.n + more, margin, level_equivalent)
        return chance >= POWER

    return 1 + bisect_left(range(1, 1 + MOST_SEEDS), True, key=enough)


def power_of_t_test(mean: float, sd: float, n: int, level: float) -> float:
    """Chance that n paired differences of this true mean and spread are significant, two-sided."""
    from scipy.special import ndtr, stdtrit

    needed_U = stdtrit(n - 1, 1 - level / 2) * _seen_spreads(n)
    apart = _in_errors(abs(mean), sd, n)
    return float((ndtr(apart - needed_U) + ndtr(-apart - needed_U)).mean())


def power_of_equivalence(mean: float, sd: float, n: int, margin: float, level: float) -> float:
    """Chance that both one-sided tests of n paired differences hold (Phillips 1990).

    Journal of Pharmacokinetics and Biopharmaceutics 18(2).
    """
    from scipy.special import ndtr, stdtrit

    needed_U = stdtrit(n - 1, 1 - level) * _seen_spreads(n)
    low, high = (_in_errors(end - mean, sd, n) for end in (-margin, margin))
    chances_U = ndtr(high - needed_U) - ndtr(low + needed_U)
    return float(np.maximum(0.0, chances_U).mean())


@lru_cache(maxsize=256)
def _seen_spreads(n: int) -> Floats:
    """What n values show of a standard deviation of 1, at evenly spaced chances.

    The mean over them of a chance given the spread is the chance, to four digits or more. The
    noncentral t would be the same integral; scipy 1.17 gives NaN in its tails.
    """
    from scipy.special import chdtri

    chances_U = (np.arange(LEVELS) + 0.5) / LEVELS
    return np.sqrt(chdtri(n - 1, chances_U) / (n - 1))


def _in_errors(distance: float, sd: float, n: int) -> float:
    """A distance in standard errors of the mean; infinite, or 0, without any spread."""
    in_sds = distance / sd if sd else math.copysign(math.inf, distance) if distance else 0.0
    return in_sds * math.sqrt(n)


def _verdict(value: Difference, p: float | None, p_equivalent: float | None) -> Verdict:
    if p_equivalent is not None and p_equivalent <= ALPHA:
        return Verdict.EQUIVALENT
    if p is not None and p <= ALPHA:
        return Verdict.BETTER if value.over_seeds.mean > 0 else Verdict.WORSE
    return Verdict.UNDECIDED


def _level(adjusted: Sequence[float | None]) -> float:
    """What Holm's method asks of the next p: alpha over the hypotheses that still stand."""
    standing = sum(p is not None and p > ALPHA for p in adjusted)
    return ALPHA / max(1, standing)
