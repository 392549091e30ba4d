"""A study, and a run, that make the synthesised sets which they train on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

pytest.importorskip("diffusers")
from srprune.core.errors import ArtifactMismatch, InputError, Stopped, UnknownName
from srprune.core.lock import exclusive
from srprune.core.workspace import Workspace
from srprune.distill.provenance import DistilledSet
from srprune.reporting.study.tables import costs
from srprune.stages.chain import resolve, run_chain
from srprune.stages.distill.road import seconds_of
from srprune.stages.evaluate import find_benchmarks
from srprune.stages.extract import read_index
from srprune.stages.study import run_cells
from srprune.stages.study_plan import open_study
from srprune.stages.study_prepare import prepare
from srprune.stages.study_report import findings
from srprune.stages.study_setting import Setting
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
    run_cells(plan, plan.cells, setting)
    assert DistilledSet.read(workspace.distilled("made")) == made
    assert told[-1].startswith("nothing was left to do; 4 of 4 cells, ")


def test_while_another_process_makes_the_set_cells_without_it_are_run(
    images: Path, held: str
) -> None:
    workspace = Workspace(Path("workspace"))
    plan = open_study(study_of(images, held, levels={"random": {"pruning": RANDOM}}), workspace)
    made, random = (workspace.run(cell.name) for cell in plan.cells)
    told: list[str] = []
    setting = Setting(
        workspace,
        [],
        find_benchmarks([held], []),
        "cpu",
        tell=told.append,
        stopping=lambda: told[-1:] == ["waiting for other processes: made, seed 0"],
    )
    prepare(plan.study, plan.cells, setting)
    with exclusive(workspace.at_work("set_made")), pytest.raises(Stopped):
        run_cells(plan, plan.cells, setting)
    assert Record.read(random).state == "finished"
    assert not made.exists()
    assert not workspace.generators()
    run_cells(plan, plan.cells, replace(setting, stopping=lambda: False))
    assert Record.read(made).state == "finished"


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


def study_of(images: Path, held: str, **changes: Any) -> Path:
    """A study of one cell, which trains on a synthesised set, and of further ``levels``."""
    levels = {"made": {"pruning": {**DISTILLED, **changes.pop("pruning", {})}}}
    levels |= changes.pop("levels", {})
    content = {
        "title": "One set",
        "images": str(images),
        "extract": {"size": 48, "stride": 24},
        "distilled": {"made": {"config": "set.yaml", **changes}},
        "set": {"config": "fsrcnn_x2.yaml", **TRAIN},
        "axes": {"training set": levels},
        "compare": "training set",
        "seeds": [0],
        "evaluate": {"benchmarks": [held]},
    }
    return write("study.yaml", content)


@pytest.mark.parametrize(
    ("change", "generator_stays"),
    [({"synthesise.sampling_steps": 3}, True), ({"finetune.set": {"steps": 4}}, False)],
)
def test_a_set_whose_road_was_edited_is_made_again_on_demand(
    images: Path, held: str, change: dict[str, Any], generator_stays: bool
) -> None:
    workspace = Workspace(Path("workspace"))
    plan = open_study(study_of(images, held), workspace)
    setting = Setting(workspace, [], find_benchmarks([held], []), "cpu")
    prepare(plan.study, plan.cells, setting)
    run_cells(plan, plan.cells, setting)
    made = DistilledSet.read(workspace.distilled("made"))
    plan = open_study(study_of(images, held, set=change), workspace)
    prepare(plan.study, plan.cells, setting)
    with pytest.raises(ArtifactMismatch, match=r"delete the folder; .* with study, --edited\.$"):
        run_cells(plan, plan.cells, setting)
    assert DistilledSet.read(workspace.distilled("made")) == made
    remake = replace(setting, edited=True)
    prepare(plan.study, plan.cells, remake)
    run_cells(plan, plan.cells, remake)
    again = DistilledSet.read(workspace.distilled("made"))
    assert again.fingerprint != made.fingerprint
    assert generator_stays == (
        again.header.parents["generator"] == made.header.parents["generator"]
    )
    (cell,) = plan.cells
    assert Record.read(workspace.run(cell.name)).parents["distilled"] == again.fingerprint


@pytest.mark.parametrize("score", ["sobel", "round_trip"])
def test_a_set_of_edited_images_is_made_again_on_demand(
    images: Path, held: str, score: str
) -> None:
    workspace = Workspace(Path("workspace"))
    plan = open_study(study_of(images, held, set={"select.score": score}), workspace)
    setting = Setting(workspace, [], find_benchmarks([held], []), "cpu", edited=True)
    prepare(plan.study, plan.cells, setting)
    run_cells(plan, plan.cells, setting)
    before = DistilledSet.read(workspace.distilled("made")).header.parents["patches"]
    edited = min(images.glob("*.png"))
    Image.fromarray(np.asarray(Image.open(edited))[::-1]).save(edited)
    prepare(plan.study, plan.cells, setting)
    run_cells(plan, plan.cells, setting)
    after = DistilledSet.read(workspace.distilled("made")).header.parents["patches"]
    assert before != after == read_index(workspace).fingerprint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"set": {"synthesise.sampling_steps": 5000}},
            r"set\.yaml has synthesise\.sampling_steps 5000, .* dit\.yaml 1000 timesteps\. Choose",
        ),
        (
            {"pruning": {"ratio": 0.75}},
            r"^the cell 'made, seed 0' has pruning\.ratio 0\.75, and the synthesised set made will",
        ),
    ],
)
def test_faults_of_a_set_show_when_a_study_is_opened(
    images: Path, held: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        open_study(study_of(images, held, **changes), Workspace(Path("workspace")))


FEW = {"synthesise.ratio": None, "synthesise.per_category": 1}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"set": FEW}, r"^the cell 'made, seed 0' has .* set made will have 2 images\. Choose at"),
        (
            {"set": {"synthesise.ratio": 1e-6}, "pruning": {"ratio": 1e-6}},
            r"^distilled\.made, synthesise: ratio 1e-06 of .* patches is no image",
        ),
    ],
)
def test_faults_of_its_size_show_when_the_patches_are_known(
    images: Path, held: str, changes: dict[str, Any], words: str
) -> None:
    workspace = Workspace(Path("workspace"))
    plan = open_study(study_of(images, held, **changes), workspace)
    setting = Setting(workspace, [], find_benchmarks([held], []), "cpu")
    with pytest.raises(InputError, match=words):
        prepare(plan.study, plan.cells, setting)
    assert not (workspace.root / "generators").exists()


def test_an_arm_that_wants_more_than_its_set_is_refused(images: Path, held: str) -> None:
    run: dict[str, Any] = {
        "images": str(images),
        "extract": {"size": 48, "stride": 24},
        "distilled": {"made": {"config": "set.yaml"}},
        "train": {"config": "fsrcnn_x2.yaml", "set": TRAIN},
        "arms": {"random": RANDOM, "most": {**DISTILLED, "ratio": 0.75, "args": {}}},
        "evaluate": {"benchmarks": [held]},
    }
    with pytest.raises(InputError, match=r"^arms\.most has pruning\.ratio 0\.75, and the synthes"):
        resolve(write("run.yaml", run))
    run["distilled"]["made"]["set"] = FEW
    resolved = resolve(write("run.yaml", run))
    with pytest.raises(InputError, match=r"^arms\.most has .* made will have 2 images"):
        run_chain(resolved, Workspace(Path("workspace")), roots=[], device="cpu")


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
    (line,) = (line for line in told if line.startswith("synthesised set made: "))
    assert line.endswith(" s")
    assert "; with its generator made in " in line
    first, second = (line.split(", ")[2] for line in told[-2:])
    assert first == second  # as many images as patches
    table = (workspace.reports / "comparison.md").read_text()
    costs = table[table.index("| arm | MB |") :].splitlines()[2:4]
    (drawn, made) = ([cell.strip() for cell in row.split("|")[1:-1]] for row in costs)
    assert (drawn[0], drawn[2]) == ("random", "0")
    assert (made[0], made[2]) == ("made", f"{seconds_of(workspace, 'made'):,.0f}")
    assert made[1] != drawn[1] != "0.0"
