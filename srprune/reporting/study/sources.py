"""Which of the paper's numbers stand in a study, and so which doubts belong below it."""

from __future__ import annotations

from srprune.core.findings import Findings, Key, Row
from srprune.reporting.paper import OTHER_SSIM, PaperValue, doubts_about, paper_values


def sources(row: Row, key: Key) -> tuple[PaperValue, ...]:
    """The printed numbers that a row's number of the paper may be.

    A finding holds the number alone. What is known of the row (scale, ratio, offset, rule, and
    the network where it is a level) leaves one number, or a few that are printed alike.

    Args:
        row: of a study.
        key: benchmark and metric.
    """
    finding = row.findings.get(key)
    if finding is None or finding.paper is None:
        return ()
    benchmark, metric = key
    alike = [
        each
        for each in paper_values()
        if (each.benchmark, each.metric, each.scale) == (benchmark.lower(), metric, row.scale)
        and each.value == finding.paper
        and abs(each.ratio - row.ratio) < 1e-6
        and abs(each.offset - row.offset) < 1e-6
    ]
    levels = set(row.levels.values())
    named = [each for each in alike if each.network in levels]
    return tuple(named or alike)


def other_ssim(row: Row, key: Key) -> bool:
    """Whether the paper's number is an SSIM of another definition than ours."""
    return any(OTHER_SSIM.concerns(each) for each in sources(row, key))


def doubts(findings: Findings) -> list[str]:
    """One sentence for each doubt about a number of the paper that the study shows."""
    shown = [each for row in findings.rows for key in row.findings for each in sources(row, key)]
    return [doubt.sentence for doubt in doubts_about(shown)]
