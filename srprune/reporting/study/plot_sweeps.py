"""PSNR-Y against ratio, offset and steps, and the map of differences over both."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from srprune.core.findings import Difference, Findings, Row, Verdict
from srprune.images.benchmarks import title_of
from srprune.reporting.canvas import EASY, HARD, INK
from srprune.reporting.study import words
from srprune.reporting.study.axes import Plan, decibels, legend, panels, size, styles, tidy
from srprune.reporting.study.axes import ticks as set_ticks
from srprune.reporting.study.series import Grid, Panel, Series, grids, steps, sweeps
from srprune.reporting.study.words import PSNR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

LABELS = {
    "ratio": "kept (% of N)",
    "offset": "offset (% of N)",
    "steps": "steps",
}
FACTOR = 8  # largest over smallest coordinate from which an axis is logarithmic


def sweep(findings: Findings, name: str) -> Plan | None:
    """PSNR-Y against ``ratio``, ``offset`` or ``steps``; None where no line varies it.

    Args:
        findings: of the study.
        name: what lies along the axis.
    """
    found = sweeps(findings, name)
    cells = [(panel, benchmark) for panel in found for benchmark in findings.benchmarks]
    if not cells:
        return None
    columns = min(3, len(cells)) if len(findings.benchmarks) == 1 else len(findings.benchmarks)
    looks = styles([series.label for panel in found for series in panel.series])

    def draw(figure: Figure) -> None:
        grid = panels(figure, len(cells), columns)
        for axes, (panel, benchmark) in zip(grid, cells, strict=True):
            parts = [panel.title, title_of(benchmark)] if panel.title else [title_of(benchmark)]
            tidy(axes, ", ".join(parts))
            for series in panel.series:
                _draw_line(axes, series, benchmark, name, looks[series.label])
            _draw_full(axes, panel, benchmark)
            _finish(axes, panel, name)
        for axes in grid[::columns]:
            axes.set_ylabel("PSNR-Y (dB)")
        legend(figure, grid, columns)

    full = any(panel.full for panel in found)
    note = "Bars" + (" and the grey band" if full else "") + " are 95% t-intervals over seeds."
    width, height = size(len(cells), columns, [*looks, *["full"] * full])
    return Plan(f"psnr_{name}", f"PSNR-Y against {name}", note, width, height, draw)


def _draw_line(axes: Axes, series: Series, benchmark: str, name: str, look: dict[str, Any]) -> None:
    rows = [row for row in series.rows if (benchmark, PSNR) in row.findings]
    x = [_coordinate(row, name) for row in rows]
    values = [row.findings[benchmark, PSNR].value for row in rows]
    ends = [value.interval or (value.mean, value.mean) for value in values]
    means = [value.mean for value in values]
    spread = [
        [mean - low for mean, (low, _) in zip(means, ends, strict=True)],
        [high - mean for mean, (_, high) in zip(means, ends, strict=True)],
    ]
    axes.errorbar(x, means, spread, label=series.label, ms=4.5, capsize=2.5, elinewidth=1, **look)


def _draw_full(axes: Axes, panel: Panel, benchmark: str) -> None:
    if panel.full is None or (benchmark, PSNR) not in panel.full.findings:
        return
    value = panel.full.findings[benchmark, PSNR].value
    axes.axhline(value.mean, color=INK, lw=1.6, zorder=2, label="full")
    if value.interval:
        axes.axhspan(*value.interval, color=INK, alpha=0.12, lw=0, zorder=1)


def _finish(axes: Axes, panel: Panel, name: str) -> None:
    """The coordinate's scale and ticks."""
    x = [_coordinate(row, name) for series in panel.series for row in series.rows]
    if min(x) > 0 and max(x) / min(x) >= FACTOR:
        axes.set_xscale("log")
    axes.set_xlabel(LABELS[name])
    decibels(axes)
    set_ticks(axes, x, short if name == "steps" else lambda value: f"{value:g}")


def _coordinate(row: Row, name: str) -> float:
    return steps(row) if name == "steps" else round(100 * float(getattr(row, name)), 4)


def short(value: float) -> str:
    """Steps in few letters, such as 20K."""
    return f"{value / 1000:g}K" if value >= 1000 else f"{value:g}"


def difference_map(findings: Findings) -> Plan | None:
    """The difference to the baseline over steps and ratio; None where they do not both vary."""
    found = grids(findings)
    cells = [(grid, benchmark) for grid in found for benchmark in findings.benchmarks]
    if not cells:
        return None
    columns = min(3, len(cells)) if len(findings.benchmarks) == 1 else len(findings.benchmarks)
    differences = [
        difference.over_seeds.mean
        for grid, benchmark in cells
        for row in grid.rows.values()
        if (difference := _to_baseline(row, benchmark))
    ]
    limit = max([findings.margin_db, *map(abs, filter(math.isfinite, differences))])
    base = words.baseline(findings)

    def draw(figure: Figure) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        colors = LinearSegmentedColormap.from_list("difference", [EASY, "#FFFFFF", HARD])
        drawn = panels(figure, len(cells), columns)
        for axes, (grid, benchmark) in zip(drawn, cells, strict=True):
            picture = _draw_grid(axes, grid, benchmark, colors, limit)
            tidy(axes, f"{grid.title}, {title_of(benchmark)}")
            axes.grid(visible=False)
        for axes in drawn[::columns]:
            axes.set_ylabel("kept (% of N)")
        bar = figure.colorbar(picture, ax=drawn, shrink=0.8, aspect=30, pad=0.02)
        bar.set_label(f"PSNR-Y minus {base} (dB)")

    tall = max(len(grid.ratios) for grid in found)
    wide = max(len(grid.steps) for grid in found)
    num_rows = -(-len(cells) // columns)
    width = 1.6 + columns * (0.5 + 0.62 * wide)
    note = (
        f"PSNR-Y minus that of {base} at the same steps, in dB: blue is above it, orange below. "
        "Bold: better or worse; ≈: equivalent; plain: undecided, or one seed."
    )
    return Plan(
        "difference_map", f"Difference to {base} over steps and ratio", note, max(5.0, width),
        0.9 + num_rows * (0.8 + 0.42 * tall), draw,
    )  # fmt: skip


def _draw_grid(axes: Axes, grid: Grid, benchmark: str, colors: Colormap, limit: float) -> AxesImage:
    values = np.full((len(grid.ratios), len(grid.steps)), np.nan)
    for (num_steps, ratio), row in grid.rows.items():
        y, x = grid.ratios.index(ratio), grid.steps.index(num_steps)
        if (difference := _to_baseline(row, benchmark)) is None:
            continue
        values[y, x] = difference.over_seeds.mean
        judged = difference.over_seeds.n > 1
        decided = judged and difference.verdict in (Verdict.BETTER, Verdict.WORSE)
        same = " ≈" if judged and difference.verdict is Verdict.EQUIVALENT else ""
        axes.text(
            x, y, words.signed(values[y, x], 2) + same, ha="center", va="center", size=8.5,
            weight="bold" if decided else "normal",
            color="white" if abs(values[y, x]) > 0.72 * limit else INK,
        )  # fmt: skip
    picture = axes.imshow(
        values, cmap=colors, vmin=-limit, vmax=limit, origin="lower", aspect="auto"
    )
    axes.set_xticks(range(len(grid.steps)), [short(each) for each in grid.steps])
    axes.set_yticks(range(len(grid.ratios)), [f"{100 * each:g}" for each in grid.ratios])
    axes.set_xlabel("steps")
    return picture


def _to_baseline(row: Row, benchmark: str) -> Difference | None:
    finding = row.findings.get((benchmark, PSNR))
    return finding.to_baseline if finding else None
