"""Where curves cross, in sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from srprune.core.estimate import Estimate
from srprune.core.findings import Difference, Findings, Row, Verdict
from srprune.reporting.study.claims import claims
from srprune.reporting.study.crossings import crossings

BETTER, WORSE, UNDECIDED = Verdict.BETTER, Verdict.WORSE, Verdict.UNDECIDED


def curve(budget: Findings, *told: tuple[float, Verdict]) -> Findings:
    """The study with the full set and one core-set, whose differences on Set5 are these."""
    rows: list[Row] = []
    given = iter(told)
    for row in budget.rows:
        if row.levels["train_set"] == "full":
            rows.append(row)
        if row.levels["train_set"] == "des25":
            mean, verdict = next(given)
            own = Estimate(mean, 3, 0.01, (mean - 0.01, mean + 0.01))
            found = Difference(own, None, 0.1, 0.1, 0.1, verdict, None)
            key = ("set5", "psnr_y")
            rows.append(replace(row, findings={key: replace(row.findings[key], to_baseline=found)}))
    return replace(budget, rows=tuple(rows))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            [(0.2, BETTER), (0.01, UNDECIDED), (-0.1, UNDECIDED), (-0.2, WORSE)],
            "last ahead at 5,000 steps (decided at 1,000) and first behind at 20,000 (decided at "
            "100,000)",
        ),
        (
            [(0.2, BETTER), (-0.1, UNDECIDED), (0.1, UNDECIDED), (-0.2, UNDECIDED)],
            "last ahead at 20,000 steps (decided at 1,000) and first behind at 5,000 (nowhere "
            "decided)",
        ),
        (
            [(0.2, BETTER), (0.2, BETTER), (0.1, UNDECIDED), (0.0, Verdict.EQUIVALENT)],
            "no crossing up to 100,000 steps: ahead throughout (last decided at 5,000)",
        ),
        (
            [(-0.1, UNDECIDED), (-0.2, WORSE), (-0.2, WORSE), (-0.2, WORSE)],
            "no crossing up to 100,000 steps: behind throughout (first decided at 5,000)",
        ),
        ([(0.0, Verdict.EQUIVALENT)] * 4, "no difference up to 100,000 steps"),
    ],
)
def test_a_core_set_is_told_by_its_last_lead_and_its_first_lag(
    budget: Findings, told: list[tuple[float, Verdict]], expected: str
) -> None:
    study = curve(budget, *told)
    assert crossings(study) == [f"des25 against full at equal steps: on Set5 {expected}."]
    assert crossings(study)[0] in claims(study)


def test_every_core_set_of_every_network_has_its_sentence(budget: Findings) -> None:
    assert len(crossings(budget)) == 10
    axes = {"network": ("fsrcnn", "idn"), **budget.axes}
    rows = [
        replace(row, levels={"network": name, **row.levels})
        for name in axes["network"]
        for row in budget.rows
    ]
    told = crossings(replace(budget, axes=axes, rows=tuple(rows), apart=("network",)))
    assert len(told) == 20
    assert told[0].startswith("network fsrcnn: des5 against full at equal steps: on Set5 ")
    assert "; on BSD100 " in told[0]


def test_without_a_sweep_over_steps_nothing_crosses(findings: Findings, budget: Findings) -> None:
    assert crossings(findings) == []
    only = [row for row in budget.rows if row.levels["steps"] == "5000"]
    assert crossings(replace(budget, rows=tuple(only))) == []
    assert crossings(replace(budget, compare="steps")) == []
