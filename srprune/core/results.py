"""EvalTable: one row a model, benchmark, image and metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from srprune.core.artifact import Header, read_table, write_table
from srprune.core.errors import ArtifactError, InputError

METRICS = ("psnr_y", "ssim_y")  # both: higher is better


@dataclass(frozen=True)
class EvalRow:
    """One measurement.

    Attributes:
        model: name of the model or run.
        train_set: name of the core-set that it was trained on, ``full``, or ``none``.
        seed: seed of the training run; -1 where there was no training.
        scale: 2, 3 or 4.
        benchmark: name of the benchmark, such as ``set5``.
        image: path of the image relative to the benchmark's folder.
        metric: ``psnr_y`` (dB) or ``ssim_y`` (at most 1).
        value: the figure; PSNR of identical images is infinite.
        protocol: name and version, such as ``rgb8@1``.
    """

    model: str
    train_set: str
    seed: int
    scale: int
    benchmark: str
    image: str
    metric: str
    value: float
    protocol: str


@dataclass(frozen=True)
class EvalTable:
    """Measurements of one protocol, with the header of their file."""

    rows: tuple[EvalRow, ...]
    header: Header

    @property
    def protocol(self) -> str:
        """The protocol of all rows."""
        return self.rows[0].protocol

    @classmethod
    def write(
        cls,
        path: Path,
        rows: Sequence[EvalRow],
        *,
        parents: Mapping[str, str],
        params: Mapping[str, Any],
        made: Mapping[str, Any],
    ) -> EvalTable:
        """Write rows atomically.

        Raises:
            InputError: rows of two protocols in one table.
        """
        check_one_protocol(rows)
        columns = {
            field.name: np.array(
                [getattr(row, field.name) for row in rows],
                dtype={"str": object, "int": np.int64, "float": np.float64}[str(field.type)],
            )
            for field in fields(EvalRow)
        }
        header = write_table(path, "EvalTable", columns, parents=parents, params=params, made=made)
        return cls(tuple(rows), header)

    @classmethod
    def read(cls, path: Path) -> EvalTable:
        """Read a table.

        Raises:
            MissingArtifact: there is no such file.
            ArtifactError: it is damaged or of another kind.
        """
        header, columns = read_table(path, "EvalTable")
        names = [field.name for field in fields(EvalRow)]
        if list(columns) != names:
            raise ArtifactError(f"{path} must have the columns {', '.join(names)}.")
        rows = tuple(
            EvalRow(**dict(zip(columns, values, strict=True)))
            for values in zip(*(column.tolist() for column in columns.values()), strict=True)
        )
        return cls(rows, header)


def scaled(name: str, scale: int) -> str:
    """A model's name with its scale in it; tables are called so."""
    return name if f"_x{scale}" in name else f"{name}_x{scale}"


def results_name(model: str, benchmarks: Sequence[str], protocol: str) -> str:
    """Name of the table of a model, named with its scale, on some benchmarks."""
    return f"{model}__{'_'.join(benchmarks)}__{protocol.replace('@', '_')}"


def check_one_protocol(rows: Iterable[EvalRow]) -> None:
    """Refuse to put figures of two protocols into one table.

    Raises:
        InputError: more than one protocol.
    """
    protocols = sorted({row.protocol for row in rows})
    if len(protocols) > 1:
        raise InputError(
            f"figures of the protocols {' and '.join(protocols)} do not compare and cannot "
            "stand in one table. Evaluate all models with one --protocol."
        )


def benchmark_means(rows: Iterable[EvalRow]) -> dict[tuple[str, str], float]:
    """Mean over images by (benchmark, metric): the mean of per-image values, as published."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        values.setdefault((row.benchmark, row.metric), []).append(row.value)
    return {key: float(np.mean(column)) for key, column in values.items()}
