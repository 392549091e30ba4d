"""The curves of a training run, drawn from the CSV files of its log."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from srprune.reporting.canvas import EASY, HARD, INK, INNER, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

GREEN = INNER[0]
POINTS = 400  # of the loss; where there are more rows, their means are drawn over them
DOTS = 50  # validations that get a dot each
NARROW, WIDE = 10, 200  # largest over smallest loss: round ticks below, decades alone above


def write_curves(folder: Path, path: Path) -> bool:
    """Draw the loss, the learning rate and the validations of a run, as PNG.

    Rows that a kill cut short are passed over. The loss has a logarithmic axis, or a linear one
    where some are not above zero, as BDLoss may be.

    Args:
        folder: of the run; its ``log.csv`` is read, and its ``validation.csv`` if it is there.
        path: of the PNG; written whole or not at all.

    Returns:
        False where there is nothing to draw; ``path`` is left alone then.

    Raises:
        MissingDependency: matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    log_N3 = _read(folder / "log.csv", ("step", "lr", "loss"))
    if not len(log_N3):
        return False
    validations = folder / "validation.csv"
    of_y_N2, of_all_N2, bicubic_N2 = (
        _read(validations, ("step", name)) for name in ("psnr_y", "psnr", "psnr_bicubic")
    )
    psnr_N2 = of_y_N2 if len(of_y_N2) else of_all_N2
    heights = [3.0, 2.2] if len(psnr_N2) else [3.0]  # inches
    with canvas(path, 7.6, 0.5 + sum(heights)) as figure:
        figure.suptitle(f"Training of {folder.name}", size=12)
        grid = figure.subplots(len(heights), 1, squeeze=False, sharex=True, height_ratios=heights)
        _draw_training(grid[0, 0], log_N3)
        if len(psnr_N2):
            of = " of Y" if len(of_y_N2) else ""
            _draw_validation(grid[1, 0], psnr_N2, bicubic_N2, f"validation PSNR{of} (dB)")
        last = np.concatenate([log_N3[:, 0], psnr_N2[:, 0]]).max()
        grid[-1, 0].set(xlim=(0, 1.01 * last), xlabel="step")
        grid[-1, 0].xaxis.set_major_formatter("{x:,.0f}")
    return True


def _read(path: Path, names: tuple[str, ...]) -> Floats:
    """(rows, names) finite numbers, the first a step; none where file or column is missing."""
    none = np.empty((0, len(names)))
    if not path.exists():
        return none
    text = path.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]  # a last line without an end may be half a line
    header, *rows = list(csv.reader(whole.splitlines())) or [[]]
    if not set(names) <= set(header):
        return none
    wanted = [header.index(name) for name in names]
    numbers = []
    for row in rows:
        try:
            numbers.append([float(row[column]) for column in wanted])
        except (IndexError, ValueError):
            continue
    table = np.array(numbers, dtype=np.float64).reshape(-1, len(names))
    return table[np.isfinite(table).all(axis=1) & (table[:, 0] > 0)]


def _draw_training(axes: Axes, log_N3: Floats) -> None:
    """The loss, on a logarithmic axis if it can, and the learning rate on an axis of its own."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    step_N, lr_N, loss_N = log_N3.T
    dot = "." if len(step_N) == 1 else ""
    positive = bool((loss_N > 0).all())
    axes.set_yscale("log" if positive else "linear")
    axes.set_ylabel("training loss", color=HARD)
    block = -(-len(loss_N) // POINTS)
    if block == 1:
        axes.plot(step_N, loss_N, color=HARD, lw=1.8, marker=dot)
    else:
        first_K = np.arange(0, len(loss_N), block)
        rows_K = np.diff(np.append(first_K, len(loss_N)))
        mean_K = np.add.reduceat(loss_N, first_K) / rows_K
        axes.plot(step_N, loss_N, color=HARD, lw=0.7, alpha=0.3)
        label = f"mean of {block} rows of the log"
        axes.plot(step_N[first_K + rows_K - 1], mean_K, color=HARD, lw=1.8, label=label)
        axes.legend(loc="upper right", frameon=False)
    spread = loss_N.max() / loss_N.min() if positive else 1
    if spread < NARROW:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.minorticks_off()
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if spread < WIDE else (1.0,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(_number)
    _tidy(axes)

    rate = axes.twinx()
    rate.plot(step_N, lr_N, color=EASY, lw=1.0, marker=dot)
    rate.set_ylim(0, 1.08 * lr_N.max() or 1)
    rate.set_ylabel("learning rate", color=EASY)
    rate.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    rate.yaxis.set_major_formatter(_number)
    rate.spines["top"].set_visible(False)


def _draw_validation(axes: Axes, psnr_N2: Floats, bicubic_N2: Floats, label: str) -> None:
    """PSNR of the network, its best point with the value, and bicubic where it was measured."""
    step_N, psnr_N = psnr_N2.T
    dot = "." if len(step_N) <= DOTS else ""
    axes.plot(step_N, psnr_N, color=GREEN, lw=1.8, marker=dot, label="network")
    if len(bicubic_N2):
        axes.axhline(bicubic_N2[-1, 1], color=INK, lw=1.1, ls="--", label="bicubic")
        axes.legend(frameon=False)
    best = int(psnr_N.argmax())
    axes.plot(step_N[best], psnr_N[best], "o", color=GREEN, ms=7, mec="white", zorder=4)
    side = step_N[best] / step_N[-1]
    axes.annotate(
        f"best: {psnr_N[best]:.2f} dB at step {step_N[best]:,.0f}",
        (step_N[best], psnr_N[best]),
        xytext=(0, 9),
        textcoords="offset points",
        ha="left" if side < 0.25 else "right" if side > 0.75 else "center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
    axes.margins(y=0.22)  # room for the words
    axes.set_ylabel(label, color=GREEN)
    axes.spines["right"].set_visible(False)
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.grid(color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines["top"].set_visible(False)


def _number(value: float, _position: float) -> str:
    """Short, and without the mathematics that ``STYLE`` leaves out: 0.002, 5e-4."""
    if value == 0 or abs(value) >= 1e-3:
        return f"{value:.4g}"
    digits, exponent = f"{value:e}".split("e")
    return f"{float(digits):.4g}e{int(exponent)}"
