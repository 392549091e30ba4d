"""The report as one HTML file that needs neither network nor program."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from importlib import resources

from srprune.reporting.canvas import DPI
from srprune.reporting.study.content import Content, Picture
from srprune.reporting.study.marks import Mark
from srprune.reporting.study.table import Cell, Column, Table, spans

MARKS = {None: "{}", Mark.BEST: "<b>{}</b>", Mark.SECOND: "<u>{}</u>"}
CSS_PIXELS = 96  # an inch


def page(content: Content) -> str:
    """The whole report; pictures stand inside it."""
    style = resources.files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"
    sections = [("holds", "What holds", _items(content.claims))]
    sections += [(each.name, each.title, _table(each)) for each in content.tables]
    sections += [
        (f"picture_{each.path.stem}", each.title, _picture(each)) for each in content.pictures
    ]
    if content.notes:
        sections.append(("notes", "Notes", _items(content.notes)))
    if content.commands:
        commands = f'<pre tabindex="0">{escape(chr(10).join(content.commands))}</pre>'
        sections.append(("commands", "Commands", commands))
    links = [f'<a href="#{name}">{escape(title)}</a>' for name, title, _ in sections]
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(content.title)}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        "<main>",
        f"<h1>{escape(content.title)}</h1>",
        *([f"<p>{escape(content.question)}</p>"] if content.question else []),
        f'<div class="faint">{_items(content.facts)}</div>',
        f'<nav aria-label="Sections">{" ".join(links)}</nav>',
    ]
    for name, title, body in sections:
        lines.append(f'<section id="{name}">\n<h2>{escape(title)}</h2>\n{body}\n</section>')
    return "\n".join([*lines, "</main>", "</body>", "</html>"]) + "\n"


def _items(sentences: tuple[str, ...]) -> str:
    return "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in sentences) + "</ul>"


def _picture(picture: Picture) -> str:
    data = picture.path.read_bytes()
    width = int.from_bytes(data[16:20], "big") * CSS_PIXELS // DPI  # IHDR
    source = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
    alt = escape(picture.title)
    return (
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{alt}">'
        f'<img src="{source}" alt="{alt}" width="{width}"></div>'
        f'<figcaption class="note">{escape(picture.note)}</figcaption></figure>'
    )


def _table(table: Table) -> str:
    edges = {start for group, start, _ in spans(table.columns) if group}
    lines = [*_head(table.columns, edges), "<tbody>"]
    for block in table.blocks:
        if block.title:
            rest = f'<td colspan="{len(table.columns) - 1}"></td>'
            lines.append(f'<tr class="group"><th>{escape(block.title)}</th>{rest}</tr>')
        for line in block.lines:
            cells = [
                _cell(cell, column, k in edges, "th" if k == 0 else "td")
                for k, (cell, column) in enumerate(zip(line, table.columns, strict=True))
            ]
            lines.append(f"<tr>{''.join(cells)}</tr>")
    notes = [f'<p class="note">{escape(note)}</p>' for note in table.notes]
    return "\n".join(
        [
            f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.title)}">',
            "<table>",
            *lines,
            "</tbody>",
            "</table>",
            "</div>",
            *notes,
        ]
    )


def _head(columns: tuple[Column, ...], edges: set[int]) -> list[str]:
    lines = ["<thead>"]
    grouped = any(column.group for column in columns)
    if grouped:
        cells = []
        for group, start, end in spans(columns):
            if group:
                cells.append(f'<th class="span edge" colspan="{end - start}">{escape(group)}</th>')
            else:
                cells += ["<th></th>"] * (end - start)
        lines.append(f"<tr>{''.join(cells)}</tr>")
    names = [
        _tag("th", escape(column.name), column, k in edges) for k, column in enumerate(columns)
    ]
    return [*lines, f"<tr>{''.join(names)}</tr>", "</thead>"]


def _cell(cell: Cell, column: Column, edge: bool, tag: str) -> str:
    head, rest = map(escape, cell.parts)
    sign = f"<sup>{cell.sign}</sup>" if cell.sign else ""
    text = f"{MARKS[cell.mark].format(head)}{rest}{sign}"
    return _tag(tag, text, column, edge, cell.verdict.value if cell.verdict else "")


def _tag(tag: str, text: str, column: Column, edge: bool, verdict: str = "") -> str:
    """A cell with its classes."""
    names = ["left"] * column.left + ["edge"] * edge + [verdict] * bool(verdict)
    return f'<{tag} class="{" ".join(names)}">{text}</{tag}>' if names else f"<{tag}>{text}</{tag}>"
