"""The interval of a mean over seeds and images, both of which might have been others."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from srprune.core.estimate import CONFIDENCE
from srprune.core.seeding import generator

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint16]

DRAWS = 10_000
BLOCK = 1_000  # draws at a time: 1,000 images take 8 MB each


def bootstrap_interval(
    values_SI: Floats, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """95% interval of the mean of a table whose seeds and whose images are both samples.

    A draw takes S seeds with replacement, and I images with replacement, the same images for all
    of its seeds: both are resampled, as for crossed random effects (Owen 2007, "The pigeonhole
    bootstrap", Annals of Applied Statistics 1(2)). The interval goes from the 2.5% to the 97.5%
    quantile of the means of the draws, stretched about the mean of the table.

    Without the stretching, three seeds would give far too short an interval, and BCa would be no
    better: its acceleration would be guessed from three values, and no quantile of the draws
    reaches much beyond the seeds at hand. In simulations where seeds differ more than images, both
    hold the truth in 75% of the tables of three seeds instead of 95% (docs/statistics.md). The
    faults and their cure are those of Hesterberg 2015 ("What teachers should know about the
    bootstrap", The American Statistician 69(4)): draws spread too little by sqrt((n - 1)/n), and
    their quantiles are those of a normal distribution where n asks for Student's t. Here the
    spread that is right on average, and its degrees of freedom (Satterthwaite 1946), come from the
    mean squares of the table; the shape stays that of the draws.

    Args:
        values_SI: finite values of S seeds and I images, at least two each.
        draws: how many; memory grows by 2 bytes a draw and image.
        seed: of the draws; the same seed and shape draw the same.
    """
    num_seeds, num_images = values_SI.shape
    mean = float(values_SI.mean())
    from_mean_SI = values_SI - mean
    variance, freedom = _variance_of_mean(from_mean_SI)
    seeds_BS = _counts(draws, num_seeds, seed, "bootstrap of seeds")
    images_BI = _counts(draws, num_images, seed, "bootstrap of images")
    means_B = np.empty(draws)
    for start in range(0, draws, BLOCK):
        block = slice(start, start + BLOCK)
        means_B[block] = ((seeds_BS[block] @ from_mean_SI) * images_BI[block]).mean(axis=1)
    means_B /= num_seeds
    spread = float(means_B.std())
    if variance == 0 or spread == 0:
        return mean, mean
    from scipy.special import ndtri, stdtrit

    upper = (1 + CONFIDENCE) / 2
    stretch = float(stdtrit(freedom, upper) / ndtri(upper)) * math.sqrt(variance) / spread
    low, high = np.quantile(means_B, (1 - upper, upper)).tolist()
    return mean + stretch * low, mean + stretch * high


def _variance_of_mean(from_mean_SI: Floats) -> tuple[float, float]:
    """Estimated variance of the mean of the table, and Satterthwaite's degrees of freedom of it.

    The model is a value = mean + seed + image + rest, all three random; mean squares as in the
    analysis of variance of two crossed factors without repetition.
    """
    num_seeds, num_images = from_mean_SI.shape
    by_seed_S, by_image_I = from_mean_SI.mean(axis=1), from_mean_SI.mean(axis=0)
    rest_SI = from_mean_SI - by_seed_S[:, None] - by_image_I
    free = (num_seeds - 1, num_images - 1, (num_seeds - 1) * (num_images - 1))
    rest = float((rest_SI**2).sum()) / free[2]
    # Where chance makes one smaller than the rest, the seeds (or images) themselves differ by 0.
    seeds = max(rest, num_images * float((by_seed_S**2).sum()) / free[0])
    images = max(rest, num_seeds * float((by_image_I**2).sum()) / free[1])
    total = seeds + images - rest
    if total == 0:
        return 0.0, 1.0
    shares = (seeds / total, images / total, rest / total)
    freedom = 1 / sum(share**2 / n for share, n in zip(shares, free, strict=True))
    return total / from_mean_SI.size, freedom


@lru_cache(maxsize=16)  # a study asks for a few shapes, hundreds of times
def _counts(draws: int, num: int, seed: int, purpose: str) -> Counts:
    """How often each of ``num`` is taken, draw by draw."""
    drawn_BN = generator(seed, purpose, num).multinomial(num, np.full(num, 1 / num), size=draws)
    counts_BN = drawn_BN.astype(np.uint16)
    counts_BN.flags.writeable = False
    return counts_BN
