"""Runs that lost their way without a NaN, told from the log of their loss."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

FEWEST = 10  # rows of a log that says anything
PARTS = 10
SMALLEST = 3  # rows a part: a single row of chance or a spike is not its median
FACTOR = 1.5


def lost_its_way(loss_log: Sequence[tuple[int, float]], since: int = 0) -> str | None:
    """Say whether a run ended far above a loss that it had reached, and by how much.

    The median of the last tenth of the rows is set against the lowest median of any earlier tenth.
    More than 1.5 times that is lost: 1.8 dB of MSE, 3.5 dB of L1. In 52 logs of networks of all
    sizes the ratio was at most 1.09; in the one that had diverged, with MSE, it was 3.8, whose
    root, about what L1 would show, is 1.9.

    Medians, because a spike that a run recovers from is none of it, wherever it stands. Warm-up and
    restarts of the learning rate raise the loss early, or for a while, but not at the end. A run
    that never learned at all has no better past, and is not found here.

    Args:
        loss_log: (step, mean training loss since the row before), in the order of the steps.
        since: rows up to this step do not count; the step after which the core-set was last
            changed to a harder one on purpose, such as the end of a warm-up on all patches, for
            which a higher loss is no fault.

    Returns:
        What happened, in words; None where nothing did, or fewer than 10 rows are there to tell.
    """
    rows = [(step, loss) for step, loss in loss_log if step > since]
    for step, loss in rows:
        if not math.isfinite(loss):
            return f"the training loss is {loss} at step {step:,}"
    if len(rows) < FEWEST:
        return None
    size = max(SMALLEST, len(rows) // PARTS)
    ends = range(len(rows), size - 1, -size)  # from the last part back; a rest stays at the start
    last, *earlier = (statistics.median(loss for _, loss in rows[end - size : end]) for end in ends)
    lowest, end = min(zip(earlier, ends[1:], strict=True))
    if last <= FACTOR * lowest:
        return None
    return (
        f"the training loss ended at {last:.2g}, {last / lowest:.1f} times the {lowest:.2g} around "
        f"step {rows[end - size // 2 - 1][0]:,}"
    )
