"""ASC, DES and offset: one window over one stable order (Moser et al. 2024, equations 2 and 3).

Ranks start at 0. ``des`` ranks by falling score (hardest first), ``asc`` by rising score; ties
go to the lower patch id. The window holds the ranks from ``round(offset*N)`` on,
``round(ratio*N)`` of them. The paper's *refined* core-set is ``des`` with ratio 0.5 and offset
0.05: ranks 5% to 55% of N. The ratio is of N, not of what the offset leaves.

Nothing is sorted: the scores at the two ends of the window are found by partition, and only
among patches with exactly such a score does the order count. At 10^8 patches that saves most of
the time and half of the memory; the ids are those of the stable sort.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srprune.selection.rule import Choice, Ids, Pool, Prepared, Rule, Scores, portion, window

__all__ = ["asc", "des", "hardest", "portion", "ranks", "window"]

Mask = npt.NDArray[np.bool_]


def _des(pool: Pool) -> Prepared:
    """Descending: keep the hardest patches after skipping some at the hard end."""
    return _window(pool, hardest_first=True)


def _asc(pool: Pool) -> Prepared:
    """Ascending: keep the easiest patches; the offset is skipped at the easy end."""
    return _window(pool, hardest_first=False)


def _window(pool: Pool, hardest_first: bool) -> Prepared:
    first = pool.num_skipped

    def take(size: int) -> Choice:
        return Choice(ranks(pool.scores, first, size, hardest_first=hardest_first))

    return Prepared(take, pool.num_patches - first)


des = Rule(_des, ranked=True, seeded=False, nested=True)
asc = Rule(_asc, ranked=True, seeded=False, nested=True)


def ranks(scores_N: Scores, first: int, size: int, *, hardest_first: bool = True) -> Ids:
    """Ids of the ranks ``first`` to ``first + size``, sorted, int64; ties go to the lower id.

    Args:
        scores_N: (N,) finite.
        first: rank that the window begins with.
        size: ranks in the window.
        hardest_first: rank 0 has the highest score; else the lowest.
    """
    kept_N = _head(scores_N, first + size, hardest_first)
    if first:
        kept_N &= ~_head(scores_N, first, hardest_first)
    return np.flatnonzero(kept_N).astype(np.int64, copy=False)


def hardest(scores_N: Scores, num: int) -> Mask:
    """(N,) true for the ``num`` patches with the highest scores; ties go to the lower id."""
    return _head(scores_N, num, hardest_first=True)


def _head(scores_N: Scores, num: int, hardest_first: bool) -> Mask:
    """(N,) true for the first ``num`` ranks."""
    if num in (0, len(scores_N)):
        return np.full(len(scores_N), num > 0)
    place = len(scores_N) - num if hardest_first else num - 1
    last = np.partition(scores_N, place)[place]  # the score of rank num - 1
    head_N: Mask = scores_N > last if hardest_first else scores_N < last
    tied = np.flatnonzero(scores_N == last)
    head_N[tied[: num - np.count_nonzero(head_N)]] = True
    return head_N
