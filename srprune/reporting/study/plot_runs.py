"""Learning curves, gains image by image, and PSNR-Y against cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from srprune.core.findings import Cost, Findings, Row
from srprune.images.benchmarks import title_of
from srprune.reporting.canvas import EASY, HARD
from srprune.reporting.study import words
from srprune.reporting.study.axes import Plan, decibels, legend, panels, size, styles, tidy
from srprune.reporting.study.plot_sweeps import short
from srprune.reporting.study.words import PSNR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

START = 0.4  # share of the steps whose values do not stretch the axis of a learning curve
DOTS = 20  # points of a learning curve that get a dot each
MOST = 8  # curves of a panel that eyes can tell apart
ENDS = 3  # of more curves, the best and the worst that are named
OTHERS = {"label": "others", "color": "#BBBBBB", "lw": 0.9, "zorder": 2}
BARS = 30  # images from which bars touch
NAME = 26  # letters of an image's name
WIDE_RANGE = 20  # largest over smallest cost from which an axis is logarithmic
KEPT, VISITED = "patches kept", "patches visited"
COSTS: dict[str, Callable[[Cost], float | None]] = {
    KEPT: lambda cost: cost.num_patches,
    "MB of pixels": lambda cost: cost.num_bytes / 1e6,
    VISITED: lambda cost: cost.num_visited,
    "seconds of training": lambda cost: cost.seconds,
    "kJ of training": lambda cost: None if cost.joules is None else cost.joules / 1e3,
}


def learning_curves(findings: Findings) -> Plan | None:
    """PSNR-Y on the validation benchmark against steps, and its difference to the baseline.

    None where no row has a curve, and where they are of different benchmarks.
    """
    if not findings.validation:
        return None
    found = [
        (title, [row for row in rows if len(row.curve) > 1])
        for title, rows in words.groups(findings)
    ]
    found = [(title, rows) for title, rows in found if rows]
    if not found:
        return None
    base = words.baseline(findings)
    looks, crowded = _looks_of_curves(findings, [rows for _, rows in found])
    columns = min(3, len(found))
    # each row of panels is followed by one of differences
    places = [(k // columns * 2 + below) * columns + k % columns
              for k in range(len(found)) for below in (0, 1)]  # fmt: skip

    def draw(figure: Figure) -> None:
        grid = panels(figure, max(places) + 1, columns)
        for k, (title, rows) in enumerate(found):
            above, below = (grid[place] for place in places[2 * k : 2 * k + 2])
            tidy(above, title)
            tidy(below, "")
            differences: list[dict[int, float]] = []
            named = {words.own_name(row, findings): dict(row.curve) for row in rows}
            for name in sorted(named, key=lambda name: name not in looks):  # others come last
                curve, look = named[name], looks.get(name, OTHERS)
                if name in looks:
                    look = look | {"marker": "." if len(curve) <= DOTS else ""}
                above.plot(list(curve), list(curve.values()), **look)
                other = named.get(base, {})
                if max(curve) == max(other, default=0):  # a shorter schedule is another curve
                    gained = {step: curve[step] - other[step] for step in curve if step in other}
                    below.plot(list(gained), list(gained.values()), **look)
                    differences.append(gained)
            _fit(above, list(named.values()))
            _fit(below, differences)
            if k % columns == 0:
                above.set_ylabel("PSNR-Y (dB)")
                below.set_ylabel(f"minus {base} (dB)")
        for place in set(range(len(grid))) - set(places):
            grid[place].set_axis_off()
        legend(figure, grid, columns)

    note = (
        f"PSNR-Y on {title_of(findings.validation)} while training, means over seeds; below, minus "
        f"that of {base} at the same step, for rows of as many steps. The axes fit what follows "
        f"{START:.0%} of the steps."
    )
    if crowded:
        note += f" Named are {base} and, of each panel, the {ENDS} that end best "
        note += f"and the {ENDS} that end worst."
    names = [*looks, *(["others"] if crowded else [])]
    width, height = size(max(places) + 1, columns, names)
    return Plan("learning_curves", "Learning curves", note, width, height, draw)


def _looks_of_curves(
    findings: Findings, panels: list[list[Row]]
) -> tuple[dict[str, dict[str, Any]], bool]:
    """A look with its label for each row that is named, and whether others are not."""
    every = {words.own_name(row, findings) for rows in panels for row in rows}
    base = words.baseline(findings)
    named = {base} & every
    for rows in panels:
        ends = {words.own_name(row, findings): row.curve[-1][1] for row in rows}
        falling = sorted((name for name in ends if name != base), key=lambda name: -ends[name])
        few = len(ends) <= MOST
        named.update(falling if few else [*falling[:ENDS], *falling[-ENDS:]])
    looks = _looks(findings)
    if crowded := named != every:  # the few that are named have colours of their own
        looks = styles([name for name in looks if name in named], base)
    return {name: looks[name] | {"label": name} for name in looks if name in named}, crowded


def _fit(axes: Axes, curves: list[dict[int, float]]) -> None:
    """Limits that the steep start of training does not stretch."""
    late = [
        value for curve in curves for step, value in curve.items() if step >= START * max(curve)
    ]
    if late and (low := min(late)) < (high := max(late)):
        axes.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    axes.set_xlim(left=0)
    axes.set_xlabel("step")
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    decibels(axes)


def gains(findings: Findings) -> list[Plan]:
    """One picture a group: the gain of every image over the baseline, sorted, for each row."""
    found = [(title, [row for row in rows if row.gains]) for title, rows in words.groups(findings)]
    found = [(title, rows) for title, rows in found if rows]
    stems = ["gains"] if len(found) == 1 else [f"gains_{k + 1}" for k in range(len(found))]
    return [
        _gains(findings, title, rows, stem)
        for stem, (title, rows) in zip(stems, found, strict=True)
    ]


def _gains(findings: Findings, title: str, rows: list[Row], stem: str) -> Plan:
    base = words.baseline(findings)
    benchmarks = [name for name in findings.benchmarks if any(_of(row.gains, name) for row in rows)]
    columns = len(benchmarks)

    def draw(figure: Figure) -> None:
        grid = panels(figure, len(rows) * columns, columns, sharey="row")
        cells = [(row, name) for row in rows for name in benchmarks]
        for axes, (row, name) in zip(grid, cells, strict=True):
            tidy(axes, f"{words.own_name(row, findings)}, {title_of(name)}")
            _draw_gains(axes, _of(row.gains, name))
        for axes in grid[::columns]:
            axes.set_ylabel("gain (dB)")

    where = f": {title}" if title else ""
    note = f"PSNR-Y minus that of {base}, mean over seeds, an image a bar, sorted."
    width, _ = size(columns, columns)
    return Plan(
        stem, f"Gain image by image over {base}{where}", note, width, 0.5 + 2.15 * len(rows), draw
    )


def _of(gains: Mapping[tuple[str, str], float] | None, benchmark: str) -> list[tuple[float, str]]:
    """Gains of one benchmark, falling, each with its image."""
    found = [(gain, image) for (name, image), gain in (gains or {}).items() if name == benchmark]
    return sorted(found, key=lambda pair: (-pair[0], pair[1]))


def _draw_gains(axes: Axes, falling: list[tuple[float, str]]) -> None:
    values = [gain for gain, _ in falling]
    if len(values) > BARS:
        edges = [place - 0.5 for place in range(len(values) + 1)]
        for color, part in ((HARD, max), (EASY, min)):
            heights = [part(gain, 0.0) for gain in values]
            axes.fill_between(edges, [*heights, 0.0], step="post", color=color, lw=0)
    else:
        colors = [HARD if gain >= 0 else EASY for gain in values]
        axes.bar(range(len(values)), values, color=colors, lw=0)
    axes.axhline(0, color="#888888", lw=0.8)
    axes.set_xticks([])
    axes.margins(x=0.02)
    if falling:
        up = sum(gain > 0 for gain in values)
        lines = [f"{up} of {len(values)} images above 0"]
        for word, (gain, image) in (("most", falling[0]), ("least", falling[-1])):
            name = PurePath(image).stem
            name = name if len(name) <= NAME else f"{name[: NAME - 1]}…"
            lines.append(f"{word}: {name} {words.signed(gain, 2)}")
        axes.set_xlabel("\n".join(lines), fontsize=8)


def costs(findings: Findings) -> Plan | None:
    """PSNR-Y on the largest benchmark against what a row costs; None where nothing varies."""
    benchmark = max(findings.benchmarks, key=lambda name: findings.benchmarks[name], default="")
    key = (benchmark, PSNR)
    found = [
        (title, [row for row in rows if row.cost and key in row.findings])
        for title, rows in words.groups(findings)
    ]
    found = [(title, rows) for title, rows in found if rows]
    names = [
        name
        for name, cost in COSTS.items()
        if any(
            len({x for row in rows if (x := _cost(row, cost)) is not None}) > 1 for _, rows in found
        )
    ]
    every = [row for _, rows in found for row in rows]
    if all(_cost(row, COSTS[KEPT]) == _cost(row, COSTS[VISITED]) for row in every):
        names = [name for name in names if name != VISITED]
    if not names:
        return None
    cells = [(title, rows, name) for title, rows in found for name in names]
    looks = _looks(findings)

    def draw(figure: Figure) -> None:
        grid = panels(figure, len(cells), len(names), sharey="row")
        for axes, (title, rows, name) in zip(grid, cells, strict=True):
            tidy(axes, title)
            _draw_costs(axes, rows, COSTS[name], looks, findings, benchmark)
            axes.set_xlabel(name)
        for axes in grid[:: len(names)]:
            axes.set_ylabel("PSNR-Y (dB)")
        legend(figure, grid, len(names))

    labels = {words.own_name(row, findings) for _, rows in found for row in rows}
    note = f"PSNR-Y on {title_of(benchmark)}; bars are 95% t-intervals over seeds."
    width, height = size(len(cells), len(names), labels)
    return Plan("cost", "PSNR-Y against cost", note, width, height, draw)


def _draw_costs(
    axes: Axes,
    rows: list[Row],
    cost: Callable[[Cost], float | None],
    looks: Mapping[str, dict[str, Any]],
    findings: Findings,
    benchmark: str,
) -> None:
    drawn = []
    for row in rows:
        if (x := _cost(row, cost)) is None:
            continue
        value, name = row.findings[benchmark, PSNR].value, words.own_name(row, findings)
        low, high = value.interval or (value.mean, value.mean)
        spread = [[value.mean - low], [high - value.mean]]
        look = looks[name] | {"ls": "none"}
        axes.errorbar(
            [x], [value.mean], spread, label=name, ms=6, capsize=2.5, elinewidth=1, **look
        )
        drawn.append(x)
    if drawn and 0 < WIDE_RANGE * min(drawn) < max(drawn):
        axes.set_xscale("log")
    elif drawn:
        axes.set_xlim(0, 1.08 * max(drawn))
        axes.xaxis.set_major_formatter(lambda value, _: short(value))
        axes.locator_params(axis="x", nbins=5)
    decibels(axes)


def _cost(row: Row, cost: Callable[[Cost], float | None]) -> float | None:
    return cost(row.cost) if row.cost else None


def _looks(findings: Findings) -> dict[str, dict[str, Any]]:
    """A look for each level of the compared axis; the baseline is ink."""
    names = [words.level(findings.compare, name) for name in findings.axes[findings.compare]]
    return styles(names, words.baseline(findings))
