"""Shares of a budget over groups, and the uniform draw inside each group."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError
from srprune.core.seeding import generator
from srprune.selection.rule import Ids, Labels

BLOCK = 1 << 20  # values at a time, so that no temporary is as large as the scores
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
    kept_N = _drawn(labels_N, taken_K, seed, purpose)
    return np.flatnonzero(kept_N).astype(np.int64, copy=False)


def _drawn(labels_N: Labels, taken_K: Counts, seed: int, purpose: str) -> npt.NDArray[np.bool_]:
    """(N,) whether each patch is drawn; the order is let go of before ids are made."""
    order_N, ends_K = _by_label(labels_N, len(taken_K))
    kept_N = np.zeros(len(labels_N), dtype=bool)
    for k in np.flatnonzero(taken_K):
        own = order_N[ends_K[k] : ends_K[k + 1]]
        generator(seed, purpose, int(k)).shuffle(own)  # in place: the one large array is order_N
        kept_N[own[: taken_K[k]]] = True
    return kept_N


def _by_label(labels_N: Labels, num: int) -> tuple[npt.NDArray[np.signedinteger], Counts]:
    """Patch ids by label from -1 on, each label's in rising order, and where each label ends.

    That is a stable argsort, which would take 16 bytes a patch; by counting it takes 4.
    """
    small = np.int16 if num < 1 << 15 else np.int32  # numpy sorts 16 bits by radix
    sizes_K = sizes_of(labels_N, num)
    ends_K = np.cumsum(np.r_[len(labels_N) - sizes_K.sum(), sizes_K])
    order_N = np.empty(len(labels_N), dtype=id_type(len(labels_N)))
    next_K = np.r_[0, ends_K[:-1]]
    for start in range(0, len(labels_N), BLOCK):
        block = labels_N[start : start + BLOCK] + 1
        ids = np.argsort(block.astype(small), kind="stable")
        own_K = np.bincount(block, minlength=num + 1)
        shifts_K = next_K - np.cumsum(own_K) + own_K
        order_N[np.repeat(shifts_K, own_K) + np.arange(len(block))] = ids + start
        next_K += own_K
    return order_N, ends_K


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
    values_M.partition(places or 0)  # in place, as it is a copy already
    edges = values_M[places]
    del values_M
    labels_N = np.full(len(values_N), -1, dtype=np.int32)
    for start in range(0, len(values_N), BLOCK):
        part = slice(start, start + BLOCK)
        own = among_N[part]
        labels_N[part][own] = np.searchsorted(edges, values_N[part][own], side="left")
    return labels_N


def sizes_of(labels_N: Labels, num: int) -> Counts:
    """(K,) number of patches in each group; -1 counts nowhere."""
    sizes_K = np.zeros(num + 1, dtype=np.int64)
    for start in range(0, len(labels_N), BLOCK):
        sizes_K += np.bincount(labels_N[start : start + BLOCK] + 1, minlength=num + 1)
    return sizes_K[1:]


def id_type(num_patches: int) -> type[np.signedinteger]:
    """The type that holds any patch id in the least memory."""
    return np.int32 if num_patches <= 1 << 31 else np.int64
