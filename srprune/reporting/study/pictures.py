"""The pictures of a study, each only where the study varies what it shows."""

from __future__ import annotations

from pathlib import Path

from srprune.core.artifact import atomic_path
from srprune.core.findings import Findings
from srprune.core.progress import Progress, silent
from srprune.reporting.canvas import METADATA, canvas
from srprune.reporting.study.axes import Plan
from srprune.reporting.study.content import Picture
from srprune.reporting.study.plot_runs import costs, gains, learning_curves
from srprune.reporting.study.plot_sweeps import difference_map, sweep
from srprune.reporting.study.plot_tiles import tile_maps


def plans(findings: Findings) -> list[Plan]:
    """What there is to draw, in the order of a report."""
    found = [
        difference_map(findings),
        *(sweep(findings, name) for name in ("ratio", "offset", "steps")),
        learning_curves(findings),
        *gains(findings),
        costs(findings),
        tile_maps(findings),
    ]
    return [plan for plan in found if plan is not None]


def draw_pictures(
    findings: Findings, folder: Path, progress: Progress = silent
) -> tuple[Picture, ...]:
    """Draw every picture as PNG and as PDF.

    Args:
        findings: of the study.
        folder: gets the files, each written whole or not at all.
        progress: told after each picture.

    Raises:
        MissingDependency: matplotlib is not installed.
        StorageError: a file cannot be written.
    """
    drawn = []
    to_draw = plans(findings)
    for done, plan in enumerate(to_draw, 1):
        path = folder / f"{plan.stem}.png"
        with canvas(path, plan.width, plan.height) as figure:
            plan.draw(figure)
            with atomic_path(path.with_suffix(".pdf")) as temporary:
                figure.savefig(temporary, format="pdf", metadata=METADATA["pdf"])
            figure.set_layout_engine("none")  # the PNG gets the same layout, in half the time
        drawn.append(Picture(path, plan.title, plan.note))
        progress("draw", done, len(to_draw), plan.stem)
    return tuple(drawn)
