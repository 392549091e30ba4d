"""A study, and a run, that make the synthesised sets which they train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

pytest.importorskip("diffusers")
from srprune.core.errors import UnknownName
from srprune.core.workspace import Workspace
from srprune.distill.provenance import DistilledSet
from srprune.reporting.study.tables import costs
from srprune.stages.chain import resolve, run_chain
from srprune.stages.evaluate import find_benchmarks
from srprune.stages.study import Setting, prepare, run_cells
from srprune.stages.study_plan import open_study
from srprune.stages.study_report import findings
from srprune.studies.record import Record

DIT = """
network: {layers: 1, heads: 2, head_width: 8, patch: 4}
latents: {kind: pixels}
steps: 2
batch: 4
validation: {every: 2, each: 1, sampling_steps: 2}
"""
SET = """
select: {score: sobel, ratio: 0.5}
categorise: {features: descriptor, categories: 2}
finetune: {config: dit.yaml, set: {steps: 3}}
synthesise: {ratio: 0.5, sampling_steps: 2, guidance: 1}
"""
TRAIN = {
    "model_args": {"d": 6, "s": 4, "m": 1},
    "budget.steps": 2,
    "batch": 2,
    "lr_crop": 12,
    "validation.benchmark": None,
}
DISTILLED = {"rule": "distilled", "ratio": 0.25, "offset": 0, "args": {"set": "made"}}
RANDOM = {"rule": "random", "ratio": 0.25, "offset": 0}


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Configs in the current folder, and an image to measure on."""
    monkeypatch.chdir(tmp_path)
    Path("dit.yaml").write_text(DIT)
    Path("set.yaml").write_text(SET)
    Path("held").mkdir()
    flat = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(flat).resize((36, 36)).save("held/one.png")
    return str(tmp_path / "held")


def write(name: str, content: dict[str, Any]) -> Path:
    Path(name).write_text(yaml.safe_dump(content, sort_keys=False))
    return Path(name)


def test_a_study_makes_its_set_once_and_tells_what_it_cost(images: Path, held: str) -> None:
    study = {
        "title": "Synthesised against random",
        "images": str(images),
        "extract": {"size": 48, "stride": 24},
        "distilled": {"made": {"config": "set.yaml"}},
        "set": {"config": "fsrcnn_x2.yaml", **TRAIN},
        "axes": {"training set": {"random": {"pruning": RANDOM}, "made": {"pruning": DISTILLED}}},
        "compare": "training set",
        "seeds": [0, 1],
        "evaluate": {"benchmarks": [held]},
    }
    workspace = Workspace(Path("workspace"))
    plan = open_study(write("study.yaml", study), workspace)
    told: list[str] = []
    setting = Setting(workspace, [], find_benchmarks([held], []), "cpu", tell=told.append)
    prepare(plan.study, plan.cells, setting)
    run_cells(plan, plan.cells, setting)
    made = DistilledSet.read(workspace.distilled("made"))
    assert "generator made: 3 steps" in told
    records = {cell.label: Record.read(workspace.run(cell.name)) for cell in plan.cells}
    assert records["made, seed 0"].set_seconds == records["made, seed 1"].set_seconds > 0
    assert records["random, seed 0"].set_seconds is None
    assert records["made, seed 0"].num_patches == records["random, seed 0"].num_patches
    table = costs(findings(plan, workspace, setting.benchmarks, command="srprune"))
    assert table.columns[-1].name == "set, s"
    prepare(plan.study, plan.cells, setting)
    assert DistilledSet.read(workspace.distilled("made")) == made


def test_a_set_that_a_study_does_not_make_is_unknown(images: Path, held: str) -> None:
    study = {
        "title": "No set",
        "images": str(images),
        "set": {"config": "fsrcnn_x2.yaml", **TRAIN},
        "axes": {"training set": {"made": {"pruning": DISTILLED}}},
        "compare": "training set",
        "evaluate": {"benchmarks": [held]},
    }
    with pytest.raises(UnknownName, match=r"unknown synthesised set 'pruning\.args\.set: made'"):
        open_study(write("study.yaml", study), Workspace(Path("workspace")))


def test_a_run_makes_its_set_and_compares(images: Path, held: str) -> None:
    run = {
        "images": str(images),
        "extract": {"size": 48, "stride": 24},
        "distilled": {"made": {"config": "set.yaml"}},
        "train": {"config": "fsrcnn_x2.yaml", "set": TRAIN},
        "arms": {"random": RANDOM, "made": DISTILLED},
        "evaluate": {"benchmarks": [held]},
    }
    told: list[str] = []
    resolved = resolve(write("run.yaml", run))
    workspace = Workspace(Path("workspace"))
    run_chain(resolved, workspace, roots=[], device="cpu", tell=told.append)
    first, second = (line.split(", ")[2] for line in told[-2:])
    assert first == second  # as many images as patches
    assert (workspace.reports / "comparison.md").exists()
