"""What holds, in sentences made from verdicts alone, and what a reader must know besides."""

from __future__ import annotations

import math
from collections.abc import Mapping

from srprune.core.findings import Difference, Findings, Key, Row, Verdict
from srprune.images.benchmarks import title_of
from srprune.reporting.study import words
from srprune.reporting.study.agreement import agreement
from srprune.reporting.study.crossings import crossings
from srprune.reporting.study.sources import doubts
from srprune.reporting.study.words import PSNR

Compared = tuple[Row, dict[str, Difference]]  # by benchmark, in PSNR-Y


def claims(findings: Findings) -> list[str]:
    """What the verdicts on PSNR-Y say: one sentence over all, then one a row.

    A sentence never says more than the verdicts: a difference that is undecided stays so. Where
    curves cross is told by sign, too, since a crossing is where nothing is decided.
    """
    sentences = []
    for asked in findings.contrasts:
        place = words.where(asked.levels)
        subject = (
            f"{asked.name} ({f'{place}: ' if place else ''}{asked.level} against {asked.other})"
        )
        of_psnr = {name: one for (name, metric), one in asked.differences.items() if metric == PSNR}
        if of_psnr:
            sentences.append(f"{subject[0].upper()}{subject[1:]}: {_told(of_psnr, findings)}.")
    sentences += crossings(findings)
    for other, differences in _comparisons(findings):
        if not differences:
            continue
        every = [each for _, of_row in differences for each in of_row.values()]
        if len(differences) > 1:
            sentences.append(f"All rows against {other}: {_counts(every, findings)}.")
        for row, of_row in differences:
            subject = words.full_name(row, findings)
            sentences.append(f"{subject} against {other}: {_told(of_row, findings)}.")
    sentences += agreement(findings)
    return sentences or ["Nothing can be said yet: no two rows have a finished seed in common."]


def notes(findings: Findings) -> list[str]:
    """What is missing, what diverged, how far pairs reach, and what is doubtful in the paper."""
    found: list[str] = []
    for row in findings.rows:
        name = words.full_name(row, findings)
        if row.missing:
            seeds = words.listed([str(seed) for seed in row.missing])
            plural = "s" if len(row.missing) > 1 else ""
            verb = "have" if plural else "has"
            found.append(f"{name}: seed{plural} {seeds} {verb} not been run.")
        found += [
            f"{name}: seed {run.seed} diverged ({run.reason}); it is in no mean."
            for run in row.diverged
        ]
        if not row.seeds:
            found.append(f"{name}: no seed is finished, so it has no figures.")
        if len(row.seeds) == 1:
            found.append(f"{name}: one seed, so neither interval nor verdict.")
        pairs = {
            difference.over_seeds.n
            for finding in row.findings.values()
            for difference in (finding.to_baseline,)
            if difference is not None
        }
        if pairs and min(pairs) < len(row.seeds):
            told = f"{min(pairs)} of {words.count(len(row.seeds), 'seed')}"
            found.append(f"{name}: {told} in common with {words.baseline(findings)}.")
    for title, rows in words.groups(findings):
        steps = {row.cost.steps for row in rows if row.cost is not None}
        if findings.compare != "steps" and len(steps) > 1:
            where = f"{title}: steps" if title else "Steps"
            found.append(
                f"{where} differ between rows: such a difference measures the training as well "
                "as the data."
            )
    found += _below_bicubic(findings)
    return found + [f"On the paper's numbers: {sentence}" for sentence in doubts(findings)]


def _below_bicubic(findings: Findings) -> list[str]:
    """Groups whose baseline has not learned more than bicubic: that is a budget of first steps."""
    told = []
    for title, rows in words.groups(findings):
        base = rows[0]
        names = [
            title_of(name)
            for name in findings.benchmarks
            if (name, PSNR) in base.findings
            and base.findings[name, PSNR].value.mean
            < findings.bicubic.get((base.scale, name, PSNR), -math.inf)
        ]
        if names and words.own_name(base, findings) == words.baseline(findings):
            place = f"{title}: " if title else ""
            told.append(
                f"{place}{words.baseline(findings)} is below bicubic on {words.listed(names)}: "
                "so short a training says how fast a network starts, not how good it gets."
            )
    return told


def _comparisons(findings: Findings) -> list[tuple[str, list[Compared]]]:
    """What rows are compared with, and the differences in PSNR-Y by row and benchmark."""
    ordered = [row for _, rows in words.groups(findings) for row in rows]

    def gathered(control: bool) -> list[Compared]:
        return [
            (row, of_row)
            for row in ordered
            if (
                of_row := {
                    benchmark: found
                    for benchmark in findings.benchmarks
                    if (found := _difference(row, (benchmark, PSNR), control))
                }
            )
        ]

    return [(words.baseline(findings), gathered(False)), (words.CONTROL, gathered(True))]


def _difference(row: Row, key: Key, control: bool) -> Difference | None:
    if (finding := row.findings.get(key)) is None:
        return None
    return finding.to_control if control else finding.to_baseline


def _counts(differences: list[Difference], findings: Findings) -> str:
    """How often each verdict was given, such as ``of 10 differences, 3 better and 7 undecided``."""
    judged = [each for each in differences if each.over_seeds.n > 1]
    told = []
    for verdict in Verdict:
        amount = sum(each.verdict is verdict for each in judged)
        if amount:
            told.append(f"{amount} {_word(verdict, findings)}")
    if single := len(differences) - len(judged):
        told.append(f"{single} of one seed, without a verdict")
    return f"of {words.count(len(differences), 'difference')}, {words.listed(told)}"


def _told(of_row: Mapping[str, Difference], findings: Findings) -> str:
    """The verdicts of one row, benchmark by benchmark."""
    judged = {name: each for name, each in of_row.items() if each.over_seeds.n > 1}
    if not judged:
        return "one seed: no verdict"
    told = []
    for verdict in Verdict:
        names = [title_of(name) for name, each in judged.items() if each.verdict is verdict]
        if not names:
            continue
        where = words.listed(names)
        if len(of_row) > 1:
            where = f"{len(names)} of {len(of_row)} benchmarks ({where})"
        told.append(f"{_word(verdict, findings)} on {where}")
        more = [each.more_seeds for each in judged.values() if each.more_seeds is not None]
        if verdict is Verdict.UNDECIDED and more:
            told[-1] += f", {words.more_seeds(max(more), min(more))}"
    return "; ".join(told)


def _word(verdict: Verdict, findings: Findings) -> str:
    if verdict is Verdict.EQUIVALENT:
        return f"equivalent within {findings.margin_db:g} dB"
    return verdict.value
