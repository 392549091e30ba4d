"""Tables of figures: one model's for the terminal, and arms beside each other.

A comparison shows 2 decimals of PSNR-Y and 4 of SSIM-Y, as papers do; differences have 3, so
that an interval shows on which side of zero it ends. One model's own table has 4 of both.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from srprune.core.artifact import Header
from srprune.core.errors import InputError
from srprune.core.estimate import Estimate
from srprune.core.results import METRICS, EvalRow, benchmark_means, check_one_protocol
from srprune.images.benchmarks import title_of
from srprune.reporting.comparison import Arm, Comparison

ANECDOTE = "one seed is an anecdote: differences below about 0.05 dB mean nothing"
COST_SIDES = "<>>>"


def evaluation_table(rows: Sequence[EvalRow], *, per_image: bool) -> str:
    """One model's figures as aligned text: a line a benchmark and, if asked, a line an image.

    Raises:
        InputError: no rows, or rows of several protocols, models, core-sets, seeds or scales.
    """
    row = _one_subject(rows)
    values = {(r.benchmark, r.image, r.metric): r.value for r in rows}
    means = benchmark_means(rows)
    images: dict[str, dict[str, None]] = {}
    for r in rows:
        images.setdefault(r.benchmark, {})[r.image] = None
    lines = [["benchmark", "image", "PSNR-Y", "SSIM-Y"]]
    for benchmark, names in images.items():
        for image in names if per_image else ():
            figures = [_four(values.get((benchmark, image, metric))) for metric in METRICS]
            lines.append([title_of(benchmark), image, *figures])
        figures = [_four(means.get((benchmark, metric))) for metric in METRICS]
        lines.append([title_of(benchmark), f"mean of {len(names)}", *figures])
    trained = f"   train set {row.train_set}, seed {row.seed}" if row.seed >= 0 else ""
    stamp = f"protocol {row.protocol}   scale x{row.scale}   model {row.model}{trained}"
    return "\n".join([stamp, "", *align(lines, "<<>>")])


def csv_text(rows: Sequence[EvalRow]) -> str:
    """The rows as CSV with a header line, all digits; an infinite PSNR-Y is ``inf``."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(EvalRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    return text.getvalue()


def comparison_facts(table: Comparison) -> dict[str, Any]:
    """A comparison as plain values for JSON; what is not finite is None."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return _finite(value) if isinstance(value, float) else value

    facts: dict[str, Any] = plain(asdict(table))
    return facts


def json_text(rows: Sequence[EvalRow], header: Header) -> str:
    """One model's figures as JSON: stamp, means by benchmark, rows, and the file's header.

    JSON has no infinity: an infinite PSNR-Y (SR equals HR) is ``null``, as ``units`` says there.

    Raises:
        InputError: as for :func:`evaluation_table`.
    """
    row = _one_subject(rows)
    means: dict[str, dict[str, float | None]] = {}
    for (benchmark, metric), value in benchmark_means(rows).items():
        means.setdefault(benchmark, {})[metric] = _finite(value)
    stamp = ("protocol", "scale", "model", "train_set", "seed")
    content = {
        **{key: getattr(row, key) for key in stamp},
        "units": {"psnr_y": "dB; null is infinite: SR equals HR", "ssim_y": "at most 1"},
        "means": means,
        "rows": [
            {k: v for k, v in asdict(r).items() if k not in stamp} | {"value": _finite(r.value)}
            for r in rows
        ],
        "header": asdict(header),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def comparison_text(table: Comparison) -> str:
    """A comparison for the terminal: one block of arms a benchmark, notes below."""
    blocks = [_stamp(table)]
    for benchmark, num_images in table.num_images.items():
        head = ["arm", "patches", "steps", "n", "PSNR-Y", "SSIM-Y", f"vs {table.baseline}, dB"]
        lines = [head, *([*_facts(arm), *_figures(arm, benchmark)] for arm in table.arms)]
        title = f"{title_of(benchmark)} ({num_images} image{'s' if num_images > 1 else ''})"
        blocks.append("\n".join([title, *align(lines, "<>>><<<")]))
    if costs := _costs(table):
        blocks.append("\n".join(["Cost", *align(costs, COST_SIDES)]))
    return "\n\n".join([*blocks, "\n".join(_notes(table))])


def comparison_markdown(table: Comparison) -> str:
    """A comparison as one Markdown table; the best PSNR-Y (in 2 decimals) of each is bold."""
    head = ["arm", "patches", "steps", "n"]
    body = [_facts(arm) for arm in table.arms]
    for benchmark in table.num_images:
        title = title_of(benchmark)
        head += [f"{title} PSNR-Y / SSIM-Y", f"{title} vs {table.baseline}, dB"]
        best = f"{max(arm.cells[benchmark].psnr_y.mean for arm in table.arms):.2f}"
        for line, arm in zip(body, table.arms, strict=True):
            psnr, ssim, delta = _figures(arm, benchmark)
            mean, *spread = psnr.split(" ", 1)
            psnr = " ".join([f"**{mean}**" if mean == best else mean, *spread])
            line += [f"{psnr} / {ssim}", delta]
    costs = _costs(table)
    parts = [*pipes([head, *body], "<" + ">" * (len(head) - 1)), ""]
    parts += [*pipes(costs, COST_SIDES), ""] if costs else []
    notes = [f"- {note}" for note in _notes(table)]
    return "\n".join([_stamp(table), "", *parts, *notes]).replace(" +- ", " \u00b1 ") + "\n"


def _costs(table: Comparison) -> list[list[str]]:
    """What each arm took, the head first; empty where nothing is known."""
    lines = [
        [
            arm.name,
            f"{cost.num_bytes / 1e6:,.1f}",
            "-" if cost.set_s is None else f"{cost.set_s:,.0f}",
            f"{cost.seconds:,.0f}",
        ]
        for arm in table.arms
        if (cost := arm.cost)
    ]
    return [["arm", "MB", "set, s", "training, s"], *lines] if lines else []


def _stamp(table: Comparison) -> str:
    models = ", ".join(table.models)
    return f"protocol {table.protocol}   scale x{table.scale}   model {models}"


def _facts(arm: Arm) -> list[str]:
    if not arm.trained:
        return [arm.name, "-", "-", "-"]
    return [arm.name, f"{arm.num_patches:,}", f"{arm.steps:,}", str(arm.num_seeds)]


def _figures(arm: Arm, benchmark: str) -> list[str]:
    """PSNR-Y, SSIM-Y and the difference of one arm."""
    cell = arm.cells[benchmark]
    return [_spread(cell.psnr_y, 2), _spread(cell.ssim_y, 4), _delta(cell.delta_db)]


def _spread(value: Estimate, digits: int) -> str:
    sd = "" if value.sd is None else f" +- {value.sd:.{digits}f}"
    return f"{value.mean:.{digits}f}{sd}"


def _delta(value: Estimate | None) -> str:
    if value is None or math.isnan(value.mean):
        return "-"
    if value.interval is None:
        return f"{value.mean:+z.3f}"
    low, high = value.interval
    return f"{value.mean:+z.3f} [{low:+z.3f}, {high:+z.3f}]"


def _notes(table: Comparison) -> list[str]:
    """What a reader must know to read the figures rightly."""
    trained = [arm for arm in table.arms if arm.trained]
    note = f"vs {table.baseline}: difference in PSNR-Y, paired by seed"
    if any(arm.num_seeds > 1 for arm in trained):
        note += ", with its 95% t-interval; +- is the standard deviation over n seeds"
    notes = [note + "."]
    if single := [arm.name for arm in trained if arm.num_seeds == 1]:
        notes.append(f"n=1, no interval ({', '.join(single)}): {ANECDOTE}.")
    for arm in trained:
        delta = next(iter(arm.cells.values())).delta_db
        pairs = f"{delta.n if delta else 0} of {arm.num_seeds}"
        if arm.name != table.baseline and (delta is None or delta.n < arm.num_seeds):
            notes.append(f"{arm.name}: {pairs} seeds in common with {table.baseline}.")
    if any(arm.cost for arm in trained):
        notes.append(
            "A seed costs: MB of uint8 pixels, HR and LR, overlaps counted once; set: seconds to "
            "choose or to synthesise it, with the scoring model, scores or generator, which other "
            "arms and seeds share; seconds of training."
        )
    if len({arm.steps for arm in trained}) > 1:
        notes.append("Steps differ: a difference then measures the training as well as the data.")
    return notes


def _one_subject(rows: Sequence[EvalRow]) -> EvalRow:
    """The first row, once it is sure that all rows are of one protocol and one model."""
    if not rows:
        raise InputError("there are no measurements to show.")
    check_one_protocol(rows)
    subjects = {f"{r.model} x{r.scale} ({r.train_set}, seed {r.seed})" for r in rows}
    if len(subjects) > 1:
        raise InputError(f"one model was expected, but there are {', '.join(sorted(subjects))}.")
    return rows[0]


def _four(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def align(lines: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Pad cells to columns; ``sides`` holds ``<`` (left) or ``>`` (right) a column."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def pipes(lines: Sequence[Sequence[str]], sides: str) -> list[str]:
    """The same as a Markdown table, whose head is the first line."""
    rule = ["---" if side == "<" else "---:" for side in sides]
    return ["| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])]
