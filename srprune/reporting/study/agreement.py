"""Where a study and the paper's single runs say the same of a core-set, and where they do not."""

from __future__ import annotations

from collections import Counter

from srprune.core.findings import Difference, Findings, Row, Verdict
from srprune.images.benchmarks import title_of
from srprune.reporting.study import words
from srprune.reporting.study.words import DIGITS, FINER, PSNR

SIGNS = {Verdict.BETTER: 1, Verdict.WORSE: -1}


def agreement(findings: Findings) -> list[str]:
    """How our verdicts stand to the differences in PSNR that the paper prints.

    Returns:
        One sentence that counts, then one for each difference where a verdict speaks against the
        paper; none where the paper prints no such difference.
    """
    counts: Counter[str] = Counter()
    against = []
    for _, rows in words.groups(findings):
        base = next(
            (r for r in rows if words.own_name(r, findings) == words.baseline(findings)), None
        )
        for row in rows:
            for benchmark in findings.benchmarks:
                printed, ours = _pair(row, base, benchmark)
                if printed is None or ours is None:
                    continue
                kind = _kind(printed, ours, findings.margin_db)
                counts[kind] += 1
                if kind == "otherwise":
                    told = words.verdict(ours, PSNR, findings.margin_db)
                    against.append(
                        f"Otherwise than the paper: {words.full_name(row, findings)} minus "
                        f"{words.baseline(findings)} on {title_of(benchmark)} is "
                        f"{words.signed(printed, DIGITS[PSNR])} dB there and "
                        f"{words.change(ours, FINER[PSNR])} dB here ({told})."
                    )
    if not counts:
        return []
    known = [f"{number} {kind}" for kind, number in sorted(counts.items())]
    total = words.count(sum(counts.values()), "difference")
    return [
        f"The paper prints {total} to {words.baseline(findings)} that this study measures: "
        f"by our verdicts, {words.listed(known)}.",
        *against,
    ]


def _pair(row: Row, base: Row | None, benchmark: str) -> tuple[float | None, Difference | None]:
    """The paper's difference and ours, where there are both."""
    key = (benchmark, PSNR)
    if base is None or key not in row.findings or key not in base.findings:
        return None, None
    own, other = row.findings[key].paper, base.findings[key].paper
    if own is None or other is None:
        return None, None
    return round(own - other, 4), row.findings[key].to_baseline


def _kind(printed: float, ours: Difference, margin_db: float) -> str:
    """What our verdict says of a printed difference."""
    if ours.over_seeds.n < 2 or ours.verdict is Verdict.UNDECIDED:
        return "undecided"
    if ours.verdict is Verdict.EQUIVALENT:
        return "as the paper" if abs(printed) <= margin_db else "otherwise"
    return "as the paper" if printed * SIGNS[ours.verdict] > 0 else "otherwise"
