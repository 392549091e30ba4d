"""What the figures of two rows say of their difference, before it is one of many."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from srprune.core.estimate import Estimate, estimate
from srprune.core.findings import Difference, Verdict
from srprune.studies.bootstrap import DRAWS, bootstrap_interval

Floats = npt.NDArray[np.float64]


def difference(
    values_SI: Floats,
    other_SI: Floats,
    margin: float | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Difference:
    """Set the figures of a row against those of another row, seed by seed and image by image.

    Args:
        values_SI: of the row, S seeds and I images, at least one each, none NaN.
        other_SI: of the other row; the same seeds and images in the same order.
        margin: differences within it count as equivalent, in the unit of the values; None makes
            no such test.
        draws: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        The difference as it would be told alone: ``p_equivalent`` is not corrected,
        ``p_adjusted`` is None and the verdict undecided. `verdicts.decided` goes on.
    """
    gains_SI = paired(values_SI, other_SI)
    with np.errstate(invalid="ignore"):  # +inf and -inf in one seed
        over_seeds = estimate(gains_SI.mean(axis=1).tolist())
    testable = over_seeds.sd is not None and gains_SI.shape[1] > 1
    return Difference(
        over_seeds=over_seeds,
        over_images=bootstrap_interval(gains_SI, draws=draws, seed=seed) if testable else None,
        p=t_test(over_seeds),
        p_adjusted=None,
        p_equivalent=None if margin is None else equivalence_test(over_seeds, margin),
        verdict=Verdict.UNDECIDED,
        more_seeds=None,
    )


def paired(values_SI: Floats, other_SI: Floats) -> Floats:
    """Differences of figures, one a seed and image.

    PSNR of identical images is infinite. An image that both rows restore to the last bit differs
    by nothing; where only one of them does, the difference is infinite, and so is their mean: it
    is shown, and no test is made of it. To leave such an image out would be to measure another
    benchmark in silence.
    """
    assert values_SI.shape == other_SI.shape
    with np.errstate(invalid="ignore"):  # inf - inf, which is not taken
        return np.where(values_SI == other_SI, 0.0, values_SI - other_SI)


def t_test(value: Estimate) -> float | None:
    """Two-sided p of Student's paired t-test that the mean difference is 0; None below two."""
    if value.sd is None:
        return None
    from scipy.special import stdtr

    return float(2 * stdtr(value.n - 1, -abs(_t(value, 0.0))))


def equivalence_test(value: Estimate, margin: float) -> float | None:
    """Two one-sided t-tests; their p is that of a mean difference at or beyond the margin.

    Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15(6): the larger p of the
    tests that the mean is at most -margin and that it is at least +margin. Below 0.05, the 90%
    t-interval of the mean lies within the margin.

    Args:
        value: of the differences.
        margin: above 0.

    Returns:
        None where there are fewer than two differences, or an infinite one.
    """
    if value.sd is None:
        return None
    from scipy.special import stdtr

    freedom = value.n - 1
    return float(max(stdtr(freedom, -_t(value, -margin)), stdtr(freedom, _t(value, margin))))


def _t(value: Estimate, against: float) -> float:
    """Student's t; infinite, or 0, where all values are the same to the last bit."""
    assert value.sd is not None
    distance, error = value.mean - against, value.sd / math.sqrt(value.n)
    if error > 0:
        return distance / error
    return math.copysign(math.inf, distance) if distance else 0.0
