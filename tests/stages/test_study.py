"""Cells of a study one after the other: what is asked between them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

pytest.importorskip("torch")
import torch

from srprune.core.config import ExtractConfig
from srprune.core.errors import ArtifactMismatch, InputError, Stopped
from srprune.core.lock import exclusive
from srprune.core.results import EvalTable
from srprune.core.weights import read_weights_header
from srprune.core.workspace import Workspace
from srprune.reporting.canvas import canvas
from srprune.reporting.study.pictures import plans
from srprune.selection.rule import portion
from srprune.stages.evaluate import find_benchmarks
from srprune.stages.extract import ImageSource, extract
from srprune.stages.study import run_cell, run_cells
from srprune.stages.study_plan import Plan, begin, open_study, status
from srprune.stages.study_prepare import prepare
from srprune.stages.study_report import findings
from srprune.stages.study_setting import Setting
from srprune.studies.record import Record
from srprune.training.checkpoints import Checkpoints

STUDY = {
    "title": "The full set, twice",
    "extract": {"size": 48, "stride": 24},
    "set": {
        "config": "fsrcnn_x2.yaml",
        "model_args": {"d": 6, "s": 4, "m": 1},
        "budget.steps": 2,
        "batch": 2,
        "lr_crop": 12,
        "validation.benchmark": None,
    },
    "axes": {"core-set": {"full": {"pruning.ratio": 1, "pruning.offset": 0}}},
    "compare": "core-set",
    "seeds": [0, 1],
}


RANKED = {
    **STUDY,
    "scorers": {
        "srcnn": {
            "config": "srcnn.yaml",
            "set": {"budget.steps": 2, "batch": 2, "lr_crop": 12, "model_args.variant": "9-1-5"},
        }
    },
    "axes": {
        "core-set": {
            "full": {"pruning.ratio": 1, "pruning.offset": 0},
            "random50": {"pruning.rule": "random", "pruning.ratio": 0.5, "pruning.offset": 0},
            "des50": {"pruning.rule": "des", "pruning.ratio": 0.5, "pruning.offset": 0},
        }
    },
    "seeds": [0],
}


SUPERNET = {
    **STUDY,
    "set": {
        "config": "wbsr_msrresnet_x2.yaml",
        "model_args": {"widths": [4, 8], "depths": [1, 2]},
        "loss": "l1",
        "sampling.classes": 3,
        "budget.steps": 4,
        "batch": 2,
        "lr_crop": 12,
        "validation.benchmark": None,
    },
    "axes": {
        "method": {"HES": {}},
        "inference": {
            "whole": {},
            "60%": {"flops_budget": 0.6, "tile": 16},
            "100%": {"flops_budget": 1, "tile": 16},
        },
    },
    "compare": "inference",
}


Open = Callable[[Mapping[str, Any]], tuple[Plan, Setting]]


@pytest.fixture
def opened(images: Path, tmp_path: Path) -> Open:
    """A study that no process has run yet, and where to run it."""
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), workspace)
    folder = tmp_path / "BSD100"  # by whose name the paper's figures are found
    folder.mkdir()
    flat = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(flat).resize((36, 36)).save(folder / "one.png")
    held = str(folder)
    file = tmp_path / "s.yaml"
    setting = Setting(workspace, [tmp_path], find_benchmarks([held], [tmp_path]), "cpu")

    def of(study: Mapping[str, Any]) -> tuple[Plan, Setting]:
        known = {**study, "images": str(images), "evaluate": {"benchmarks": [held]}}
        file.write_text(yaml.safe_dump(known, sort_keys=False))
        return open_study(file, workspace), setting

    return of


def test_a_stop_is_heard_between_cells_that_only_have_to_be_measured(opened: Open) -> None:
    plan, setting = opened(STUDY)
    run_cells(plan, plan.cells, setting)
    results = setting.workspace.root / "results"
    measured = sorted(results.glob("*.parquet"))
    assert len(measured) == 2
    assert status(plan, setting.workspace).count("finished") == 2
    for file in measured:
        file.unlink()
    half = status(plan, setting.workspace)
    assert (half.count("trained"), half.left_s, half.steps_done) == (2, 0, half.steps)
    assert str(half).startswith("0 of 2 cells, ")
    stopping = replace(setting, stopping=lambda: any(results.glob("*.parquet")))
    with pytest.raises(Stopped, match=r"between two cells\. Run the study again to go on"):
        run_cells(plan, plan.cells, stopping)
    (first,) = results.glob("*.parquet")
    assert first.name.startswith(plan.cells[0].name)
    run_cells(plan, plan.cells, setting)
    assert sorted(results.glob("*.parquet")) == measured


def test_a_moving_average_that_steps_are_too_few_for_is_told_once(opened: Open) -> None:
    told: list[str] = []
    plan, setting = opened({**STUDY, "set": {**STUDY["set"], "ema": 0.5}})
    prepare(plan.study, plan.cells, replace(setting, tell=told.append))
    (warning,) = (line for line in told if "moving average" in line)
    assert warning.startswith(
        "warning: fsrcnn: the weights that training begins with still make up"
    )
    assert "25% of the moving average after 2 steps with ema 0.5;" in warning


def trained(plan: Plan, setting: Setting) -> dict[str, str]:
    """Fingerprint of the weights of each cell, by its level."""
    runs = {cell.levels["core-set"]: setting.workspace.run(cell.name) for cell in plan.cells}
    return {
        level: read_weights_header(run / "weights.safetensors").fingerprint
        for level, run in runs.items()
    }


def test_runs_of_an_edited_scoring_model_are_refused_or_made_again(opened: Open) -> None:
    plan, setting = opened(RANKED)
    prepare(plan.study, plan.cells, setting)
    run_cells(plan, plan.cells, setting)
    before = trained(plan, setting)
    scorer = {**RANKED["scorers"]["srcnn"], "set": {"budget.steps": 3, "batch": 2, "lr_crop": 12}}
    plan, setting = opened({**RANKED, "scorers": {"srcnn": scorer}})
    with pytest.raises(ArtifactMismatch, match=r"srcnn_x2 holds a finished run .* --edited\."):
        prepare(plan.study, plan.cells, setting)

    remake = replace(setting, edited=True)
    prepare(plan.study, plan.cells, remake)
    (ranked,) = [cell for cell in plan.cells if cell.score]
    with pytest.raises(ArtifactMismatch, match=r"made from other scores .* pass --edited\."):
        run_cell(ranked, plan.study, setting)
    assert trained(plan, setting) == before
    coreset = next(setting.workspace.root.glob("coresets/des*.parquet"))
    coreset.unlink()  # as somebody would who follows the messages: the run itself is told, too
    with pytest.raises(ArtifactMismatch, match=r"finished run of another config or other inputs"):
        run_cell(ranked, plan.study, setting)
    with pytest.raises(ArtifactMismatch, match=r"trained on core-set .* --edited"):
        findings(plan, setting.workspace, setting.benchmarks, command="")

    run_cells(plan, plan.cells, remake)
    after = trained(plan, setting)
    assert {level for level in after if after[level] != before[level]} == {"des50"}
    run_cells(plan, plan.cells, setting)
    assert trained(plan, setting) == after
    assert findings(plan, setting.workspace, setting.benchmarks, command="").num_runs == 3


@pytest.mark.parametrize(("key", "same"), [("validation.every", True), ("optimizer.lr", False)])
def test_runs_of_before_an_edit_count_for_nothing_until_they_are_made_again(
    opened: Open, key: str, same: bool
) -> None:
    """A run with --edited may be stopped at any time. An edit may also change no score."""
    plan, setting = opened(RANKED)
    begin(plan, setting.workspace)
    prepare(plan.study, plan.cells, setting)
    run_cells(plan, plan.cells, setting)
    before, (ranked,) = trained(plan, setting), [cell for cell in plan.cells if cell.score]
    record = Record.read(setting.workspace.run(ranked.name))
    scorer = {"config": "srcnn.yaml", "set": {**RANKED["scorers"]["srcnn"]["set"], key: 0.5}}
    if same:
        scorer["set"][key] = 7
    plan, setting = opened({**RANKED, "scorers": {"srcnn": scorer}})
    begin(plan, setting.workspace, edited=True)
    states = {
        cell.levels["core-set"]: state for cell, state in status(plan, setting.workspace).states
    }
    assert states == {"full": "finished", "random50": "finished", "des50": "stopped"}
    found = findings(plan, setting.workspace, setting.benchmarks, command="")
    assert [row.seeds for row in found.rows] == [(0,), (0,), ()]
    remake = replace(setting, edited=True)
    prepare(plan.study, plan.cells, remake)
    run_cells(plan, plan.cells, remake)
    assert status(plan, setting.workspace).count("finished") == 3
    assert (trained(plan, setting) == before) == same
    after = Record.read(setting.workspace.run(ranked.name))
    assert record and after and (after.seconds >= record.seconds or not same)


def test_seeds_on_core_sets_of_two_machines_are_in_no_mean(opened: Open, tmp_path: Path) -> None:
    """Each has trained its own scoring model; runs and results are copied together."""
    scorer = {**RANKED["scorers"]["srcnn"]["set"], "seed": 1}
    plans = [
        opened(
            {**RANKED, "seeds": [0, 1], "scorers": {"srcnn": {"config": "srcnn.yaml", "set": own}}}
        )
        for own in (RANKED["scorers"]["srcnn"]["set"], scorer)
    ]
    workspaces = [Workspace(tmp_path / name) for name in ("one", "other")]
    for seed, ((plan, setting), workspace) in enumerate(zip(plans, workspaces, strict=True)):
        there = replace(setting, workspace=workspace)
        cells = [cell for cell in plan.cells if cell.seed == seed]
        prepare(plan.study, cells, there)
        run_cells(plan, cells, there)
    one, other = (workspace.root for workspace in workspaces)
    for folder in ("runs", "results"):
        shutil.copytree(other / folder, one / folder, dirs_exist_ok=True)
    shutil.rmtree(one / "coresets")
    plan, setting = plans[0]
    with pytest.raises(ArtifactMismatch, match="they cannot stand in one mean"):
        findings(plan, workspaces[0], setting.benchmarks, command="")


def test_a_study_of_other_patches_leaves_those_that_runs_stand_on(opened: Open) -> None:
    plan, setting = opened({**STUDY, "seeds": [0]})
    prepare(plan.study, plan.cells, setting)
    run_cells(plan, plan.cells, setting)
    kept = setting.workspace.patches.read_bytes()
    plan, setting = opened({**STUDY, "seeds": [0], "extract": {"size": 96, "stride": 48}})
    with pytest.raises(InputError, match=r"of 48/24 px .* of 96/48 px .* another --workspace"):
        prepare(plan.study, plan.cells, setting)
    assert setting.workspace.patches.read_bytes() == kept
    remake = replace(setting, edited=True)
    prepare(plan.study, plan.cells, remake)
    with pytest.raises(ArtifactMismatch, match="--edited"):
        run_cells(plan, plan.cells, setting)
    run_cells(plan, plan.cells, remake)
    assert findings(plan, setting.workspace, setting.benchmarks, command="").num_runs == 1


def test_what_cannot_be_trained_is_refused_before_anything_is(opened: Open) -> None:
    for change, words in (
        ({"pruning.ratio": 0.01, "pruning.rule": "random", "batch": 500}, r"'last, seed 0' trains"),
        ({"model_args.dd": 3}, "fsrcnn"),
        ({"lr_crop": 48}, r"^cell 'last, seed 0': lr_crop is 48"),
    ):
        levels = {**STUDY["axes"]["core-set"], "last": change}
        plan, setting = opened({**STUDY, "axes": {"core-set": levels}})
        with pytest.raises(InputError, match=words):
            prepare(plan.study, plan.cells, setting)
        assert not (setting.workspace.root / "runs").exists()


def test_a_scoring_model_that_cannot_be_trained_is_refused_beforehand_by_name(opened: Open) -> None:
    scorers = {"srcnn": {"config": "srcnn.yaml", "set": {"budget.steps": 2, "lr_crop": 48}}}
    plan, setting = opened({**RANKED, "scorers": scorers})
    with pytest.raises(InputError, match=r"^scorers\.srcnn at x2 \(srcnn\.yaml\): lr_crop is 48"):
        prepare(plan.study, plan.cells, setting)
    assert not (setting.workspace.root / "scorers").exists()


def test_a_run_that_was_killed_keeps_its_cost(opened: Open) -> None:
    plan, setting = opened({**STUDY, "seeds": [0], "set": {**STUDY["set"], "budget.steps": 40}})
    (cell,) = plan.cells
    asked = iter(range(99))
    with pytest.raises(Stopped):
        run_cell(cell, plan.study, replace(setting, stopping=lambda: next(asked) > 2))
    record = setting.workspace.run(cell.name) / "cell.json"
    record.unlink()  # killed before it could be written
    (checkpoint,) = (record.parent / "checkpoints").glob("*.pt")
    state = torch.load(checkpoint, weights_only=True)
    checkpoints = Checkpoints(checkpoint.parent, json.loads(state.pop("identity")))
    checkpoints.save(state.pop("step"), {**state, "seconds": 1000.0})
    run_cell(cell, plan.study, setting)
    assert 1000 < json.loads(record.read_text())["seconds"] < 1100


def test_the_papers_figure_beside_a_row_is_that_of_its_steps_and_its_score(opened: Open) -> None:
    levels = {
        **RANKED["axes"]["core-set"],
        "des25": {"pruning.ratio": 0.25, "pruning.offset": 0, "pruning.step_matching": False},
        "des25, all steps": {"pruning.ratio": 0.25, "pruning.offset": 0},
        "laplacian25": {
            "pruning.ratio": 0.25, "pruning.offset": 0, "pruning.score": "laplacian"
        },
    }  # fmt: skip
    plan, setting = opened({**RANKED, "axes": {"core-set": levels}, "paper": 1})
    prepare(plan.study, plan.cells, setting)
    for cell in plan.cells:
        if cell.config.pruning.ratio == 0.25:
            run_cell(cell, plan.study, setting)
    found = findings(plan, setting.workspace, setting.benchmarks, command="")
    printed = {
        row.levels["core-set"]: row.findings["BSD100", "psnr_y"].paper
        for row in found.rows
        if row.findings
    }
    # Table 1 of Moser et al. 2024, FSRCNN; the full set is not trained yet
    assert printed == {"des25": 30.98, "des25, all steps": 31.35, "laplacian25": None}
    assert found.cut_down == ("fsrcnn (d 6, s 4, m 1)",)


def test_patches_that_may_be_chosen_in_training_count_as_stored(opened: Open) -> None:
    chosen = {"pruning.rule": "adaptive", "pruning.ratio": 0.25, "pruning.offset": 0}
    levels = {
        **STUDY["axes"]["core-set"],
        "any": chosen,
        "of half": {**chosen, "pruning.args": {"bound": 0.5}},
    }
    plan, setting = opened({**STUDY, "axes": {"core-set": levels}, "seeds": [0]})
    run_cells(plan, plan.cells, setting)
    found = findings(plan, setting.workspace, setting.benchmarks, command="")
    full, everything, half = (row.cost for row in found.rows)
    assert full and everything and half
    assert everything.num_patches == full.num_patches
    assert everything.num_bytes == full.num_bytes
    assert half.num_patches == portion(0.5, full.num_patches)
    assert half.num_visited is not None and half.num_visited <= half.num_patches


def test_a_stop_is_heard_while_a_router_is_fitted(opened: Open) -> None:
    routed = {"routed": {"flops_budget": 0.6, "tile": 16, "router": "class_module"}}
    plan, setting = opened(
        {**SUPERNET, "axes": {**SUPERNET["axes"], "inference": routed}, "seeds": [0]}
    )
    seen: list[str] = []
    stopping = replace(
        setting,
        stopping=lambda: "class_module" in seen,
        progress=lambda label, done, total, note="": seen.append(label),
    )
    with pytest.raises(Stopped, match=r"stopped at 'class_module', 2 of 2,000\. The same command"):
        run_cells(plan, plan.cells, stopping)
    (run,) = setting.workspace.runs()
    assert [path.stem for path in (run / "routers").iterdir()] == ["gradient"]
    assert not list(setting.workspace.root.glob("results/*"))
    assert status(plan, setting.workspace).count("trained") == 1


def test_a_run_is_in_one_shard_however_it_is_measured(opened: Open) -> None:
    plan, _ = opened(SUPERNET)
    shards = [[(cell.levels["inference"], cell.seed) for cell in plan.part(n, 2)] for n in (0, 1)]
    assert shards == [[(way, seed) for way in ("whole", "60%", "100%")] for seed in (0, 1)]


def test_a_run_that_is_measured_in_several_ways_is_trained_and_counted_once(
    opened: Open, tmp_path: Path
) -> None:
    plan, setting = opened(SUPERNET)
    before = status(plan, setting.workspace)
    assert (len(before.states), before.steps) == (6, 8)
    run_cells(plan, plan.cells, setting)
    assert len(list((setting.workspace.root / "runs").iterdir())) == 2
    assert len(list((setting.workspace.root / "results").glob("*.parquet"))) == 6
    found = findings(plan, setting.workspace, setting.benchmarks, command="")
    assert found.num_runs == 2
    whole, part, all_of_it = found.rows
    assert whole.cost and part.cost and all_of_it.cost
    assert whole.cost.flops_share is None and all_of_it.cost.flops_share == 1
    assert part.cost.flops_share is not None and part.cost.flops_share <= 0.6
    assert found.seconds == pytest.approx(2 * whole.cost.seconds)
    assert [each.level for each in found.tiles] == ["60%", "100%"]
    assert {each.about for each in found.tiles} == {"HES, seed 0"}
    (tiles,) = [plan for plan in plans(found) if plan.stem == "tiles"]
    with canvas(tmp_path / "tiles.png", tiles.width, tiles.height) as figure:
        tiles.draw(figure)
    with Image.open(tmp_path / "tiles.png") as picture:
        assert (np.asarray(picture.convert("RGB")) == (253, 231, 37)).all(axis=2).any()  # dearest


def routed(levels: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A study of one supernet, measured in some ways."""
    return {**SUPERNET, "axes": {**SUPERNET["axes"], "inference": levels}, "seeds": [0], **more}


def test_a_router_is_that_of_its_level_whatever_came_before(opened: Open) -> None:
    budget = {"flops_budget": 0.6}
    levels = {"patch": budget, "16": {**budget, "tile": 16}, "20": {**budget, "tile": 20}}
    plan, setting = opened(routed(levels))
    said: list[str] = []
    setting = replace(setting, tell=said.append)

    def routers() -> dict[str, Any]:
        tables = (setting.workspace.root / "results").glob("*.parquet")
        return {path.stem: EvalTable.read(path).header.params["router"] for path in tables}

    run_cells(plan, plan.cells, setting)
    there = routers()
    assert len(set(there.values())) == 3
    assert sum("is fitted again on tiles of 16 px at LR" in line for line in said) == 1
    for path in (setting.workspace.root / "results").iterdir():
        path.unlink()
    run_cells(plan, plan.cells[::-1], setting)
    assert routers() == there


def test_a_router_of_other_weights_is_fitted_again(opened: Open) -> None:
    study = routed({"60%": {"flops_budget": 0.6, "tile": 16}}, seeds=[0, 1])
    plan, setting = opened(study)
    run_cells(plan, plan.cells, setting)
    one, other = (
        setting.workspace.run(cell.name) / "routers" / "gradient.json" for cell in plan.cells
    )
    before = one.read_bytes()
    one.write_bytes(other.read_bytes())
    run_cells(plan, plan.cells, setting)
    assert json.loads(one.read_bytes())["fingerprint"] == json.loads(before)["fingerprint"]


def test_what_should_be_known_of_tiles_is_told(opened: Open) -> None:
    deep = {**SUPERNET["set"], "model_args": {"widths": [4, 8], "depths": [7, 8]}}
    plan, setting = opened(routed({"90%": {"flops_budget": 0.9}}, set=deep))
    said: list[str] = []
    run_cells(plan, plan.cells, replace(setting, tell=said.append))
    assert any("fitted on tiles of 24 px at LR, and decides on tiles of 64" in x for x in said)


@pytest.mark.parametrize(("loss", "diverged"), [("l1", True), ("bd", False)])
def test_a_loss_that_falls_through_0_is_no_run_that_lost_its_way(
    opened: Open, loss: str, diverged: bool
) -> None:
    axes = {"core-set": {"full": {"pruning.ratio": 1, "pruning.offset": 0, "loss": loss}}}
    more = {"balance": {"values": 500, "components": 2}} if loss == "bd" else {}
    plan, setting = opened({**STUDY, "set": {**STUDY["set"], **more}, "axes": axes})
    run_cells(plan, plan.cells, setting)
    rows = [f"{100 * k},0.001,{0.001 if k < 6 else 0.02},{k},10" for k in range(1, 13)]
    log = setting.workspace.run(plan.cells[0].name) / "log.csv"
    log.write_text("\n".join(["step,lr,loss,seconds,patches_per_s", *rows]) + "\n")
    (row,) = findings(plan, setting.workspace, setting.benchmarks, command="").rows
    assert [run.seed for run in row.diverged] == ([0] if diverged else [])
    assert status(plan, setting.workspace).states[0][1] == ("diverged" if diverged else "finished")


def test_a_study_whose_runs_all_diverged_says_so(opened: Open) -> None:
    plan, setting = opened(STUDY)
    run_cells(plan, plan.cells, setting)
    for cell in plan.cells:
        record = setting.workspace.run(cell.name) / "cell.json"
        facts = json.loads(record.read_text())
        record.write_text(json.dumps({**facts, "state": "diverged", "reason": "loss is nan"}))
    words = "full, seed 0: loss is nan; full, seed 1: loss is nan. Change the training"
    with pytest.raises(InputError, match=words):
        findings(plan, setting.workspace, setting.benchmarks, command="")


def test_a_stop_is_heard_while_another_process_prepares(opened: Open) -> None:
    plan, setting = opened(STUDY)
    other = exclusive(setting.workspace.at_work("preparation"))
    with other, pytest.raises(Stopped, match="wait for preparation"):
        prepare(plan.study, plan.cells, replace(setting, stopping=lambda: True))
