"""What the pictures of a study share: panels in a grid, colours, ticks and legends."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from srprune.reporting.canvas import EASY, HARD, INK, INNER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = (HARD, EASY, *INNER)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")
WIDE = 34  # characters of a title across a panel


@dataclass(frozen=True)
class Plan:
    """A picture that is to be drawn.

    Attributes:
        stem: name of the file without its end.
        title: one line, for headings.
        note: how to read it.
        width: inches.
        height: inches.
        draw: draws it on a figure of that size.
    """

    stem: str
    title: str
    note: str
    width: float
    height: float
    draw: Callable[[Figure], None]


def styles(labels: Iterable[str], strong: str = "full") -> dict[str, dict[str, Any]]:
    """Colour, marker and dashes of each label, in the order of appearance; ``strong`` is ink."""
    found: dict[str, dict[str, Any]] = {}
    others = 0
    for label in dict.fromkeys(labels):
        if label == strong:
            found[label] = {"color": INK, "marker": "o", "ls": "-", "lw": 2.0, "zorder": 4}
            continue
        found[label] = {
            "color": COLORS[others % len(COLORS)],
            "marker": MARKERS[others % len(MARKERS)],
            "ls": DASHES[others // len(COLORS) % len(DASHES)],
            "lw": 1.4,
            "zorder": 3,
        }
        others += 1
    return found


def size(num_panels: int, num_columns: int, labels: Iterable[str] = ()) -> tuple[float, float]:
    """Width and height in inches of a grid of panels above a legend."""
    named = list(dict.fromkeys(labels))
    num_rows = -(-num_panels // num_columns)
    num_lines = -(-len(named) // legend_columns(named, num_columns)) if named else 0
    return _width(num_columns), 0.7 + 2.5 * num_rows + 0.24 * num_lines


def legend_columns(labels: Sequence[str], num_columns: int) -> int:
    """How many labels stand beside each other below so many panels."""
    inches = 0.6 + 0.08 * max(map(len, labels))
    return max(1, min(len(labels), int(_width(num_columns) / inches)))


def legend(figure: Figure, grid: Sequence[Axes], num_columns: int) -> None:
    """One legend for all panels, below them; each label once."""
    handles: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        names = list(handles)
        figure.legend(
            list(handles.values()), names, loc="outside lower center", frameon=False, fontsize=9,
            ncols=legend_columns(names, num_columns),
        )  # fmt: skip


def _width(num_columns: int) -> float:
    return max(4.4, 0.5 + 3.1 * num_columns)


def panels(figure: Figure, number: int, num_columns: int, **sharing: Any) -> list[Axes]:
    """So many axes in a grid, from the left and the top; what is left over is empty."""
    grid = figure.subplots(-(-number // num_columns), num_columns, squeeze=False, **sharing)
    flat: list[Axes] = list(grid.flat)
    for axes in flat[number:]:
        axes.set_axis_off()
    return flat[:number]


def tidy(axes: Axes, title: str) -> None:
    """A title that fits, a faint grid, no box."""
    axes.set_title("\n".join(textwrap.wrap(title, WIDE)), fontsize=9.5)
    axes.grid(color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8.5)


def decibels(axes: Axes) -> None:
    """Round ticks on the second axis, with two decimals or as many as they need."""
    from matplotlib.ticker import MaxNLocator

    def name(value: float, _: object) -> str:
        text = f"{value:z.4f}".replace("-", "−")
        return text[:-2] + text[-2:].rstrip("0")

    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(name)


def ticks(axes: Axes, values: Iterable[float], name: Callable[[float], str]) -> None:
    """Ticks at the values themselves, but at none that would touch its neighbour."""
    from matplotlib.ticker import NullLocator

    low, high = axes.transAxes.inverted(), axes.transData
    taken: list[float] = []
    last = float("-inf")
    for value in sorted(set(values)):
        place = float(low.transform(high.transform((value, axes.get_ylim()[0])))[0])
        if place - last >= 0.022 * (len(name(value)) + 1.5):
            taken.append(value)
            last = place
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(taken, [name(value) for value in taken])
