"""Which figures of a column are best and second-best, at the precision that is printed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum


class Mark(StrEnum):
    """How the paper marks a figure: the best bold, the second-best underlined."""

    BEST = "best"
    SECOND = "second"


def marks(values: Sequence[float | None], digits: int) -> list[Mark | None]:
    """Mark the highest and the second-highest figure of one column.

    Figures that are printed alike are marked alike. A single figure is not marked.

    Args:
        values: the figures; None or NaN where a row has none.
        digits: decimals that are printed.
    """
    printed = [
        None if value is None or math.isnan(value) else float(f"{value:.{digits}f}")
        for value in values
    ]
    there = [value for value in printed if value is not None]
    ranked = sorted(set(there), reverse=True) if len(there) > 1 else []
    by_value = dict(zip(ranked, Mark, strict=False))
    return [None if value is None else by_value.get(value) for value in printed]
