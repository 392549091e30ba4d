"""Rows of a study as lines of a plot: what varies along a line, and what makes a panel."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from srprune.core.findings import Findings, Row
from srprune.reporting.study import words

CONTROL = "random"  # the rule that others are set beside
Coordinate = Callable[[Row], float]
Line = tuple[str, ...]  # rule, score, then what else tells a line from others


@dataclass(frozen=True)
class Series:
    """Rows along a line, in the order of the coordinate; one alone is a point."""

    label: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Panel:
    """Lines that belong together.

    Attributes:
        title: levels of the axes that no line explains; empty where there are none.
        series: lines.
        full: the full set, if it is no line itself.
    """

    title: str
    series: tuple[Series, ...]
    full: Row | None


@dataclass(frozen=True)
class Grid:
    """Rows of one rule over steps and ratio, each trained as long as its baseline.

    Attributes:
        title: levels of the axes that the rest does not explain, and the rule.
        rows: by steps and ratio.
    """

    title: str
    rows: Mapping[tuple[int, float], Row]

    @property
    def steps(self) -> list[int]:
        """The steps, rising."""
        return sorted({each for each, _ in self.rows})

    @property
    def ratios(self) -> list[float]:
        """The ratios, rising."""
        return sorted({ratio for _, ratio in self.rows})


@dataclass(frozen=True)
class Subject:
    """What a row is trained on and for how long, apart from the axes that say so.

    Attributes:
        rule, score, settings, ratio, offset: of the core-set.
        length: ``equal epochs``, a share of the steps of the full set, or empty for as many.
    """

    rule: str
    score: str
    settings: str
    ratio: float
    offset: float
    length: str


def steps(row: Row) -> int:
    """Optimizer updates; 0 where no seed is finished."""
    return row.cost.steps if row.cost else 0


def sweeps(findings: Findings, name: str) -> list[Panel]:
    """Panels in which ``ratio``, ``offset`` or ``steps`` varies along at least one line.

    An axis of the study makes panels unless the rows' own facts explain its level: networks do,
    an axis that merely names core-sets does not.

    Args:
        findings: of the study.
        name: what varies along a line.
    """
    rows = [(row, subject) for row, subject in _subjects(findings) if row.findings]
    coordinate: Coordinate = steps if name == "steps" else lambda row: float(getattr(row, name))
    along_steps = name == "steps"

    def explaining(row: Row, subject: Subject) -> Hashable:
        return (subject, steps(row)) if along_steps else subject

    def line(subject: Subject) -> Line:
        shares = {"ratio": subject.ratio, "offset": subject.offset}
        fixed = [words.share(value) for key, value in shares.items() if key != name]
        return (subject.rule, subject.score, *fixed, "" if along_steps else subject.length)

    axes = _panel_axes(findings, [(row, explaining(row, s)) for row, s in rows if row.ratio < 1])
    panels: dict[str, list[tuple[Row, Subject]]] = {}
    for row, subject in rows:
        panels.setdefault(words.context(row, axes), []).append((row, subject))
    found = []
    for title, members in panels.items():
        pairs = [(row, line(subject), subject.settings) for row, subject in members]
        if not along_steps:
            pairs = [each for each in pairs if each[0].ratio < 1]
        lines = _lines(pairs, coordinate)
        drawn = {key: _along(each, coordinate) for key, each in lines.items()}
        # beside lines, the control may stand alone
        drawn = {k: each for k, each in drawn.items() if len(each) > 1 or k[0] == CONTROL}
        if any(len(each) > 1 for each in drawn.values()):
            full = None if along_steps else next((r for r, _ in members if r.ratio == 1), None)
            labels = _labels(list(drawn), name)
            series = tuple(Series(labels[key], each) for key, each in drawn.items())
            found.append(Panel(title, series, full))
    return found


def grids(findings: Findings) -> list[Grid]:
    """Rules whose core-sets are trained at several steps and ratios; gaps are allowed."""
    return [
        grid
        for grid in as_long(findings)
        if min(len(grid.steps), len(grid.ratios)) > 1
        and 2 * len(grid.rows) > len(grid.steps) * len(grid.ratios)
    ]


def as_long(findings: Findings) -> list[Grid]:
    """Rules whose core-sets are trained as long as the full set, at however many steps."""
    rows = [
        (row, subject)
        for row, subject in _subjects(findings)
        if row.findings and row.ratio < 1 and row.cost and not subject.length
    ]
    axes = _panel_axes(findings, [(row, (subject, steps(row))) for row, subject in rows])
    panels: dict[str, list[tuple[Row, Line, str]]] = {}
    for row, subject in rows:
        rule = (subject.rule, subject.score, words.share(subject.offset), "")
        panels.setdefault(words.context(row, axes), []).append((row, rule, subject.settings))
    cells = {
        (context, rule): {_place(row): row for row in reversed(found)}
        for context, members in panels.items()
        for rule, found in _lines(members, _place).items()
    }
    labels = _labels([rule for _, rule in cells], "ratio")
    return [
        Grid(", ".join(filter(None, [context, labels[rule]])), rows)
        for (context, rule), rows in cells.items()
    ]


def _place(row: Row) -> tuple[int, float]:
    return steps(row), row.ratio


def _lines(
    rows: Sequence[tuple[Row, Line, str]], place: Callable[[Row], Hashable]
) -> dict[Line, list[Row]]:
    """Rows by their lines, which take the settings of the rule in the third place.

    Settings tell lines apart only where a line would have two rows at one place: a rule may need
    other settings at another ratio, and is one rule for that.

    Args:
        rows: each with its line and the settings of its rule.
        place: where a row stands on its line.
    """
    together: dict[Line, list[tuple[Row, str]]] = {}
    for row, line, settings in rows:
        together.setdefault(line, []).append((row, settings))
    lines: dict[Line, list[Row]] = {}
    for (rule, score, *rest), members in together.items():
        crowded = len({place(row) for row, _ in members}) < len(members)
        for row, settings in members:
            key = (rule, score, settings if crowded else "", *rest)
            lines.setdefault(key, []).append(row)
    return lines


def _panel_axes(findings: Findings, facts: Sequence[tuple[Row, Hashable]]) -> list[str]:
    """The axes whose level does not follow from what is known of a row."""
    return [
        axis
        for axis in findings.axes
        if (axis in findings.apart and len({row.levels[axis] for row, _ in facts}) > 1)
        or not _explained([(fact, row.levels[axis]) for row, fact in facts])
    ]


def _subjects(findings: Findings) -> list[tuple[Row, Subject]]:
    pairs = []
    for _, rows in words.groups(findings):
        full = next((row for row in rows if row.ratio == 1 and row.cost), None)
        for row in rows:
            length = _length(row, full)
            subject = Subject(row.rule, row.score, row.settings, row.ratio, row.offset, length)
            pairs.append((row, subject))
    return pairs


def _length(row: Row, full: Row | None) -> str:
    """How long a row is trained, beside the full set of its group."""
    if full is None or row.cost is None:
        return ""
    part = steps(row) / max(1, steps(full))
    if abs(part - 1) < 0.01:
        return ""
    return "equal epochs" if abs(part - row.ratio) < 0.01 else f"{words.share(part)} of the steps"


def _explained(pairs: Sequence[tuple[Hashable, str]]) -> bool:
    """Whether rows that are alike always have the same level."""
    levels: dict[Hashable, set[str]] = {}
    for fact, level in pairs:
        levels.setdefault(fact, set()).add(level)
    return bool(levels) and all(len(each) == 1 for each in levels.values())


def _along(rows: Sequence[Row], coordinate: Coordinate) -> tuple[Row, ...]:
    """Rows in the order of the coordinate, one for each of its values."""
    first: dict[float, Row] = {}
    for row in rows:
        first.setdefault(coordinate(row), row)
    return tuple(first[x] for x in sorted(first))


def _labels(keys: Sequence[Line], name: str) -> dict[Line, str]:
    """What each line is called: the rule, and whatever else differs between the lines."""
    fixed = [key for key in ("ratio", "offset") if key != name]
    parts_of = zip(*(key for key in keys if key[0] != "full"), strict=True)
    # a score is named only beside another: that of random is empty
    varies = [
        len(set(parts) - {""} if k == 1 else set(parts)) > 1 for k, parts in enumerate(parts_of)
    ]
    labels = {}
    for key in keys:
        rule, score, settings, *shares, length = key
        parts = [rule]
        if rule != "full":
            parts += [score] if score and varies[1] else []
            parts += [settings] if settings else []
            named = zip(fixed, shares, varies[3:], strict=False)
            parts += [
                value if what == "ratio" else f"offset {value}"
                for what, value, shown in named
                if shown and (what == "ratio" or value != words.share(0))
            ]
        parts += [f"({length})"] if length and varies[-1] else []
        labels[key] = " ".join(parts)
    return labels
