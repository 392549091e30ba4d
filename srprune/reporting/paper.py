"""The paper's own numbers: Tables 1 to 3 of Moser et al. 2024, and what is doubtful in them.

Source: B. Moser, F. Raue, A. Dengel, "A Study in Dataset Pruning for Image Super-Resolution",
2024, arXiv 2403.17083. The paper names its metrics PSNR and SSIM and states neither channel nor
border; Table 3's agreement with published figures says that they are of Y.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from srprune.core.errors import InputError

PAPER = "Moser et al. 2024, arXiv 2403.17083"
FULL_STEPS = 15_608  # of Table 1's full set; 11,706, 7,804 and 3,902 are 75, 50 and 25% of it


@dataclass(frozen=True)
class PaperValue:
    """One printed number.

    Attributes:
        table: 1, 2 or 3.
        network: as our networks are called, such as ``swinir``.
        scale: 2, 3 or 4.
        train_set: short name, such as ``full``, ``asc75``, ``des50``, ``sobel50``,
            ``refined50``.
        rule: ``full``, ``asc`` or ``des``; the paper's refined set is ``des`` with an offset.
        score: ``loss`` or ``sobel``; empty for the full set.
        ratio: share of N that is kept.
        offset: share of N that is skipped.
        steps: as printed; None in Tables 2 and 3, which print none.
        benchmark: such as ``bsd100``.
        metric: ``psnr_y`` (dB) or ``ssim_y``.
        value: as printed.
    """

    table: int
    network: str
    scale: int
    train_set: str
    rule: str
    score: str
    ratio: float
    offset: float
    steps: int | None
    benchmark: str
    metric: str
    value: float

    @property
    def step_share(self) -> float | None:
        """Steps as a share of those of the full set; None where no steps are printed."""
        return None if self.steps is None else self.steps / FULL_STEPS


@dataclass(frozen=True)
class Doubt:
    """Something in the paper's tables that a reader must know before comparing with them.

    It concerns the values that fit all of its fields; an empty field fits every value.

    Attributes:
        name: short and lasting.
        sentence: what is doubtful.
        tables: numbers of tables.
        networks: such as ``drrn``.
        train_sets: such as ``des50``.
        benchmarks: such as ``bsd100``.
        metrics: such as ``ssim_y``.
        scales: such as 2.
    """

    name: str
    sentence: str
    tables: tuple[int, ...] = ()
    networks: tuple[str, ...] = ()
    train_sets: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    scales: tuple[int, ...] = ()

    def concerns(self, value: PaperValue) -> bool:
        """Whether it is about this number."""
        pairs: list[tuple[tuple[object, ...], object]] = [
            (self.tables, value.table),
            (self.networks, value.network),
            (self.train_sets, value.train_set),
            (self.benchmarks, value.benchmark),
            (self.metrics, value.metric),
            (self.scales, value.scale),
        ]
        return all(not wanted or found in wanted for wanted, found in pairs)


OTHER_SSIM = Doubt(
    "ssim-of-another-definition",
    "Table 1's SSIM fits scikit-image's default (7x7 uniform window), which lies about 0.010 "
    "above the SSIM of 11x11 Gaussian windows used everywhere else: the two do not compare.",
    tables=(1,),
    metrics=("ssim_y",),
)
DOUBTS: tuple[Doubt, ...] = (
    Doubt(
        "single-runs",
        "The paper states neither seeds nor the number of runs, and prints no spread: its "
        "differences are between single numbers.",
    ),
    OTHER_SSIM,
    Doubt(
        "drrn-below-bicubic",
        "Table 1's DRRN on the full set (29.42 dB) is below bicubic interpolation (29.56 dB) and "
        "2.6 dB below its published 32.05 dB: that training failed, and its rows say little "
        "of pruning.",
        tables=(1,),
        networks=("drrn",),
    ),
    Doubt(
        "short-training",
        "Table 1's networks are below their published figures (FSRCNN 31.09 against 31.53 dB, "
        "IDN 31.98 against 32.08, RDN 32.25 against 32.34, SwinIR 32.23 against 32.44): all are "
        "trained for a short time.",
        tables=(1,),
        networks=("fsrcnn", "idn", "rdn", "swinir"),
    ),
    Doubt(
        "copied-baselines",
        "Table 3's rows of the full set are the published figures of other work, not trained by "
        "the paper: pruned and full differ in the trainer as well as in the data.",
        tables=(3,),
        train_sets=("full",),
    ),
    Doubt(
        "two-reports-of-one-run",
        "Tables 2 and 3 both report SwinIR on 50% by loss at x2, 0.03, 0.05, 0.01 and 0.04 dB "
        "apart (Set5, Set14, BSD100, Urban100): as much as the gap between loss and Sobel.",
        tables=(2, 3),
        networks=("swinir",),
        train_sets=("des50", "sobel50"),
        scales=(2,),
    ),
    Doubt(
        "gain-at-x2-only",
        "Table 3's refined 50% minus full is -0.01 to +0.12 dB at x2, but -0.05 to 0.00 at x3 "
        "and -0.15 to +0.03 at x4: pruning helps there at x2 only.",
        tables=(3,),
        networks=("swinir",),
        train_sets=("refined50",),
    ),
    Doubt(
        "other-bsd100-files",
        "Table 3's SSIM of the 50% rows on BSD100 is 0.0007 to 0.0013 above the full rows, also "
        "where its PSNR is lower: probably measured on other files than the copied rows.",
        tables=(3,),
        networks=("swinir",),
        train_sets=("des50", "refined50"),
        benchmarks=("bsd100",),
        metrics=("ssim_y",),
    ),
)


@functools.cache
def paper_values() -> tuple[PaperValue, ...]:
    """Every number of Tables 1 to 3, in the order of the paper."""
    text = resources.files(__package__).joinpath("paper_values.csv").read_text(encoding="utf-8")
    return tuple(
        PaperValue(
            table=int(row["table"]),
            network=row["network"],
            scale=int(row["scale"]),
            train_set=row["train_set"],
            rule=row["rule"],
            score=row["score"],
            ratio=float(row["ratio"]),
            offset=float(row["offset"]),
            steps=int(row["steps"]) if row["steps"] else None,
            benchmark=row["benchmark"],
            metric=row["metric"],
            value=float(row["value"]),
        )
        for row in csv.DictReader(text.splitlines())
    )


def paper_value(
    *,
    table: int,
    network: str,
    rule: str,
    ratio: float,
    scale: int,
    benchmark: str,
    metric: str,
    offset: float = 0.0,
    step_share: float = 1.0,
    score: str = "loss",
) -> float | None:
    """The number that a table prints for one training set, or None where it prints none.

    Args:
        table: 1, 2 or 3.
        network: such as ``swinir``.
        rule: ``full``, ``asc`` or ``des``.
        ratio: share of N that is kept.
        scale: 2, 3 or 4.
        benchmark: such as ``bsd100``, in any case.
        metric: ``psnr_y`` or ``ssim_y``.
        offset: share of N that is skipped.
        step_share: steps over those of the full set. Tables 2 and 3 print no steps: every share
            finds their numbers.
        score: ``loss`` or ``sobel``; the full set needs none.

    Raises:
        InputError: the paper has no such table.
    """
    if table not in (1, 2, 3):
        raise InputError(f"the paper has Tables 1, 2 and 3 of figures, not {table}.")
    name = benchmark.lower()  # a folder of images keeps its capitals
    wanted = (table, network, rule, "" if rule == "full" else score, scale, name, metric)
    for each in paper_values():
        found = (each.table, each.network, each.rule, each.score, each.scale)
        if (
            (*found, each.benchmark, each.metric) == wanted
            and abs(each.ratio - ratio) < 1e-6
            and abs(each.offset - offset) < 1e-6
            and (each.step_share is None or abs(each.step_share - step_share) < 1e-3)
        ):
            return each.value
    return None


def doubts_about(values: Iterable[PaperValue]) -> tuple[Doubt, ...]:
    """The doubts that concern any of these numbers, in the order of ``DOUBTS``."""
    shown = tuple(values)
    return tuple(doubt for doubt in DOUBTS if any(map(doubt.concerns, shown)))
