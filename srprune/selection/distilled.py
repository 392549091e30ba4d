"""Distilled: train on synthesised images in place of patches of the pool.

The images are those of a set that ``srprune distill synthesise`` has made (Cho et al. 2025). The
ratio is of the pool's patches, as with every rule, so that a set of synthesised images is held
against core-sets of as many patches.
"""

from __future__ import annotations

import numpy as np

from srprune.selection.quota import allocate, draw, sizes_of
from srprune.selection.rule import Choice, Pool, Prepared, Rule


def _distilled(pool: Pool, *, set: str = "") -> Prepared:
    """As many images of each category, drawn at random from the ``set`` of that name.

    The pool is that of the synthesised images. A set of one size is thus many of smaller ones.
    """
    labels_N = pool.labels_N
    if labels_N is None:
        labels_N = np.zeros(pool.num_patches, dtype=np.int32)
    sizes_K = sizes_of(labels_N, int(labels_N.max()) + 1)

    def take(size: int) -> Choice:
        return Choice(draw(labels_N, allocate(sizes_K, size), pool.seed, "selection.distilled"))

    return Prepared(take, pool.num_patches, labels_N)


distilled = Rule(_distilled, scores=False, nested=True, offset=False, synthesised=True)
