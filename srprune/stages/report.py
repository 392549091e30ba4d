"""The report of a run: tables and pictures for people, made of artifacts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srprune.core.artifact import write_text
from srprune.core.config import PruningConfig
from srprune.core.errors import InputError, MissingDependency
from srprune.core.patches import PatchIndex
from srprune.core.results import EvalRow
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.reporting.comparison import RunResult, comparison
from srprune.reporting.contact_sheet import contact_sheet
from srprune.reporting.figures import loss_curve
from srprune.reporting.tables import (
    comparison_facts,
    comparison_markdown,
    comparison_text,
    csv_text,
)
from srprune.selection import RULES
from srprune.selection.rank_window import window
from srprune.stages.extract import open_hr


@dataclass(frozen=True)
class Report:
    """What a run ends with.

    Attributes:
        text: the comparison, for a terminal.
        facts: the same as plain values.
        files: what was written.
        missing: what could not be made, and why.
    """

    text: str
    facts: dict[str, Any]
    files: list[Path]
    missing: list[str]


def write_report(
    workspace: Workspace,
    index: PatchIndex,
    results: Sequence[RunResult],
    *,
    baseline: str,
    scores: Mapping[str, ScoreTable],
    arms: Mapping[str, PruningConfig],
) -> Report:
    """Write ``reports/``: comparison.md, figures.csv, and two pictures for each score table.

    Args:
        workspace: gets the files.
        index: the patches.
        results: figures of every arm and seed.
        baseline: the arm that the others are compared with.
        scores: tables by name.
        arms: core-sets, for the cut lines.
    """
    table = comparison(results, baseline)
    folder, missing = workspace.reports, []
    files = [folder / "comparison.md", folder / "figures.csv"]
    write_text(files[0], comparison_markdown(table))
    rows: list[EvalRow] = [row for result in results for row in result.rows]
    write_text(files[1], csv_text(rows))
    hr = open_hr(workspace, index)
    for name, scored in scores.items():
        curve, sheet = folder / f"loss_curve_{name}.png", folder / f"contact_sheet_{name}.png"
        try:
            cuts = rank_cuts(arms, scored.method, len(index))
            loss_curve(scored.scores_N, cuts, curve, method=scored.method)
            files.append(curve)
        except (InputError, MissingDependency) as error:
            missing.append(str(error))
        contact_sheet(
            lambda i: hr.crop(
                int(index.image_N[i]), int(index.top_N[i]), int(index.left_N[i]), index.size
            ),
            scored.scores_N,
            sheet,
            method=scored.method,
            image_N=index.image_N,
        )
        files.append(sheet)
    return Report(comparison_text(table), comparison_facts(table), files, missing)


def rank_cuts(
    arms: Mapping[str, PruningConfig], method: str, num_patches: int
) -> dict[str, tuple[int, int]]:
    """First and end rank, counted from the hardest patch, of each arm that ranks by a method."""
    cuts = {}
    for name, arm in arms.items():
        if not RULES.load(arm.rule).ranked or arm.ratio == 1 or arm.score != method:
            continue
        first, size = window(arm.ratio, arm.offset, num_patches)
        cuts[name] = (first, first + size)
        if arm.rule == "asc":  # ranked from the other end
            cuts[name] = (num_patches - first - size, num_patches - first)
    return cuts
