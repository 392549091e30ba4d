"""How far two core-sets, or two score tables, agree. Arithmetic alone; it loads no torch.

Overlap is measured beside what chance gives: two core-sets that keep half of the patches each
share a quarter of all patches, and have a Jaccard index of 1/3, without any relation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from srprune.selection.rank_window import portion

Scores = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75)  # of N: how deep the top of two tables is compared
TENTHS = 10
_TAIL = 12  # standard deviations; the rest of a hypergeometric distribution is below 1e-30


@dataclass(frozen=True)
class Overlap:
    """Two sets of patches of one index.

    Attributes:
        num_patches: N.
        size_a: patches of the first.
        size_b: patches of the second.
        both: patches in both.
    """

    num_patches: int
    size_a: int
    size_b: int
    both: int

    @property
    def only_a(self) -> int:
        """Patches in the first alone."""
        return self.size_a - self.both

    @property
    def only_b(self) -> int:
        """Patches in the second alone."""
        return self.size_b - self.both

    @property
    def jaccard(self) -> float:
        """Patches in both over patches in either, from 0 to 1."""
        return self.both / (self.size_a + self.size_b - self.both)

    @property
    def chance_both(self) -> float:
        """Expected patches in both, if the two were drawn at random with these sizes."""
        return self.size_a * self.size_b / self.num_patches

    @property
    def chance_jaccard(self) -> float:
        """Expected Jaccard index of two random core-sets of these sizes."""
        return expected_jaccard(self.size_a, self.size_b, self.num_patches)


@dataclass(frozen=True)
class TopOverlap:
    """The hardest patches of two score tables.

    Attributes:
        share: of N.
        size: that many patches of each table.
        both: those that are among the hardest of both, as a share of ``size``.
        chance: what two unrelated tables have, as a share of ``size``.
    """

    share: float
    size: int
    both: float
    chance: float


def overlap(a: Ids, b: Ids, num_patches: int) -> Overlap:
    """Count what two core-sets have in common.

    Args:
        a: sorted, unique patch ids, at least one.
        b: likewise.
        num_patches: N of the index of both.
    """
    both = len(np.intersect1d(a, b, assume_unique=True))
    return Overlap(num_patches, len(a), len(b), both)


def expected_jaccard(size_a: int, size_b: int, num_patches: int) -> float:
    """Mean Jaccard index of independent, uniform random sets of two sizes.

    The number in both is hypergeometric; the mean of ``k / (a + b - k)`` over it is summed, with
    probabilities from the ratio of neighbours, ``p(k+1)/p(k) = (a-k)(b-k) / ((k+1)(N-a-b+k+1))``.

    Args:
        size_a: patches of the first, at least 1.
        size_b: patches of the second, at least 1.
        num_patches: N, at least as many as each.
    """
    n, a, b = num_patches, size_a, size_b
    mean = a * b / n
    spread = math.sqrt(mean * (n - a) / n * (n - b) / max(n - 1, 1))
    reach = _TAIL * spread + _TAIL  # the second term: where spread is small, tails are longer
    low = max(0, a + b - n, math.floor(mean - reach))
    high = min(a, b, math.ceil(mean + reach))
    k = np.arange(low, high + 1, dtype=np.float64)
    steps = np.log((a - k[:-1]) * (b - k[:-1])) - np.log((k[:-1] + 1) * (n - a - b + k[:-1] + 1))
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    weights = np.exp(logs - logs.max())
    return float((weights * k / (a + b - k)).sum() / weights.sum())


def image_shares(ids: Ids, image_N: npt.NDArray[np.int32], num_images: int) -> Shares:
    """(images,) share of each image's patches that a core-set keeps.

    Args:
        ids: of the core-set.
        image_N: (N,) the image of each patch; every image has a patch.
        num_images: how many images there are.
    """
    kept = np.bincount(image_N[ids], minlength=num_images)
    return np.asarray(kept / np.bincount(image_N, minlength=num_images), dtype=np.float64)


def largest_differences(a: Shares, b: Shares, most: int) -> list[int]:
    """Where two lists of shares differ most: positions, the largest difference first."""
    gap = np.abs(a - b)
    return [int(i) for i in np.argsort(-gap, kind="stable")[:most] if gap[i] > 0]


def kept_by_tenth(ids: Sequence[Ids], scores_N: Scores) -> tuple[Scores, list[Shares]]:
    """How much of each tenth of the ranking some core-sets keep, the hardest tenth first.

    Scores are heavy-tailed: bins of equal width would put nearly all patches into one. Tenths of
    the ranking hold equally many; ties go to the lower patch id, as in the rule ``des``.

    Args:
        ids: patch ids of each core-set.
        scores_N: (N,), higher is harder.

    Returns:
        (tenths, 2) lowest and highest score of each tenth, and for each core-set its (tenths,)
        shares. Of fewer than ten patches each is a bin of its own.
    """
    total = len(scores_N)
    order_N = np.argsort(-scores_N, kind="stable")
    bounds = np.unique(np.arange(TENTHS + 1) * total // TENTHS)
    ranges = [
        (scores_N[order_N[last - 1]], scores_N[order_N[first]]) for first, last in pairwise(bounds)
    ]
    rank_N = np.empty(total, dtype=np.int64)
    rank_N[order_N] = np.arange(total)
    sizes = np.diff(bounds)
    shares = [np.histogram(rank_N[each], bins=bounds)[0] / sizes for each in ids]
    return np.array(ranges), shares


def spearman(a_N: Scores, b_N: Scores) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None where a table is constant."""
    return rank_correlation([a_N, b_N])[0][1]


def rank_correlation(tables: Sequence[Scores]) -> list[list[float | None]]:
    """:func:`spearman` of each table with each, itself included."""
    ranks = [_mean_ranks(scores_N) for scores_N in tables]
    ranks = [rank_N - rank_N.mean() for rank_N in ranks]
    norms = [math.sqrt(float(rank_N @ rank_N)) for rank_N in ranks]
    return [
        [
            float(np.clip(float(a_N @ b_N) / (a * b), -1, 1)) if a and b else None
            for b_N, b in zip(ranks, norms, strict=True)
        ]
        for a_N, a in zip(ranks, norms, strict=True)
    ]


def top_overlaps(a_N: Scores, b_N: Scores, shares: Sequence[float] = SHARES) -> list[TopOverlap]:
    """How many of the hardest patches two tables have in common, at several depths.

    Ties go to the lower patch id, as in the rule ``des``: what is compared are its core-sets.

    Args:
        a_N: (N,) scores, higher is harder.
        b_N: (N,) scores of the same patches.
        shares: of N; a share that keeps no patch is left out.
    """
    total = len(a_N)
    a, b = np.argsort(-a_N, kind="stable"), np.argsort(-b_N, kind="stable")
    found = []
    for share in shares:
        size = portion(share, total)
        if size:
            both = len(np.intersect1d(a[:size], b[:size], assume_unique=True))
            found.append(TopOverlap(share, size, both / size, size / total))
    return found


def _mean_ranks(scores_N: Scores) -> npt.NDArray[np.float64]:
    _, place, counts = np.unique(scores_N, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place], dtype=np.float64)
