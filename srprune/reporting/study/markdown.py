"""The report as Markdown."""

from __future__ import annotations

import re

from srprune.reporting.study.content import Content
from srprune.reporting.study.marks import Mark
from srprune.reporting.study.table import Cell, Table

# <ins> is what GitHub lets through for an underline
MARKS = {None: ("", ""), Mark.BEST: ("**", "**"), Mark.SECOND: ("<ins>", "</ins>")}


def markdown(content: Content) -> str:
    """The whole report; pictures are named relative to its folder."""
    parts = [f"# {escape(content.title)}"]
    parts += [escape(content.question)] if content.question else []
    parts += [items(content.facts), "## What holds", items(content.claims)]
    parts += [table(each) for each in content.tables]
    for picture in content.pictures:
        name = picture.path.name
        parts += [f"## {escape(picture.title)}", f"![{escape(picture.title)}](pictures/{name})"]
        parts += [escape(picture.note)]
    parts += ["## Notes", items(content.notes)] if content.notes else []
    if content.commands:
        parts += ["## Commands", "```\n" + "\n".join(content.commands) + "\n```"]
    return "\n\n".join(parts) + "\n"


def table(of: Table) -> str:
    """One table under its heading; a group of lines begins with a line of its own."""
    head = [escape(column.heading) for column in of.columns]
    rule = [":---" if column.left else "---:" for column in of.columns]
    lines = [head, rule]
    for block in of.blocks:
        if block.title:
            lines.append([f"*{escape(block.title)}*", *[""] * (len(of.columns) - 1)])
        lines += [[_cell(cell) for cell in line] for line in block.lines]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n\n".join([f"## {escape(of.title)}", body, *map(escape, of.notes)])


def items(sentences: tuple[str, ...]) -> str:
    """A list."""
    return "\n".join(f"- {escape(sentence)}" for sentence in sentences)


def escape(text: str) -> str:
    """Plain text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _cell(cell: Cell) -> str:
    head, rest = map(escape, cell.parts)
    before, after = MARKS[cell.mark]
    rest = f" {rest}" if rest else ""
    return f"{before}{head}{after}{rest}{cell.sign}"
