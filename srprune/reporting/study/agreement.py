"""Where a study and the paper's single runs say the same of a core-set, and where they do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from srprune.core.findings import Difference, Findings, Key, Row, Verdict
from srprune.images.benchmarks import title_of
from srprune.reporting.study import words
from srprune.reporting.study.words import DIGITS, FINER, PSNR

SIGNS = {Verdict.BETTER: 1, Verdict.WORSE: -1}
Pair = tuple[str, str, float, Difference]  # what minus what, benchmark, in the paper, and ours


def agreement(findings: Findings) -> list[str]:
    """How our verdicts stand to the differences in PSNR that the paper prints.

    Those to the baseline, and those that the study asks for by name, are counted apart, as their
    verdicts are given apart.

    Returns:
        One sentence that counts, then one for each difference where a verdict speaks against the
        paper, for either kind; none where the paper prints no such difference.
    """
    base = words.baseline(findings)
    asked = "between the two sides of a question asked beforehand"
    return [
        *_told(findings, _to_baseline(findings), f"to {base}"),
        *_told(findings, _contrasts(findings), asked),
    ]


def _told(findings: Findings, pairs: list[Pair], kind: str) -> list[str]:
    """The sentences on differences of one kind."""
    if not pairs:
        return []
    counts: Counter[str] = Counter()
    against = []
    for name, benchmark, printed, ours in pairs:
        found = _kind(printed, ours, findings.margin_db)
        counts[found] += 1
        if found == "otherwise":
            told = words.verdict(ours, PSNR, findings.margin_db)
            against.append(
                f"Otherwise than the paper: {name} on {title_of(benchmark)} is "
                f"{words.signed(printed, DIGITS[PSNR])} dB there and "
                f"{words.change(ours, FINER[PSNR])} dB here ({told})."
            )
    known = [f"{number} {found}" for found, number in sorted(counts.items())]
    total = words.count(len(pairs), "difference")
    return [
        f"The paper prints {total} {kind} that this study measures: "
        f"by our verdicts, {words.listed(known)}.",
        *against,
    ]


def _to_baseline(findings: Findings) -> list[Pair]:
    pairs = []
    base = words.baseline(findings)
    for _, rows in words.groups(findings):
        other = next((row for row in rows if words.own_name(row, findings) == base), None)
        for row in rows:
            ours = {key: finding.to_baseline for key, finding in row.findings.items()}
            pairs += _pairs(findings, row, other, ours)
    return pairs


def _contrasts(findings: Findings) -> list[Pair]:
    pairs = []
    for each in findings.contrasts:
        row, other = (
            next((row for row in findings.rows if row.levels == levels), None)
            for name in (each.level, each.other)
            for levels in [{**each.levels, findings.compare: name}]
        )
        pairs += _pairs(findings, row, other, each.differences)
    return pairs


def _pairs(
    findings: Findings,
    row: Row | None,
    other: Row | None,
    ours: Mapping[Key, Difference | None],
) -> list[Pair]:
    """The differences of one row to another for which the paper prints both rows."""
    if row is None or other is None:
        return []
    name = f"{words.full_name(row, findings)} minus {words.own_name(other, findings)}"
    pairs = []
    for benchmark in findings.benchmarks:
        key = (benchmark, PSNR)
        own, others, found = _paper(row, key), _paper(other, key), ours.get(key)
        if own is not None and others is not None and found is not None:
            pairs.append((name, benchmark, round(own - others, 4), found))
    return pairs


def _paper(row: Row, key: Key) -> float | None:
    return row.findings[key].paper if key in row.findings else None


def _kind(printed: float, ours: Difference, margin_db: float) -> str:
    """What our verdict says of a printed difference."""
    if ours.over_seeds.n < 2 or ours.verdict is Verdict.UNDECIDED:
        return "undecided"
    if ours.verdict is Verdict.EQUIVALENT:
        return "as the paper" if abs(printed) <= margin_db else "otherwise"
    return "as the paper" if printed * SIGNS[ours.verdict] > 0 else "otherwise"
