"""The control: a uniform random core-set of the same size."""

from __future__ import annotations

import numpy as np

from srprune.core.seeding import generator
from srprune.selection.rank_window import Ids, Scores, window


def random_uniform(scores_N: Scores, ratio: float, offset: float, seed: int) -> Ids:
    """Keep ``round(ratio*N)`` patches, drawn without replacement.

    The draw is the head of one random order of the seed, so core-sets of one seed are nested as
    those of ``des`` are.

    Args:
        scores_N: (N,); only its length counts.
        ratio: share of N that is kept.
        offset: share of N skipped at the head of the random order; of use only to draw a second,
            disjoint control.
        seed: of the draw.

    Returns:
        Sorted patch ids, int64.
    """
    first, size = window(ratio, offset, len(scores_N))
    order_N = generator(seed, "selection.random").permutation(len(scores_N))
    return np.sort(order_N[first : first + size]).astype(np.int64)
