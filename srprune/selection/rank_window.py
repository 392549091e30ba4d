"""ASC, DES and offset: one window over one stable order (Moser et al. 2024, equations 2 and 3).

Ranks start at 0. ``des`` ranks by falling score (hardest first), ``asc`` by rising score; ties
go to the lower patch id. The window holds the ranks from ``round(offset*N)`` on,
``round(ratio*N)`` of them. The paper's *refined* core-set is ``des`` with ratio 0.5 and offset
0.05: ranks 5% to 55% of N. The ratio is of N, not of what the offset leaves.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError

Scores = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]


def portion(share: float, num_patches: int) -> int:
    """``floor(share * N + 1/2)``, exactly: 0.35 means 35/100, not its nearest double."""
    return int(Fraction(repr(float(share))) * num_patches + Fraction(1, 2))


def window(ratio: float, offset: float, num_patches: int) -> tuple[int, int]:
    """First rank and number of ranks of a core-set.

    Args:
        ratio: share of N that is kept, in (0, 1].
        offset: share of N that is skipped at the start of the order, in [0, 1).
        num_patches: N, at least 1.

    Raises:
        InputError: ratio or offset out of range, the window is empty or runs past N; the
            message says by how much.
    """
    if not 0 < ratio <= 1:
        raise InputError(f"ratio is {ratio:g}; it must be above 0 and at most 1.")
    if not 0 <= offset < 1:
        raise InputError(f"offset is {offset:g}; it must be at least 0 and below 1.")
    first, size = portion(offset, num_patches), portion(ratio, num_patches)
    if size == 0:
        raise InputError(
            f"ratio {ratio:g} of {num_patches} patches keeps none. "
            f"Choose a ratio of at least {1 / num_patches:.2g}."
        )
    if first + size > num_patches:
        raise InputError(
            f"ratio {ratio:g} and offset {offset:g} need {first + size} patches, "
            f"{first + size - num_patches} more than the {num_patches} there are. "
            "Make one of them smaller."
        )
    return first, size


def des(scores_N: Scores, ratio: float, offset: float, seed: int) -> Ids:
    """Descending: keep the hardest patches after skipping ``offset`` of N.

    Args:
        scores_N: (N,) finite; higher is harder.
        ratio: share of N that is kept.
        offset: share of N that is skipped at the hard end.
        seed: without effect here.

    Returns:
        Sorted patch ids, int64.
    """
    return _take(np.argsort(-scores_N, kind="stable"), ratio, offset)


def asc(scores_N: Scores, ratio: float, offset: float, seed: int) -> Ids:
    """Ascending: keep the easiest patches; ``offset`` is skipped at the easy end. See ``des``."""
    return _take(np.argsort(scores_N, kind="stable"), ratio, offset)


def _take(order_N: npt.NDArray[np.intp], ratio: float, offset: float) -> Ids:
    first, size = window(ratio, offset, len(order_N))
    return np.sort(order_N[first : first + size]).astype(np.int64)
