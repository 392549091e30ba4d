"""Columns of tables: numbers as arrays, text as runs, and what of them a fingerprint is made of.

A table of 10^8 patches names each image dozens of times in a row. One Python string a row would
take more memory than all numbers together, so text is held as runs of equal neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]

BLOCK = 1 << 20  # rows at a time, as in a row group of Parquet: no temporary is a whole column
TIMES = 1 << 12  # a value is repeated at most so often at a time
RUNS = 1 << 6  # so many runs at a time


@dataclass(frozen=True)
class Text:
    """A column of text.

    Attributes:
        values: of each run of equal neighbours.
        counts_R: (R,) int64, rows of each run.
    """

    values: Sequence[str]
    counts_R: Counts

    @classmethod
    def of(cls, column: Array) -> Text:
        """An array of strings, as runs."""
        starts = run_starts(column)
        counts_R = np.diff(np.r_[starts, len(column)])
        return cls([str(value) for value in column[starts]], counts_R)

    def __len__(self) -> int:
        return int(self.counts_R.sum())

    @property
    def starts(self) -> Counts:
        """(R,) row at which each run begins."""
        return np.cumsum(self.counts_R) - self.counts_R

    def part(self, first: int, end: int) -> Text:
        """The rows from ``first`` up to ``end``."""
        ends = np.cumsum(self.counts_R)
        runs = slice(
            int(np.searchsorted(ends, first, side="right")),
            int(np.searchsorted(ends, end, side="left")) + 1,
        )
        counts_R = np.minimum(ends[runs], end) - np.maximum(self.starts[runs], first)
        return Text(self.values[runs], counts_R)

    def at(self, rows: Counts) -> list[str]:
        """Values of some rows."""
        runs = np.searchsorted(self.starts, rows, side="right") - 1
        return [self.values[run] for run in runs.tolist()]

    def array(self) -> Array:
        """(N,) one Python string a row."""
        return np.repeat(np.array(self.values, dtype=object), self.counts_R)

    def coded(self) -> tuple[list[str], npt.NDArray[np.int32]]:
        """Each different value once, in the order of appearance, and (N,) which one a row has."""
        places = {value: place for place, value in enumerate(dict.fromkeys(self.values))}
        codes_R = np.fromiter((places[v] for v in self.values), np.int32, len(self.values))
        return list(places), np.repeat(codes_R, self.counts_R)


Column = Array | Text | range
Columns = Mapping[str, Column]


class Pieces(NamedTuple):
    """Bytes that are never all in memory."""

    num_bytes: int
    pieces: Iterable[bytes | memoryview]


def run_starts(column: Array) -> Counts:
    """(R,) rows that differ from the one before; the first row always does."""
    if not len(column):
        return np.empty(0, dtype=np.int64)
    differs = np.empty(len(column), dtype=bool)
    differs[0] = True
    np.not_equal(column[1:], column[:-1], out=differs[1:], casting="unsafe")
    return np.flatnonzero(differs)


def content(column: Column) -> tuple[str, Pieces]:
    """Kind and bytes of a column, whatever it is held in; a range is int64.

    Text counts as its values with a zero between them, numbers as their little-endian bytes.
    """
    if isinstance(column, range):
        return "<i8", Pieces(8 * len(column), _of_range(column))
    if not isinstance(column, Text):
        if column.dtype.kind not in "OUT":
            little = np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<"))
            flat = little.reshape(-1).view(np.uint8)
            return little.dtype.str, Pieces(flat.nbytes, [flat.data])
        column = Text.of(column)
    lengths = map(len, map(str.encode, column.values))
    lengths_R = np.fromiter(lengths, np.int64, len(column.values))
    num_bytes = int((lengths_R * column.counts_R).sum()) + max(len(column) - 1, 0)
    return "text", Pieces(num_bytes, _of_text(column))


def _of_range(numbers: range) -> Iterator[memoryview]:
    for start in range(0, len(numbers), BLOCK):
        part = numbers[start : start + BLOCK]
        yield np.arange(part.start, part.stop, part.step, dtype="<i8").view(np.uint8).data


def _of_text(column: Text) -> Iterator[bytes]:
    """The values with a zero between them, in pieces that are worth letting go of the lock for."""
    parts_R = -(-column.counts_R // TIMES)  # a run is cut where it is very long
    run_P = np.repeat(np.arange(len(parts_R)), parts_R)
    before_P = np.arange(len(run_P)) - (np.cumsum(parts_R) - parts_R)[run_P]
    times_P = np.minimum(column.counts_R[run_P] - TIMES * before_P, TIMES)
    for start in range(0, len(run_P), RUNS):
        part = slice(start, start + RUNS)
        runs = zip(run_P[part].tolist(), times_P[part].tolist(), strict=True)
        piece = "".join([("\0" + column.values[run]) * times for run, times in runs]).encode()
        yield piece if start else piece[1:]  # no zero before the first value
