"""distill finetune: what it trains, that it goes on bit for bit, and what it refuses."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

pytest.importorskip("diffusers")

import torch

from srprune.core.errors import (
    ArtifactError,
    ArtifactMismatch,
    Diverged,
    InputError,
    MissingArtifact,
    MissingDependency,
    Stopped,
)
from srprune.core.groups import GroupTable
from srprune.core.workspace import Workspace
from srprune.distill.config import FinetuneConfig, SynthesiseConfig
from srprune.distill.generator import Generator
from srprune.stages.distill import finetune as stage
from srprune.stages.distill.finetune import finetune
from srprune.stages.distill.finetune_plan import FinetuneJob, plan_finetune
from srprune.stages.distill.synthesise import synthesise
from srprune.training.distributed import World
from tests.distill.untrained import CATEGORIES, SIZE, make_dit, make_vae
from tests.processes import Server, together

CPU = torch.device("cpu")
PAUSE = 0.05  # s
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
    network = {"weights": str(make_dit(workspace.root / "dit")), "difffit": True}
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
        plan(workspace, network={**TINY["network"], "patch": 5})
    vae = {"kind": "vae", "weights": str(make_vae(workspace.root / "vae"))}
    with pytest.raises(InputError, match=r"24 px cannot be cut into tokens of 32 px"):
        plan(workspace, latents=vae, network={"patch": 16})
    config_of_dit = make_dit(workspace.root / "dit") / "config.json"
    config_of_dit.write_text(
        config_of_dit.read_text().replace('"patch_size": 4', '"patch_size": 5')
    )
    with pytest.raises(InputError, match=r"24 px cannot be cut into tokens of 5 px"):
        plan(workspace, network={"weights": str(config_of_dit.parent)})
    with pytest.raises(MissingArtifact, match=r"there is no folder nowhere of pre-trained weights"):
        plan(workspace, network={"weights": "nowhere"})
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


def test_each_process_needs_a_spread_of_latents(workspace: Workspace) -> None:
    latents = {**SMALL["latents"], "crop": 2, "batch": 2}
    settings = config(**{**SMALL, "latents": latents})
    with pytest.raises(InputError, match=r"leave each process one latent a step"):
        plan_finetune(workspace, settings, name="two", groups="seven", world=World(size=2))


def test_a_missing_diffusers_is_told_beforehand(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingDependency, match="distillation needs diffusers"):
        plan(workspace)


class Slow:
    """Each answer takes its time; True when it is asked for that time."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.asked = at, 0

    def __call__(self) -> bool:
        time.sleep(PAUSE)
        self.asked += 1
        return self.asked == self.at


@pytest.mark.parametrize(("changes", "stop"), [({}, 4), (SMALL, 3), (SMALL, 8)])
def test_its_cost_is_that_of_all_attempts(
    workspace: Workspace, changes: dict[str, Any], stop: int
) -> None:
    """The second is stopped in its autoencoder, the third behind it."""
    job, first, second = plan(workspace, **changes), Slow(stop), Slow()
    with pytest.raises(Stopped):
        finetune(job, device=CPU, stopping=first)
    started = time.perf_counter()
    header = finetune(job, device=CPU, resume=True, stopping=second)
    last = time.perf_counter() - started
    assert first.asked == stop
    assert header.made["seconds"] >= PAUSE * (first.asked + second.asked)
    assert header.made["seconds"] >= PAUSE * (first.asked - 1) + last - 0.1


def test_a_trained_autoencoder_is_not_trained_again(workspace: Workspace) -> None:
    job, seen = plan(workspace, **SMALL), []
    steps = SMALL["latents"]["steps"]

    def note(label: str, done: int, total: int, more: str = "") -> None:
        seen.append(label)

    with pytest.raises(Stopped):
        finetune(job, device=CPU, stopping=stopped_at(steps + 2), progress=note)
    assert seen.count("autoencoder") == steps
    path = job.folder / "autoencoder" / "autoencoder.safetensors"
    assert path.exists()
    seen.clear()
    other = plan(workspace, **{**SMALL, "seed": 1})
    with pytest.raises(
        ArtifactMismatch, match=r"belongs to another .*asked\.seed 0 there, 1 asked"
    ):
        finetune(other, device=CPU, resume=True)
    assert "seed: 0" in (job.folder / "config.yaml").read_text()
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + bytes(4))
    with pytest.raises(ArtifactError, match=r"does not match its fingerprint .* --restart"):
        finetune(job, device=CPU, resume=True)
    path.write_bytes(whole)
    finetune(job, device=CPU, resume=True, progress=note)
    assert "autoencoder" not in seen
    assert not path.exists()


@pytest.mark.parametrize("restart", [False, True])
def test_a_trained_autoencoder_outlives_a_change_of_the_transformer(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, restart: bool
) -> None:
    """As after running out of memory, with --resume, and after divergence, with --restart."""

    def full(*args: Any, **named: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    job, slow = plan(workspace, **SMALL), Slow(SMALL["latents"]["steps"] + 3)
    if restart:  # behind a checkpoint of the transformer
        with pytest.raises(Stopped):
            finetune(job, device=CPU, stopping=slow)
    else:
        with monkeypatch.context() as patch, pytest.raises(InputError, match="not enough memory"):
            patch.setattr(stage.WindowBatches, "at", full)
            finetune(job, device=CPU, stopping=slow)
        reseeded = plan(workspace, **{**SMALL, "seed": 1})
        with pytest.raises(ArtifactMismatch, match=r"another autoencoder \(seed 0 there, 1 asked"):
            finetune(reseeded, device=CPU, resume=True)
    path = job.folder / "autoencoder" / "autoencoder.safetensors"
    before, labels = path.read_bytes(), set()
    rate = {"name": "adamw", "lr": 1e-3, "weight_decay": 0.0}
    other = plan(workspace, **SMALL, optimizer=rate, batch=2, compute={"accumulate": 2})
    if restart:
        with pytest.raises(ArtifactMismatch, match="--restart"):
            finetune(other, device=CPU, resume=True)
        assert path.read_bytes() == before
    header = finetune(
        other,
        device=CPU,
        resume=not restart,
        restart=restart,
        progress=lambda label, *more: labels.add(label),
    )
    assert "finetune" in labels
    assert "autoencoder" not in labels
    assert header.made["seconds"] >= PAUSE * SMALL["latents"]["steps"]
    fresh = plan(workspace, "fresh", **SMALL, optimizer=rate, batch=2, compute={"accumulate": 2})
    finetune(fresh, device=CPU)
    assert same(other, fresh)


def test_an_autoencoder_says_that_it_is_one_when_it_stops(workspace: Workspace) -> None:
    wild = {**SMALL, "latents": {**SMALL["latents"], "lr": 1e30}}
    with pytest.raises(Diverged, match=r"^autoencoder: .* Lower latents\.lr \(now 1e\+30\); there"):
        finetune(plan(workspace, "wild", **wild), device=CPU)
    with pytest.raises(Stopped, match=r"^autoencoder: stopped at step 2 of 5; the checkpoint is"):
        finetune(plan(workspace, **SMALL), device=CPU, stopping=stopped_at(2))


def test_restart_throws_another_autoencoder_away(workspace: Workspace) -> None:
    job = plan(workspace, **SMALL)
    with pytest.raises(Stopped):
        finetune(job, device=CPU, stopping=stopped_at(SMALL["latents"]["steps"] + 2))
    other = plan(workspace, **{**SMALL, "seed": 1})
    finetune(other, device=CPU, restart=True)
    fresh = plan(workspace, "fresh", **{**SMALL, "seed": 1})
    finetune(fresh, device=CPU)
    assert same(other, fresh)


def test_grids_are_drawn_in_parts_of_the_batch(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    inner = stage.sample

    def sample(*args: Any, **named: Any) -> torch.Tensor:
        sizes.append(len(named["starts_BCHW"]))
        return inner(*args, **named)

    monkeypatch.setattr(stage, "sample", sample)
    finetune(plan(workspace, steps=1), device=CPU)
    assert sizes == [4, 2]
    sizes.clear()
    finetune(plan(workspace, "parts", steps=1, compute={"accumulate": 2}), device=CPU)
    assert sizes == [2, 2, 2]


def test_too_little_memory_names_the_knobs_that_help(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **named: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    empty = torch.empty

    def full_of_latents(*shape: Any, **named: Any) -> torch.Tensor:
        if isinstance(shape[0], tuple) and len(shape[0]) == 5:  # nothing else has five dimensions
            full()
        return empty(*shape, **named)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", full_of_latents)
        with pytest.raises(InputError, match=r"latents of 55 windows take 0\.0 GB of .* flip to f"):
            finetune(plan(workspace, "cache"), device=CPU)
    monkeypatch.setattr(stage, "sample", full)
    with pytest.raises(InputError, match=r"not enough memory\. Lower batch, or raise compute"):
        finetune(plan(workspace, "grid"), device=CPU)
    monkeypatch.setattr(stage, "train_autoencoder", full)
    with pytest.raises(InputError, match=r"lower latents\.batch or latents\.crop\.$"):
        finetune(plan(workspace, "small", **SMALL), device=CPU)


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
