"""A table as data: what Markdown, LaTeX and HTML show in their own ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from srprune.core.findings import Verdict
from srprune.reporting.study.marks import Mark


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: plain, in Unicode; renderers escape it.
        mark: of the number that ``text`` begins with.
        verdict: that colours the cell where there are colours.
        sign: refers to a note below the table.
    """

    text: str
    mark: Mark | None = None
    verdict: Verdict | None = None
    sign: str = ""

    @property
    def parts(self) -> tuple[str, str]:
        """The number that a mark belongs to, and the rest of the text."""
        head, space, rest = self.text.partition(" ")
        return head, space + rest


@dataclass(frozen=True)
class Column:
    """Head of a column: ``group`` spans all neighbours that share it; empty for none."""

    name: str
    group: str = ""
    left: bool = False  # words stand left, numbers right

    @property
    def heading(self) -> str:
        """The group and the name as one."""
        return f"{self.group} {self.name}".strip()


@dataclass(frozen=True)
class Block:
    """Lines under a heading of their own; empty for none."""

    title: str
    lines: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: short, for labels and anchors.
        title: one line.
        columns: heads, from the left.
        num_heads: how many columns name the line; they return where a table is split.
        blocks: lines, each as long as ``columns``.
        notes: sentences below it.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    num_heads: int
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()


def spans(columns: tuple[Column, ...]) -> Iterator[tuple[str, int, int]]:
    """Neighbours of one group: its name, the first column, and the column after the last."""
    start = 0
    for end in range(1, len(columns) + 1):
        if end == len(columns) or columns[end].group != columns[start].group:
            yield columns[start].group, start, end
            start = end
