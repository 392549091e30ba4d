"""The tables as LaTeX: one document that needs no package but booktabs."""

from __future__ import annotations

from collections.abc import Iterator

from srprune.reporting.study.content import Content
from srprune.reporting.study.marks import Mark
from srprune.reporting.study.table import Block, Cell, Column, Table, spans

WIDTH = 145  # characters of a table that fit across the page
HEIGHT = 34  # lines of a table that fit down the page
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "\"": r"\textquotedbl{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # else \\ takes one that begins a line
    "−": "$-$", "±": r"$\pm$", "Δ": r"$\Delta$", "×": r"$\times$", "∞": r"$\infty$",
    "†": r"$^\dagger$", "‡": r"$^\ddagger$", "–": "--",
}  # fmt: skip
MARKS = {None: "{}", Mark.BEST: r"\textbf{{{}}}", Mark.SECOND: r"\underline{{{}}}"}
HEAD = r"""% Compiles as it stands; for a paper, copy a table: it needs \usepackage{booktabs}.
\documentclass[10pt]{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs}
\setlength{\paperwidth}{297mm}
\setlength{\paperheight}{210mm}
\ifdefined\pdfpagewidth\pdfpagewidth=\paperwidth\pdfpageheight=\paperheight\fi
\setlength{\hoffset}{-1in}\setlength{\voffset}{-1in}
\setlength{\oddsidemargin}{12mm}\setlength{\textwidth}{273mm}
\setlength{\topmargin}{8mm}\setlength{\headheight}{0mm}\setlength{\headsep}{0mm}
\setlength{\textheight}{186mm}
"""


def latex(content: Content) -> str:
    """The whole report but its pictures."""
    parts = [HEAD + rf"\title{{{escape(content.title)}}}" + "\n" + r"\author{}\date{}"]
    parts += [r"\begin{document}" + "\n" + r"\maketitle"]
    parts += [escape(content.question)] if content.question else []
    parts += [_items("", content.facts), _items("What holds", content.claims)]
    for table in content.tables:
        parts += [_table(table, part, number) for number, part in enumerate(_parts(table))]
        parts.append(r"\clearpage")  # LaTeX keeps only so many floats waiting
    parts += [_items("Notes", content.notes)] if content.notes else []
    return "\n\n".join([*parts, r"\end{document}"]) + "\n"


def escape(text: str) -> str:
    """Plain text that LaTeX shows as it is."""
    return "".join(SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


def _items(title: str, sentences: tuple[str, ...]) -> str:
    body = "\n".join(rf"\item {escape(sentence)}" for sentence in sentences)
    head = rf"\section*{{{title}}}" + "\n" if title else ""
    return f"{head}\\begin{{itemize}}\n{body}\n\\end{{itemize}}"


def _parts(table: Table) -> Iterator[tuple[tuple[int, ...], tuple[Block, ...]]]:
    """Columns and blocks of the tables that one is split into, so that each fits the page."""
    widths = [
        max(len(line[k].text) for block in table.blocks for line in block.lines)
        for k in range(len(table.columns))
    ]
    widths = [
        max(width, len(column.name)) + 2
        for width, column in zip(widths, table.columns, strict=True)
    ]
    heads = tuple(range(table.num_heads))
    pages, room = [heads], WIDTH - sum(widths[: table.num_heads])
    used = 0
    for _, start, end in spans(table.columns[table.num_heads :]):
        columns = tuple(range(table.num_heads + start, table.num_heads + end))
        width = sum(widths[k] for k in columns)
        if used and used + width > room:
            pages.append(heads)
            used = 0
        pages[-1] += columns
        used += width
    for page in pages:
        for blocks in _shelves(table.blocks):
            yield page, blocks


def _shelves(blocks: tuple[Block, ...]) -> Iterator[tuple[Block, ...]]:
    """Blocks by page; one that is longer than a page is cut."""
    cut = [
        Block(block.title, block.lines[start : start + HEIGHT])
        for block in blocks
        for start in range(0, len(block.lines), HEIGHT)
    ]
    shelf: tuple[Block, ...] = ()
    for block in cut:
        if shelf and sum(len(each.lines) + 1 for each in (*shelf, block)) > HEIGHT + 1:
            yield shelf
            shelf = ()
        shelf += (block,)
    yield shelf


def _table(table: Table, part: tuple[tuple[int, ...], tuple[Block, ...]], number: int) -> str:
    chosen, blocks = part
    columns = tuple(table.columns[k] for k in chosen)
    sides = "".join("l" if column.left else "r" for column in columns)
    again = f" (part {number + 1})" if number else ""
    lines = [
        r"\begin{table}[p]\centering\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{escape(table.title + again)}}}",
        rf"\label{{tab:{table.name}{f'-{number + 1}' if number else ''}}}",
        rf"\begin{{tabular}}{{@{{}}{sides}@{{}}}}",
        r"\toprule",
        *_head(columns),
        r"\midrule",
    ]
    for place, block in enumerate(blocks):
        if block.title:
            lines += [r"\addlinespace"] if place else []
            title = rf"\emph{{{escape(block.title)}}}"
            lines.append(rf"\multicolumn{{{len(columns)}}}{{@{{}}l}}{{{title}}} \\")
        lines += [_line([_cell(line[k]) for k in chosen]) for line in block.lines]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip {escape(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"])


def _head(columns: tuple[Column, ...]) -> list[str]:
    """One line of names, below a line of groups where there are any."""
    names = _line([escape(column.name) for column in columns])
    if not any(column.group for column in columns):
        return [names]
    groups, rules = [], ""
    for group, start, end in spans(columns):
        if group:
            groups.append(rf"\multicolumn{{{end - start}}}{{c}}{{{escape(group)}}}")
            rules += rf"\cmidrule(lr){{{start + 1}-{end}}}"
        else:
            groups += [""] * (end - start)
    return [_line(groups), rules, names]


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    head, rest = cell.parts
    space = " " if rest else ""
    return MARKS[cell.mark].format(escape(head)) + space + escape(rest + cell.sign)
