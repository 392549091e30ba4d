"""The pictures of the studies that come along: each has those of what it asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srprune.core.findings import Cost, Findings
from srprune.core.results import EvalRow
from srprune.reporting.study.pictures import plans
from srprune.reporting.study.series import sweeps
from srprune.stages.study_report import _axes_apart, _length
from srprune.studies.config import read_study
from srprune.studies.grid import Cell, cells_of
from srprune.studies.observation import Observation, expected
from srprune.studies.summary import summarise

STUDIES = Path(__file__).parents[2] / "configs" / "studies"


def made_up(cell: Cell) -> Observation:
    """The run of a cell as if it were finished."""
    rng = np.random.default_rng([*cell.name.encode()])
    row = EvalRow("m", "t", cell.seed, cell.config.scale, "set5", "a.png", "psnr_y", 30, "rgb8@1")
    steps, ratio = round(100 * _length(cell)), cell.config.pruning.ratio
    cost = Cost(round(1000 * ratio), round(1e6 * ratio), steps, round(1000 * ratio), steps, None)
    curve = tuple((step, 30.0) for step in (steps // 2, steps))
    return replace(
        expected(cell),
        rows=(replace(row, value=30 + rng.normal(0, 0.1)),),
        cost=cost,
        curve=curve if cell.config.validation.benchmark else (),
    )


def findings(file: str, budget: str | None) -> Findings:
    study = read_study(STUDIES / f"{file}.yaml", budget)
    axes = {axis: tuple(levels) for axis, levels in study.axes.items()}
    runs = [made_up(cell) for cell in cells_of(study)]
    return Findings(
        name=file,
        title=study.title,
        question=study.question,
        protocol="rgb8@1",
        benchmarks={"set5": 1},
        axes=axes,
        compare=study.compare,
        margin_db=study.margin_db,
        bicubic={},
        rows=summarise(runs, axes=axes, compare=study.compare),
        validation="set5",
        pool="",
        machines=(),
        commands=(),
        num_runs=len(runs),
        seconds=0,
        joules=None,
        apart=_axes_apart(study),
    )


PICTURES = {
    "budget_sweep": "difference_map psnr_ratio psnr_steps learning_curves gains cost",
    "distill": "psnr_ratio psnr_offset learning_curves gains cost",
    "distill_sr_term": "learning_curves gains cost",
    "evidence_x2": "psnr_ratio psnr_offset learning_curves gains cost",
    "offset_sweep": "psnr_ratio psnr_offset learning_curves gains cost",
    "ratio_sweep": "psnr_ratio learning_curves gains cost",
    "scorer_transfer": "psnr_ratio learning_curves gains cost",
    "table1_bsd100_x2": "psnr_ratio psnr_steps learning_curves gains cost",
    "table2_sobel": "learning_curves gains cost",
    "table3_swinir": "psnr_offset learning_curves gains cost",
    "wbsr": "learning_curves gains cost",
    "wbsr_dynamic": "learning_curves gains",  # its costs are FLOPs, in the table
}


@pytest.mark.parametrize("budget", [None, "cpu"])
@pytest.mark.parametrize("file", [path.stem for path in sorted(STUDIES.glob("*.yaml"))])
def test_each_study_that_comes_along_has_the_pictures_of_what_it_asks(
    file: str, budget: str | None
) -> None:
    stems = [each.stem for each in plans(findings(file, budget))]
    kinds = dict.fromkeys("gains" if stem.startswith("gains") else stem for stem in stems)
    assert " ".join(kinds) == PICTURES[file]


def test_every_rule_of_the_evidence_is_a_line_over_the_ratio() -> None:
    """Though one of them stands there twice, with other settings, and one needs them at 50%."""
    panels = sweeps(findings("evidence_x2", "cpu"), "ratio")
    assert [each.title for each in panels] == [
        "network fsrcnn", "network idn", "network msrresnet",
    ]  # fmt: skip
    for panel in panels:
        assert {each.label: [row.ratio for row in each.rows] for each in panel.series} == {
            name: [0.1, 0.25, 0.5]
            for name in (
                "random", "asc mse", "des mse", "des mse offset 5%", "des sobel",
                "clustered sobel", "adaptive",
            )
        }  # fmt: skip
        adaptive = next(each for each in panel.series if each.label == "adaptive")
        assert [row.settings for row in adaptive.rows] == ["", "", ""]
