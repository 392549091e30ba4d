"""study: what a run took, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from srprune.core.findings import Cost
from srprune.selection import RULES
from srprune.selection.adaptive import adaptive_plan
from srprune.stages.routing import read_routing
from srprune.studies.grid import FULL, Cell
from srprune.studies.record import Record


def cost_of(
    cell: Cell,
    record: Record,
    *,
    num_patches: int,
    adaptive: Sequence[tuple[int, float]],
    results: Path,
    choosing_s: float | None,
) -> Cost:
    """What a run took.

    Args:
        cell: that was run.
        record: of its training; its patches are the active ones, where these change.
        num_patches: of the pool.
        adaptive: step and patches visited so far, where they are chosen in training.
        results: its table of measurements.
        choosing_s: seconds of choosing its core-set; None where it has none, or they are not known.
    """
    stored, pruning = record.num_patches, cell.config.pruning
    if cell.rule != FULL and (rule := RULES.load(cell.rule)).in_training:
        plan = adaptive_plan(
            num_patches, pruning.ratio, pruning.offset, pruning.seed, rule.checked(pruning.args)
        )
        stored = len(plan.ids_M)
    visits = record.steps * cell.config.batch
    visited: int | None = min(record.num_patches, visits)  # each patch comes once an epoch
    if adaptive:
        visited = int(adaptive[-1][1])
    elif cell.config.sampling or (cell.rule != FULL and RULES.load(cell.rule).weighted):
        visited = None
    routing = read_routing(results) if cell.dynamic else None
    return Cost(
        num_patches=stored,
        num_bytes=record.num_bytes,
        steps=record.steps,
        num_visited=visited,
        seconds=record.seconds,
        joules=record.joules,
        flops_share=routing.share if routing else None,
        restore_s=routing.seconds if routing else None,
        set_s=record.set_seconds if cell.distilled else choosing_s,
    )
