"""distill finetune: what it trains, that it goes on bit for bit, and what it refuses."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

pytest.importorskip("diffusers")

import torch

from srprune.core.errors import ArtifactMismatch, Diverged, InputError, MissingArtifact, Stopped
from srprune.core.groups import GroupTable
from srprune.core.workspace import Workspace
from srprune.distill.config import FinetuneConfig, SynthesiseConfig
from srprune.distill.generator import Generator
from srprune.stages.distill.finetune import finetune
from srprune.stages.distill.finetune_plan import FinetuneJob, plan_finetune
from srprune.stages.distill.synthesise import synthesise
from tests.distill.untrained import CATEGORIES, SIZE, make_workspace
from tests.processes import Server, together

CPU = torch.device("cpu")
TINY = {
    "network": {"layers": 2, "heads": 2, "head_width": 8, "patch": 4},
    "latents": {"kind": "pixels"},
    "steps": 6,
    "batch": 4,
    "ema": 0.5,
    "optimizer": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.0},
    "validation": {"every": 3, "each": 2, "sampling_steps": 2},
    "checkpoints": {"every": 2},
}
SMALL = {
    "latents": {
        "kind": "small", "factor": 2, "channels": 4, "width": 8, "steps": 5, "batch": 4, "crop": 12,
    },
    "network": {"layers": 1, "heads": 2, "head_width": 8, "patch": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def workspace_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("made")).root


@pytest.fixture
def workspace(workspace_once: Path, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(workspace_once, tmp_path / "workspace"))


def config(**changes: Any) -> FinetuneConfig:
    return FinetuneConfig.model_validate({**TINY, **changes})


def plan(workspace: Workspace, name: str = "made", **changes: Any) -> FinetuneJob:
    return plan_finetune(workspace, config(**changes), name=name, groups="seven")


def stopped_at(number: int) -> Callable[[], bool]:
    """True when it is asked for that time."""
    asked = iter(range(1, 1000))
    return lambda: next(asked) == number


def tensors(job: FinetuneJob) -> dict[str, np.ndarray]:
    return load_file(job.path)


def same(one: FinetuneJob, other: FinetuneJob) -> bool:
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_it_learns_what_the_windows_are(workspace: Workspace) -> None:
    """Its error falls clearly below 1, that of the fresh network, which predicts no noise."""
    rate = {"name": "adamw", "lr": 1e-2, "weight_decay": 0.0}
    look = {"every": 60, "each": 1}
    job = plan(workspace, steps=60, ema=None, batch=8, optimizer=rate, validation=look)
    finetune(job, device=CPU)
    rows = (job.folder / "validation.csv").read_text().splitlines()
    assert float(rows[-1].split(",")[1]) < 0.9


def test_the_file_is_enough_to_sample_from(workspace: Workspace) -> None:
    job = plan(workspace)
    header = finetune(job, device=CPU)
    generator = Generator.read(job.folder, CPU)
    assert generator.fingerprint == header.fingerprint
    assert (generator.size, generator.categories) == (SIZE, CATEGORIES)
    assert header.parents == {
        "patches": job.pool.index.fingerprint,
        "groups": GroupTable.read(workspace.groups("seven")).fingerprint,
        "coreset": GroupTable.read(workspace.groups("seven")).header.parents["coreset"],
    }
    made = synthesise(
        workspace, "made", SynthesiseConfig(per_category=1, sampling_steps=2), device=CPU
    )
    assert len(made) == CATEGORIES


def test_grids_of_samples_are_named_after_their_steps(workspace: Workspace) -> None:
    job = plan(workspace)
    finetune(job, device=CPU)
    grids = sorted(path.name for path in (job.folder / "samples").iterdir())
    assert grids == ["step_000003.png", "step_000006.png"]
    with Image.open(job.folder / "samples" / grids[0]) as grid:
        size = grid.size
    assert size == (2 * SIZE + 4, CATEGORIES * SIZE + (CATEGORIES - 1) * 4)


@pytest.mark.parametrize("changes", [{}, SMALL], ids=["pixels", "small"])
@pytest.mark.parametrize("stop", [1, 4])
def test_a_stopped_run_ends_bit_for_bit_as_an_unbroken_one(
    workspace: Workspace, changes: dict[str, Any], stop: int
) -> None:
    whole, broken = plan(workspace, "whole", **changes), plan(workspace, "broken", **changes)
    finetune(whole, device=CPU)
    with pytest.raises(Stopped):
        finetune(broken, device=CPU, stopping=stopped_at(stop))
    with pytest.raises(InputError, match=r"interrupted training\. Pass --resume"):
        finetune(broken, device=CPU)
    finetune(broken, device=CPU, resume=True)
    assert same(whole, broken)
    assert not list(broken.folder.rglob("*.pt"))


def test_a_finished_one_is_found_and_another_is_refused(workspace: Workspace) -> None:
    job = plan(workspace)
    header = finetune(job, device=CPU)
    assert finetune(plan(workspace, validation={"every": 1}), device=CPU) == header
    other = plan(workspace, seed=1)
    with pytest.raises(ArtifactMismatch, match=r"another config .*asked\.seed 0 there, 1 asked"):
        finetune(other, device=CPU)
    finetune(other, device=CPU, restart=True)
    assert finetune(other, device=CPU).params["asked"]["seed"] == 1


def test_parts_of_a_batch_change_no_more_than_rounding(workspace: Workspace) -> None:
    terms = {"representativeness": 0.0, "diversity": 0.0}
    whole = plan(workspace, "whole", terms=terms)
    parts = plan(workspace, "parts", terms=terms, compute={"accumulate": 2})
    finetune(whole, device=CPU)
    finetune(parts, device=CPU)
    for name, tensor in tensors(whole).items():
        np.testing.assert_allclose(tensors(parts)[name], tensor, rtol=0, atol=2e-5, err_msg=name)


def test_difffit_leaves_all_other_weights_alone(workspace: Workspace) -> None:
    network = {**TINY["network"], "difffit": True}
    job = plan(workspace, network=network, ema=None)
    header = finetune(job, device=CPU)
    assert 0 < header.info["trained_share"] < 0.2
    fresh = plan(workspace, "fresh", network=network, ema=None, optimizer={"lr": 1e-30})
    finetune(fresh, device=CPU)
    before, after = tensors(fresh), tensors(job)
    changed = {name for name in after if not np.array_equal(before[name], after[name])}
    assert changed
    assert not [name for name in changed if name.endswith("ff.net.0.proj.weight")]
    assert any(name.endswith("bias") for name in changed)


def test_the_sr_term_changes_what_is_learned(workspace: Workspace) -> None:
    jobs = [plan(workspace, f"sr{sr}", terms={"sr": sr}, ema=None) for sr in (0.0, 0.05)]
    for job in jobs:
        finetune(job, device=CPU)
    assert not same(*jobs)


def test_an_sr_term_without_a_floor_is_told_before_it_wastes_a_night(workspace: Workspace) -> None:
    job = plan(workspace, terms={"sr": 1e6}, steps=300, validation={"every": 100})
    words = r"error of the predicted noise is \S+, .* at step \d+\. Lower terms\.sr \(now 1e\+06\)"
    with pytest.raises(Diverged, match=words):
        finetune(job, device=CPU)
    assert not job.path.exists()


def test_nan_stops_it_with_a_whole_checkpoint(workspace: Workspace) -> None:
    job = plan(workspace, optimizer={"name": "sgd", "lr": 1e30}, terms={"sr": 0.0})
    with pytest.raises(Diverged, match=r"(loss is|no longer finite).*Lower optimizer\.lr"):
        finetune(job, device=CPU)
    assert not job.path.exists()


def test_what_cannot_be_is_refused_beforehand(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="batch is 4, which cannot be cut into 3 equal parts"):
        plan(workspace, compute={"accumulate": 3})
    with pytest.raises(InputError, match=r"batch is 100000, but there are \d+ windows"):
        plan(workspace, batch=100_000)
    with pytest.raises(InputError, match="cuda_graph is for networks that take one tensor"):
        plan(workspace, compute={"cuda_graph": True})
    with pytest.raises(MissingArtifact, match="Run 'srprune distill categorise' first"):
        plan_finetune(workspace, config(), name="made")  # "seven" is of no 'categorise'
    with pytest.raises(InputError, match=r"24 px cannot be cut into tokens of 5 px"):
        finetune(plan(workspace, network={**TINY["network"], "patch": 5}), device=CPU)
    index = plan(workspace).pool.index
    labels_N = np.full(len(index), -1, dtype=np.int32)
    labels_N[:8] = [0, 2] * 4
    GroupTable.write(
        workspace.groups("gap"),
        labels_N,
        parents={"patches": index.fingerprint},
        params={},
        made={},
    )
    with pytest.raises(InputError, match="no patch in category 1 of 3"):
        plan_finetune(workspace, config(), name="made", groups="gap")


WORKER = """
import json, sys
from pathlib import Path
import torch
from srprune.core.workspace import Workspace
from srprune.distill.config import FinetuneConfig
from srprune.stages.distill.finetune import finetune
from srprune.stages.distill.finetune_plan import plan_finetune
from srprune.training.distributed import joined

with joined(torch.device("cpu")) as world:
    settings = FinetuneConfig.model_validate(json.loads(Path(sys.argv[2]).read_text()))
    job = plan_finetune(Workspace(Path(sys.argv[1])), settings, name="two", groups="seven",
                        world=world)
    finetune(job, device=torch.device("cpu"), world=world)
"""


def test_two_processes_learn_what_one_does(
    workspace: Workspace, tmp_path: Path, server: Server | None
) -> None:
    settings = {**TINY, "terms": {"representativeness": 0.0, "diversity": 0.0}, "steps": 3}
    settings["compute"] = {"accumulate": 1}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(settings))
    done = together(server, tmp_path, workspace.root, file, code=WORKER, size=2)
    assert [each.returncode for each in done] == [0, 0], "\n".join(each.stderr for each in done)
    alone = plan_finetune(
        workspace, FinetuneConfig.model_validate(settings), name="one", groups="seven"
    )
    finetune(alone, device=CPU)
    two = load_file(workspace.generator("two") / "generator.safetensors")
    for name, tensor in tensors(alone).items():
        np.testing.assert_allclose(two[name], tensor, rtol=0, atol=2e-5, err_msg=name)


def test_the_autoencoder_is_told_in_decibels(workspace: Workspace) -> None:
    header = finetune(plan(workspace, **SMALL), device=CPU)
    assert math.isfinite(header.info["autoencoder_psnr"])
    assert header.info["autoencoder_psnr"] > 5
