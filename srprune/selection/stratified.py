"""Stratified: a share of the core-set for each class of difficulty, uniform inside a class.

Classes go from the easiest to the hardest, at quantiles of the score or at equal widths of its
range. With the default, equal shares of quantile classes, the core-set follows the distribution
of the scores with less luck than ``random``; other shares move it towards any difficulty. The
offset skips the hardest patches before classes are made.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le

from srprune.core.errors import InputError
from srprune.selection.quota import allocate, by_rank, by_width, draw, sizes_of
from srprune.selection.rank_window import hardest
from srprune.selection.rule import Choice, Pool, Prepared, Rule

CUTS = {"quantile": by_rank, "width": by_width}


def _stratified(
    pool: Pool,
    *,
    classes: Annotated[int, Ge(1), Le(30_000)] = 10,
    cuts: Literal["quantile", "width"] = "quantile",
    shares: tuple[Annotated[float, Ge(0)], ...] = (),
) -> Prepared:
    if shares and (len(shares) != classes or not any(shares)):
        raise InputError(
            f"shares is {list(shares)}; with stratified it must have a number for each of the "
            f"{classes} classes, from the easiest on, and not only zeros."
        )
    labels_N = CUTS[cuts](pool.scores, classes, ~hardest(pool.scores, pool.num_skipped))
    sizes_K = sizes_of(labels_N, classes)

    def take(size: int) -> Choice:
        taken_K = allocate(sizes_K, size, shares or None)
        return Choice(draw(labels_N, taken_K, pool.seed, "selection.stratified"))

    return Prepared(take, pool.num_patches - pool.num_skipped, labels_N)


stratified = Rule(_stratified)
