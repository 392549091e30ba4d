"""The report of a study, written: four formats, the runs and the pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from srprune.core.artifact import write_text
from srprune.core.errors import MissingDependency
from srprune.core.findings import Findings
from srprune.core.progress import Progress, silent
from srprune.reporting.study.content import content
from srprune.reporting.study.latex import latex
from srprune.reporting.study.long_csv import csv_text
from srprune.reporting.study.markdown import markdown
from srprune.reporting.study.page import page
from srprune.reporting.study.pictures import draw_pictures
from srprune.reporting.study.runs_csv import runs_csv


@dataclass(frozen=True)
class StudyReport:
    """What was written.

    Attributes:
        files: report.md, report.tex, report.csv, report.html, runs.csv and the pictures.
        missing: what could not be made, and why.
    """

    files: tuple[Path, ...]
    missing: tuple[str, ...]


def write_study_report(
    findings: Findings, folder: Path, *, progress: Progress = silent
) -> StudyReport:
    """Write the report of a study; the same findings give the same bytes.

    Without matplotlib the report has no pictures, and says so in ``missing``.

    Args:
        findings: of the study.
        folder: gets the files, each written whole or not at all; pictures go to ``pictures/``.
        progress: told after each picture.

    Raises:
        StorageError: a file cannot be written.
    """
    missing: tuple[str, ...] = ()
    try:
        pictures = draw_pictures(findings, folder / "pictures", progress)
    except MissingDependency as error:
        pictures, missing = (), (str(error),)
    whole = content(findings, pictures)
    texts = {
        "report.md": markdown(whole),
        "report.tex": latex(whole),
        "report.csv": csv_text(findings),
        "report.html": page(whole),
        "runs.csv": runs_csv(findings),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    drawn = [each.path.with_suffix(end) for each in pictures for end in (".png", ".pdf")]
    return StudyReport((*(folder / name for name in texts), *drawn), missing)
