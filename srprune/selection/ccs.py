"""CCS, coverage-centric core-set selection (Zheng, Liu, Lai and Prakash, ICLR 2023).

The hardest patches, which are most often noise, are skipped by the offset (the paper's beta, 10%
to 40% where much is pruned). The range of the remaining scores is cut into strata of equal width.
The budget is spread evenly over them from the smallest stratum on; inside, patches are drawn
uniformly. Followed: the authors' ``core/data/Coreset.py`` (commit 8b4e392), but for two things:
the top of the range is exactly the highest score (there 1.0001 times it, which fails for scores
below 0), and the size of the core-set is that of all rules, ``round(ratio*N)``.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Le

from srprune.selection.quota import allocate, by_width, draw, sizes_of
from srprune.selection.rank_window import hardest
from srprune.selection.rule import Choice, Pool, Prepared, Rule


def _ccs(pool: Pool, *, strata: Annotated[int, Ge(1), Le(30_000)] = 50) -> Prepared:
    labels_N = by_width(pool.scores, strata, ~hardest(pool.scores, pool.num_skipped))
    sizes_K = sizes_of(labels_N, strata)

    def take(size: int) -> Choice:
        return Choice(draw(labels_N, allocate(sizes_K, size), pool.seed, "selection.ccs"))

    return Prepared(take, pool.num_patches - pool.num_skipped, labels_N)


ccs = Rule(_ccs, nested=True)
