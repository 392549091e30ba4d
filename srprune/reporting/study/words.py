"""Numbers and verdicts of a study as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from srprune.core.estimate import Estimate
from srprune.core.findings import MOST_SEEDS, Difference, Findings, Key, Row, Verdict
from srprune.core.results import METRICS
from srprune.images.benchmarks import title_of

PSNR, SSIM = METRICS
TITLES = {PSNR: "PSNR-Y", SSIM: "SSIM-Y"}
DIGITS = {PSNR: 2, SSIM: 4}  # of figures, as papers print them
FINER = {PSNR: 3, SSIM: 5}  # of differences: an interval shows on which side of zero it ends
NONE = "–"  # where there is no number
CONTROL = "random of the same ratio"


def number(value: float | None, digits: int) -> str:
    """A number with so many decimals; a dash for none."""
    if value is None or math.isnan(value):
        return NONE
    return f"{value:.{digits}f}".replace("-", "−").replace("inf", "∞")


def signed(value: float | None, digits: int) -> str:
    """A number with its sign; zero counts as positive."""
    if value is None or math.isnan(value):
        return NONE
    return f"{value:+z.{digits}f}".replace("-", "−").replace("inf", "∞")


def spread(value: Estimate, digits: int) -> str:
    """Mean and, for more than one value, standard deviation."""
    sd = "" if value.sd is None else f" ± {number(value.sd, digits)}"
    return number(value.mean, digits) + sd


def change(difference: Difference, digits: int) -> str:
    """A difference with its interval over seeds, if it has one."""
    own = difference.over_seeds
    return between(own.mean, own.interval, digits)


def between(mean: float, ends: tuple[float, float] | None, digits: int) -> str:
    """A mean difference with the ends of an interval, if there is one."""
    if ends is None:
        return signed(mean, digits)
    low, high = (signed(end, digits) for end in ends)
    return f"{signed(mean, digits)} [{low}, {high}]"


def p_value(p: float | None) -> str:
    """A p-value in two digits."""
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def verdict(difference: Difference, metric: str, margin_db: float) -> str:
    """What may be said of a difference, such as ``undecided: about 4 more seeds``."""
    if difference.over_seeds.n < 2:
        return "one seed: no verdict"
    if difference.verdict is Verdict.EQUIVALENT and metric == PSNR:
        return f"equivalent within {margin_db:g} dB"
    if difference.verdict is Verdict.UNDECIDED and difference.more_seeds is not None:
        return f"undecided: {more_seeds(difference.more_seeds)}"
    return difference.verdict.value


def more_seeds(most: int, least: int | None = None) -> str:
    """How many more it takes: ``about 4 more seeds``, ``about 2 to 5 more seeds``."""
    if most > MOST_SEEDS:
        return f"more than {MOST_SEEDS} more seeds"
    reach = "" if least in (None, most) else f"{least} to "
    return f"about {reach}{count(most, 'more seed')}"


def count(amount: int, noun: str) -> str:
    """An amount and its noun, in the singular for one."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def share(value: float) -> str:
    """A share of N as a percentage without needless zeros."""
    return f"{round(100 * value, 4):g}%"


def level(axis: str, name: str) -> str:
    """A level of an axis; steps get their commas."""
    return f"{int(name):,}" if axis.endswith("steps") and name.isdigit() else name


def grouping(findings: Findings) -> tuple[str, ...]:
    """The axes that make groups: all but the compared one."""
    return tuple(axis for axis in findings.axes if axis != findings.compare)


def where(levels: Mapping[str, str]) -> str:
    """Levels with their axes, such as ``network idn, steps 20,000``."""
    return ", ".join(f"{axis} {level(axis, name)}" for axis, name in levels.items())


def context(row: Row, axes: Iterable[str]) -> str:
    """Where a row stands on some axes."""
    return where({axis: row.levels[axis] for axis in axes})


def own_name(row: Row, findings: Findings) -> str:
    """The level of the compared axis."""
    return level(findings.compare, row.levels[findings.compare])


def full_name(row: Row, findings: Findings) -> str:
    """All levels of a row, such as ``network idn: des50``."""
    place = context(row, grouping(findings))
    return f"{place}: {own_name(row, findings)}" if place else own_name(row, findings)


def groups(findings: Findings) -> list[tuple[str, tuple[Row, ...]]]:
    """Rows by the levels of all axes but the compared one, each in the order of its axis."""
    axes = grouping(findings)
    order = {
        axis: {name: k for k, name in enumerate(names)} for axis, names in findings.axes.items()
    }
    rows = sorted(
        findings.rows,
        key=lambda row: tuple(order[a][row.levels[a]] for a in (*axes, findings.compare)),
    )
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(context(row, axes), []).append(row)
    return [(title, tuple(members)) for title, members in found.items()]


def baseline(findings: Findings) -> str:
    """The first level of the compared axis, which the others are compared with."""
    return level(findings.compare, findings.axes[findings.compare][0])


def metrics(findings: Findings) -> list[str]:
    """The metrics that any row has, PSNR-Y first."""
    found = {metric for row in findings.rows for _, metric in row.findings}
    return [metric for metric in METRICS if metric in found]


def title(key: Key) -> str:
    """A benchmark and metric, such as ``Set5 PSNR-Y``."""
    return f"{title_of(key[0])} {TITLES[key[1]]}"
