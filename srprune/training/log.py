"""The log of a run: CSV files that any spreadsheet opens, cut back on resume."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from srprune.core.artifact import storage_errors, write_text


class CsvLog:
    """Appends rows whose first column is the step."""

    def __init__(self, path: Path, columns: Sequence[str], step: int) -> None:
        """Open a log; rows after ``step`` come from an interrupted attempt and are dropped."""
        self._path = path
        rows: list[list[str]] = []
        if step and path.exists():
            with open(path, newline="", encoding="utf-8") as file:
                whole = [row for row in csv.reader(file) if len(row) == len(columns)]
            rows = [row for row in whole[1:] if int(row[0]) <= step]
        write_text(path, _lines([list(columns), *rows]))

    def add(self, *values: object) -> None:
        """Append one row."""
        with storage_errors(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write(_lines([list(values)]))


def _lines(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
