"""The control: a uniform random core-set of the same size."""

from __future__ import annotations

import numpy as np

from srprune.core.seeding import generator
from srprune.selection.quota import id_type
from srprune.selection.rule import Choice, Pool, Prepared, Rule


def _random(pool: Pool) -> Prepared:
    """Draw patches without replacement.

    The draw is the head of one random order of the seed, so core-sets of one seed are nested as
    those of ``des`` are. An offset skips the head of that order; it is of use only to draw a
    second, disjoint control.
    """
    order_N = np.arange(pool.num_patches, dtype=id_type(pool.num_patches))
    generator(pool.seed, "selection.random").shuffle(order_N)

    def take(size: int) -> Choice:
        kept_N = np.zeros(pool.num_patches, dtype=bool)
        kept_N[order_N[pool.num_skipped : pool.num_skipped + size]] = True
        return Choice(np.flatnonzero(kept_N).astype(np.int64, copy=False))

    return Prepared(take, pool.num_patches - pool.num_skipped)


random_uniform = Rule(_random, scores=False, nested=True)
