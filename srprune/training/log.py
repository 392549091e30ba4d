"""The log of a run, cut back on resume: CSV files for any spreadsheet, scalars for TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srprune.core.artifact import storage_errors, write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FLUSH_SECONDS = 10  # a watcher sees new points this soon; TensorBoard itself reloads every 30 s


class Log:
    """What a run leaves behind for people: CSV files, and TensorBoard's where it is installed."""

    def __init__(self, folder: Path, step: int) -> None:
        """Open the logs; what was written after ``step`` is dropped."""
        self._folder, self._step = folder, step
        columns = ("step", "lr", "loss", "seconds", "patches_per_s")
        self._train = CsvLog(folder / "log.csv", columns, step)
        self._validation: CsvLog | None = None
        self._adaptive: CsvLog | None = None
        self._scalars = Scalars(folder, step)

    def train(self, done: int, lr: float, loss: float, seconds: float, pace: float) -> None:
        """A row of ``log.csv``."""
        self._train.add(done, f"{lr:.6g}", f"{loss:.8g}", f"{seconds:.2f}", f"{pace:.1f}")
        self._scalars.add(done, "train", {"lr": lr, "loss": loss, "patches_per_s": pace})

    def validation(self, done: int, figures: Mapping[str, float]) -> None:
        """A row of ``validation.csv``, whose columns are the names of the figures."""
        if self._validation is None:
            columns = ("step", *figures)
            self._validation = CsvLog(self._folder / "validation.csv", columns, self._step)
        self._validation.add(done, *(f"{value:.6f}" for value in figures.values()))
        self._scalars.add(done, "validation", figures)

    def adaptive(self, done: int, figures: Mapping[str, float]) -> None:
        """A row of ``adaptive.csv``, whose columns are the names of the figures."""
        if self._adaptive is None:
            path = self._folder / "adaptive.csv"
            self._adaptive = CsvLog(path, ("step", *figures), self._step)
        self._adaptive.add(done, *(f"{value:.8g}" for value in figures.values()))
        self._scalars.add(done, "adaptive", figures)

    def close(self) -> None:
        """Write out what is left."""
        self._scalars.close()


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


class Scalars:
    """Writes points for TensorBoard, into its own folder; silent where it is not installed."""

    def __init__(self, folder: Path, step: int) -> None:
        """Open ``folder / "tensorboard"``; points after ``step`` are of an interrupted attempt.

        TensorBoard drops them when it reads: the files of the earlier attempt stay.
        """
        self._folder = folder / "tensorboard"
        self._writer: SummaryWriter | None = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except Exception:  # not installed, or broken: no reason to end a training
            return
        with storage_errors(self._folder):
            self._writer = SummaryWriter(
                self._folder, purge_step=step + 1, flush_secs=FLUSH_SECONDS
            )

    def add(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Add a point to the curve ``group/name`` of each value, such as ``train/loss``."""
        if self._writer:
            with storage_errors(self._folder):
                for name, value in values.items():
                    self._writer.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Write what is left; nothing may be added afterwards."""
        if self._writer:
            with storage_errors(self._folder):
                self._writer.close()


def _lines(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
