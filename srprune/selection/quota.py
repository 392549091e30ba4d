"""Shares of a budget over groups, and the uniform draw inside each group."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError
from srprune.core.seeding import generator
from srprune.selection.rule import Ids, Labels

BLOCK = 1 << 22  # values at a time, so that no temporary is as large as the scores
Counts = npt.NDArray[np.int64]


def allocate(sizes_K: Counts, total: int, shares_K: Sequence[float] | None = None) -> Counts:
    """Number of patches to take from each group.

    From the group that is smallest for its share on, each gets its share of what is left of the
    budget, rounded down, or all it has; what it lacks goes to the groups behind it. With equal
    shares that is the allocation of CCS (Zheng et al. 2023, ``bin_allocate``).

    Args:
        sizes_K: (K,) patches in each group.
        total: budget; at most the sum of the sizes.
        shares_K: (K,) at least 0, not all 0; equal by default.

    Returns:
        (K,) int64 that add up to ``total``.

    Raises:
        InputError: the groups that have a share hold fewer patches than the budget.
    """
    shares = [Fraction(repr(float(s))) for s in (shares_K or [1.0] * len(sizes_K))]
    sizes = [int(size) for size in sizes_K]
    open_to = [k for k in range(len(sizes)) if shares[k] > 0]
    there = sum(sizes[k] for k in open_to)
    if there < total:
        raise InputError(
            f"the groups that have a share hold {there} patches, {total - there} fewer than the "
            f"{total} asked for. Keep fewer, or give other groups a share."
        )
    order = sorted(open_to, key=lambda k: (sizes[k] / shares[k], k))
    taken = np.zeros(len(sizes), dtype=np.int64)
    left, weight = total, sum((shares[k] for k in order), Fraction(0))
    for k in order:
        taken[k] = min(sizes[k], int(left * shares[k] / weight))
        left -= int(taken[k])
        weight -= shares[k]
    for k in reversed(order):  # unequal shares may leave a few patches to rounding
        more = min(left, sizes[k] - int(taken[k]))
        taken[k] += more
        left -= more
    return taken


def draw(labels_N: Labels, taken_K: Counts, seed: int, purpose: str) -> Ids:
    """Draw patches uniformly inside each group, without replacement.

    Each group has a random order of its own, so more of a group includes fewer of it.

    Args:
        labels_N: (N,) group of each patch; -1 is never drawn.
        taken_K: (K,) how many of each group.
        seed: of the draw.
        purpose: of the draw; other purposes get unrelated numbers.

    Returns:
        Sorted patch ids, int64.
    """
    small = np.int16 if len(taken_K) < 1 << 15 else np.int32  # numpy sorts 16 bits by radix
    order_N = np.argsort(labels_N.astype(small), kind="stable")
    ends_K = np.cumsum(np.bincount(labels_N + 1, minlength=len(taken_K) + 1))
    kept_N = np.zeros(len(labels_N), dtype=bool)
    for k in np.flatnonzero(taken_K):
        own = order_N[ends_K[k] : ends_K[k + 1]]
        kept_N[own[generator(seed, purpose, int(k)).permutation(len(own))[: taken_K[k]]]] = True
    return np.flatnonzero(kept_N).astype(np.int64, copy=False)


def by_width(values_N: npt.NDArray[np.float64], num: int, among_N: npt.NDArray[np.bool_]) -> Labels:
    """Classes of equal width over the range of the values, from the lowest on.

    Args:
        values_N: (N,) finite.
        num: classes, at least 1.
        among_N: (N,) which patches get a class; the others get -1.

    Returns:
        (N,) int32. The highest value belongs to the last class.
    """
    low = np.min(values_N, where=among_N, initial=np.inf)
    high = np.max(values_N, where=among_N, initial=-np.inf)
    labels_N = np.full(len(values_N), -1, dtype=np.int32)
    span = high / 2 - low / 2  # halves, since the whole range may be past what float64 holds
    for start in range(0, len(values_N), BLOCK):
        part = slice(start, start + BLOCK)
        own = among_N[part]
        depth = values_N[part][own] / 2 - low / 2
        with np.errstate(invalid="ignore"):  # 0/0 where all values are equal
            share = np.nan_to_num(depth / span)
        labels_N[part][own] = np.minimum((share * num).astype(np.int32), num - 1)
    return labels_N


def by_rank(values_N: npt.NDArray[np.float64], num: int, among_N: npt.NDArray[np.bool_]) -> Labels:
    """Classes of equal number, from the lowest values on: class k holds (t_k, t_k+1].

    Equal values are of one class, the lower; with many ties classes differ in size, or are empty.
    Arguments and result are those of :func:`by_width`.
    """
    values_M = values_N[among_N]
    places = [max(-(-k * len(values_M) // num) - 1, 0) for k in range(1, num)]
    edges = np.partition(values_M, places)[places] if places else np.empty(0)
    del values_M
    labels_N = np.full(len(values_N), -1, dtype=np.int32)
    for start in range(0, len(values_N), BLOCK):
        part = slice(start, start + BLOCK)
        own = among_N[part]
        labels_N[part][own] = np.searchsorted(edges, values_N[part][own], side="left")
    return labels_N


def sizes_of(labels_N: Labels, num: int) -> Counts:
    """(K,) number of patches in each group; -1 counts nowhere."""
    return np.bincount(labels_N + 1, minlength=num + 1)[1:]
