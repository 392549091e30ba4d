"""Where the curves of a core-set and of the baseline cross, if a study sweeps the steps."""

from __future__ import annotations

from collections.abc import Sequence

from srprune.core.findings import Difference, Findings, Row, Verdict
from srprune.images.benchmarks import title_of
from srprune.reporting.study import words
from srprune.reporting.study.series import as_long, steps
from srprune.reporting.study.words import PSNR

Points = Sequence[tuple[int, Difference]]  # by steps, rising


def crossings(findings: Findings) -> list[str]:
    """One sentence a core-set that is trained at several numbers of steps, as the baseline is.

    It tells the last steps at which the core-set is ahead in PSNR-Y and the first at which it is
    behind, by the sign of the mean difference and by verdict: a curve may cross more than once.
    """
    sentences = []
    for grid in as_long(findings):
        for ratio in grid.ratios:
            rows = [grid.rows[at, ratio] for at in grid.steps if (at, ratio) in grid.rows]
            if len({words.own_name(row, findings) for row in rows}) > 1:
                continue  # what is compared is the steps themselves
            told = [
                f"on {title_of(benchmark)} {_told(points)}"
                for benchmark in findings.benchmarks
                if len(points := _points(rows, benchmark)) > 1
            ]
            if told:
                name, base = _name(rows, findings), words.baseline(findings)
                sentences.append(f"{name} against {base} at equal steps: {'; '.join(told)}.")
    return sentences


def _points(rows: Sequence[Row], benchmark: str) -> Points:
    found = [
        (steps(row), row.findings[benchmark, PSNR].to_baseline)
        for row in rows
        if (benchmark, PSNR) in row.findings
    ]
    return [(at, difference) for at, difference in found if difference is not None]


def _told(points: Points) -> str:
    ahead = [at for at, each in points if each.over_seeds.mean > 0]
    behind = [at for at, each in points if each.over_seeds.mean < 0]
    better = [at for at, each in points if each.verdict is Verdict.BETTER]
    worse = [at for at, each in points if each.verdict is Verdict.WORSE]
    if ahead and behind:
        return (
            f"last ahead at {ahead[-1]:,} steps ({_decided(better[-1:])}) and "
            f"first behind at {behind[0]:,} ({_decided(worse[:1])})"
        )
    if not (ahead or behind):
        return f"no difference up to {points[-1][0]:,} steps"
    sure = _decided(better[-1:], "last ") if ahead else _decided(worse[:1], "first ")
    side = "ahead" if ahead else "behind"
    return f"no crossing up to {points[-1][0]:,} steps: {side} throughout ({sure})"


def _decided(at: Sequence[int], which: str = "") -> str:
    return f"{which}decided at {at[0]:,}" if at else "nowhere decided"


def _name(rows: Sequence[Row], findings: Findings) -> str:
    """Of a core-set, with the levels that all its rows share."""
    axes = [
        axis
        for axis in words.grouping(findings)
        if len({row.levels[axis] for row in rows}) == 1 and len(findings.axes[axis]) > 1
    ]
    place, name = words.context(rows[0], axes), words.own_name(rows[0], findings)
    return f"{place}: {name}" if place else name
