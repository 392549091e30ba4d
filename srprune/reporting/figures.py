"""Figures of a score table: how the loss is spread over patches, and what a core-set holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError
from srprune.reporting.canvas import EASY, HARD, INK, INNER, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]
Cuts = Mapping[str, tuple[int, int]]

LOSSES = ("mse", "bicubic")  # methods whose scores are a loss; of others we say "score"
EVEN = "#8FA3AD"  # of bars that say nothing by their colour
POINTS = 2000  # of the drawn curve: more than the pixels across a panel


class Window(NamedTuple):
    """What a core-set keeps: first and last % of the patches, and their share of the total."""

    label: str
    first: float
    end: float
    held: float | None  # None where shares are not shown
    color: str


Windows = list[Window]


def cumulative_shares(scores_N: Floats) -> Floats:
    """Share of the total score that the k hardest patches hold, for k = 0..N.

    Args:
        scores_N: (N,) finite, at least 0, not all 0, in any order.

    Returns:
        (N + 1,) from 0 to 1; ranks first..end (excluded) hold ``shares[end] - shares[first]``.

    Raises:
        InputError: no scores, a negative or infinite one, or none above 0.
    """
    if not (np.isfinite(scores_N).all() and (scores_N >= 0).all() and scores_N.any()):
        raise InputError("shares of a total need finite scores of at least 0, not all of them 0.")
    falling_N = np.sort(scores_N)[::-1] / scores_N.max()  # over the maximum: no overflow
    shares = np.concatenate([[0.0], np.cumsum(falling_N)])
    return np.asarray(shares / shares[-1], dtype=np.float64)


def loss_curve(scores_N: Floats, cuts: Cuts, path: Path, *, method: str) -> None:
    """Draw the cumulative share of the loss over patches, hardest first, as PNG or PDF.

    Windows that touch an end (``des``, ``asc``) stand in the left panel, inner windows (with an
    offset) shaded in the right one; a panel without any is left out.

    Args:
        scores_N: (N,) finite, at least 0.
        cuts: first and end rank (excluded) in the order of falling score, by label.
        path: of the PNG or ``.pdf``; written whole or not at all.
        method: that made the scores, such as ``mse``.

    Raises:
        InputError: scores without shares, or a window that is empty or not within 0..N.
        MissingDependency: matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    shares = cumulative_shares(scores_N)
    outer, inner = _windows(cuts, shares)
    titles = ("One cut: the hardest or the easiest are kept", "With an offset: cut at both ends")
    panels = [pair for pair in zip(titles, (outer, inner), strict=True) if pair[1]] or [("", [])]
    num_bars = max(len(windows) for _, windows in panels)
    strip = 0.1 + 0.28 * num_bars  # inches
    noun = "loss" if method in LOSSES else "score"
    with canvas(path, 5.7 * len(panels), 4.9 + strip) as figure:
        figure.suptitle(f"Where the {noun} is: {len(scores_N):,} patches, method {method}", size=13)
        grid = figure.subplots(2, len(panels), squeeze=False, height_ratios=[strip, 4.2])
        for (bars, curve), (title, windows) in zip(grid.T, panels, strict=True):
            bars.set_title(title, fontsize=10.5, pad=8)
            _draw_bars(bars, windows, num_bars, noun)
            _draw_curve(curve, windows, 100 * shares)
        grid[1, 0].set_ylabel(f"cumulative share of the total {noun} (%)")


def sorted_scores(scores_N: Floats, cuts: Cuts, path: Path, *, method: str) -> None:
    """Draw the scores in falling order, as PNG or PDF, with a bar above for each window.

    The axis is logarithmic where all scores are above 0 and reach over more than two decades.

    Args:
        scores_N: (N,) finite.
        cuts: first and end rank (excluded) in the order of falling score, by label.
        path: of the PNG or ``.pdf``; written whole or not at all.
        method: that made the scores, such as ``mse``.

    Raises:
        InputError: no scores, an infinite one, or a window that is empty or not within 0..N.
        MissingDependency: matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    if not len(scores_N) or not np.isfinite(scores_N).all():
        raise InputError("sorted scores need at least one score, and all of them finite.")
    falling_N = np.sort(scores_N)[::-1]
    total = len(falling_N)
    outer, inner = _windows(cuts, np.zeros(total + 1))
    windows, noun = [*outer, *inner], "loss" if method in LOSSES else "score"
    strip = 0.1 + 0.28 * len(windows)
    with canvas(path, 5.7, 3.9 + strip) as figure:
        figure.suptitle(f"Sorted scores: {total:,} patches, method {method}", size=13)
        bars, axes = figure.subplots(2, 1, height_ratios=[strip, 3.2])
        _draw_bars(bars, [window._replace(held=None) for window in windows], len(windows), noun)
        ranks = np.unique(np.linspace(0, total - 1, POINTS).round().astype(np.int64))
        x, y = 100 * (ranks + 0.5) / total, falling_N[ranks]
        logarithmic = falling_N[-1] > 0 and falling_N[0] > 100 * falling_N[-1]
        floor = falling_N[-1] / 1.5 if logarithmic else min(0.0, float(falling_N[-1]))
        axes.fill_between(x, y, floor, color=EVEN, lw=0, step="mid")
        for _, first, end, _, color in windows:
            for cut in {first, end} - {0.0, 100.0}:
                axes.axvline(cut, color=color, lw=1.1, ls="--" if color == EASY else "-")
        axes.set(xlim=(0, 100), xlabel="patches, hardest first (% of N)", ylabel=f"{method} {noun}")
        axes.set(xticks=range(0, 101, 25), yscale="log" if logarithmic else "linear")
        axes.set_ylim(bottom=floor)
        axes.spines[["top", "right"]].set_visible(False)


def _windows(cuts: Cuts, shares: Floats) -> tuple[Windows, Windows]:
    """Windows that touch an end, and inner ones."""
    outer, inner, total = Windows(), Windows(), len(shares) - 1
    for label, (first, end) in cuts.items():
        if not 0 <= first < end <= total:
            raise InputError(f"{label} has ranks {first} to {end}; 0 to {total} is the most.")
        kind = outer if first == 0 or end == total else inner
        color = INNER[len(inner) % len(INNER)] if kind is inner else EASY if first else HARD
        held = float(shares[end] - shares[first])
        kind.append(Window(label, 100 * first / total, 100 * end / total, held, color))
    return outer, inner


def _draw_bars(axes: Axes, windows: Windows, num_bars: int, noun: str) -> None:
    """One bar a window, above the curve, where text meets no line; the last bar lowest."""
    for row, (label, first, end, held, color) in enumerate(windows, num_bars - len(windows)):
        text = label if held is None else f"{label}: {held:.1%} of the {noun}"
        axes.barh(row, end - first, left=first, height=0.8, color=color, alpha=0.28, lw=0)
        fits = end - first > 1.5 * len(text)  # a letter is about 1.4% of the panel wide
        right = first > 100 - end
        x = (end - 1 if right else first + 1) if fits else (first - 1 if right else end + 1)
        axes.text(x, row, text, ha="right" if right else "left", va="center_baseline", size=9)
    axes.set(xlim=(0, 100), ylim=(max(num_bars, 1) - 0.4, -0.6))
    axes.axis("off")


def _draw_curve(axes: Axes, windows: Windows, percent: Floats) -> None:
    """The curve, a line and a dot at each cut, and shade below inner windows."""
    ranks = np.unique(np.linspace(0, len(percent) - 1, POINTS).round().astype(np.int64))
    x, y = 100 * ranks / (len(percent) - 1), percent[ranks]
    axes.plot(x, y, color=INK, lw=1.9, zorder=3)
    for _, first, end, _, color in windows:
        if first > 0 and end < 100:
            inside = np.unique(np.r_[first, x[(x > first) & (x < end)], end])
            axes.fill_between(inside, np.interp(inside, x, y), color=color, alpha=0.2, lw=0)
        for cut in {first, end} - {0.0, 100.0}:
            axes.axvline(cut, color=color, lw=1.1, ls="--" if color == EASY else "-")
            axes.plot(cut, np.interp(cut, x, y), "o", color=color, ms=5.5, mec="white", zorder=4)
    axes.set(xlim=(0, 100), ylim=(0, 102), xlabel="patches, hardest first (% of N)")
    axes.set(xticks=range(0, 101, 25), yticks=range(0, 101, 20))
    axes.grid(color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
