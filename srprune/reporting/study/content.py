"""What a report says, in the order in which it says it, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from srprune.core.findings import Findings
from srprune.core.progress import duration
from srprune.core.provenance import version
from srprune.images.benchmarks import title_of
from srprune.reporting.study import words
from srprune.reporting.study.claims import claims, notes
from srprune.reporting.study.table import Table
from srprune.reporting.study.tables import tables


@dataclass(frozen=True)
class Picture:
    """A picture that was drawn.

    Attributes:
        path: of the PNG; a PDF of the same name lies beside it.
        title: one line.
        note: how to read it, a sentence or more.
    """

    path: Path
    title: str
    note: str


@dataclass(frozen=True)
class Content:
    """A report.

    Attributes:
        title: of the study.
        question: what it asks; may be empty.
        facts: what was measured and on what, one sentence each.
        claims: what holds.
        tables: in order.
        pictures: in order.
        notes: what a reader must know.
        commands: what was called.
    """

    title: str
    question: str
    facts: tuple[str, ...]
    claims: tuple[str, ...]
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]
    notes: tuple[str, ...]
    commands: tuple[str, ...]


def content(findings: Findings, pictures: tuple[Picture, ...]) -> Content:
    """Put a report together."""
    return Content(
        title=findings.title,
        question=findings.question,
        facts=tuple(_facts(findings)),
        claims=tuple(claims(findings)),
        tables=tuple(tables(findings)),
        pictures=pictures,
        notes=tuple(notes(findings)),
        commands=findings.commands,
    )


def _facts(findings: Findings) -> list[str]:
    finished = sum(len(row.seeds) for row in findings.rows)
    diverged = sum(len(row.diverged) for row in findings.rows)
    missing = sum(len(row.missing) for row in findings.rows)
    scales = sorted({row.scale for row in findings.rows})
    benchmarks = [
        f"{title_of(name)} ({words.count(number, 'image')})"
        for name, number in findings.benchmarks.items()
    ]
    runs = words.count(findings.num_runs, "finished run")
    if finished != findings.num_runs:  # measured in several ways
        runs = f"{words.count(finished, 'measurement')} of {runs}"
    facts = [
        f"Study {findings.name}, protocol {findings.protocol}, "
        f"scale {words.listed([f'x{scale}' for scale in scales] or ['unknown'])}, "
        f"on {words.listed(benchmarks)}.",
        f"Training pool: {findings.pool}.",
        f"{runs} in {words.count(len(findings.rows), 'row')}; "
        f"{diverged} diverged, {missing} not run.",
    ]
    if findings.seconds:
        joules = findings.joules
        energy = f" and {joules / 3.6e6:.3g} kWh, where it was counted" if joules else ""
        facts.append(f"Training took {duration(findings.seconds)}{energy}.")
    if findings.machines:
        facts.append(f"Run on {words.listed(findings.machines)}.")
    return [*facts, f"Reported by srprune {version()}."]
