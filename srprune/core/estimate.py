"""A mean of a few runs, and what their number allows to say of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean, with what the number of values allows to say of it.

    Attributes:
        mean: of the values; NaN for the difference of two infinite figures.
        n: how many values.
        sd: their standard deviation (over n - 1); None for n = 1 or where one is infinite.
        interval: low and high end of the 95% t-interval of the mean; None where ``sd`` is.
    """

    mean: float
    n: int
    sd: float | None = None
    interval: tuple[float, float] | None = None


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, standard deviation and t-interval of at least one value."""
    values_n = np.asarray(values, dtype=np.float64)
    n = len(values_n)
    with np.errstate(invalid="ignore"):  # the mean of +inf and -inf is NaN, and may be
        mean = float(values_n.mean())
    if n < 2 or not math.isfinite(mean):
        return Estimate(mean, n)
    # Not scipy.stats: its import takes longer than everything else here together.
    from scipy.special import stdtrit

    sd = float(values_n.std(ddof=1))
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * sd / math.sqrt(n)
    return Estimate(mean, n, sd, (mean - half, mean + half))
