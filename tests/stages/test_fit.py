"""One training run in its folder: finished, interrupted, resumed, restarted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from srprune.core import errors  # noqa: E402
from srprune.core.config import BudgetConfig, ExtractConfig, TrainConfig  # noqa: E402
from srprune.core.errors import ArtifactMismatch, InputError  # noqa: E402
from srprune.core.provenance import Stopwatch  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.core.yaml_file import load  # noqa: E402
from srprune.models import MODELS  # noqa: E402
from srprune.models.build import load_weights  # noqa: E402
from srprune.stages.extract import ImageSource, extract  # noqa: E402
from srprune.stages.fit import fit, open_batches  # noqa: E402
from srprune.stages.job import Job, check_batch, check_crops  # noqa: E402
from srprune.stages.pool import open_pool  # noqa: E402
from srprune.stages.train import validation  # noqa: E402
from srprune.training.distributed import ALONE, World  # noqa: E402

CPU = torch.device("cpu")
STEPS = 7

Plan = Callable[..., Job]


class Stopped(Exception):
    """Stands for Ctrl-C between two steps."""


def stop_at(step: int) -> Any:
    def progress(label: str, done: int, total: int, note: str = "") -> None:
        if done == step:
            raise Stopped

    return progress


def never(label: str, done: int, total: int, note: str = "") -> None:
    raise AssertionError("trained")


@pytest.fixture
def plan(images: Path, tmp_path: Path) -> Plan:
    """Plan a run on all patches of a small pool; changes go into its config."""
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), workspace)

    def job(patches: int | None = None, **changes: Any) -> Job:
        config = TrainConfig(
            **{
                "model": "fsrcnn",
                "model_args": {"d": 6, "s": 4, "m": 1},
                "budget": {"steps": STEPS},
                "batch": 2,
                "lr_crop": 12,
                "checkpoints": {"every": 2},
                **changes,
            }
        )
        pool = open_pool(workspace, config.scale)
        ids = np.arange(patches or len(pool))
        parents = {"patches": pool.index.fingerprint}
        return Job(workspace.run("run"), config, pool, ids, "full", parents)

    return job


def tensors(job: Job) -> dict[str, Any]:
    return load_weights(job.weights)[0].state_dict()


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def files(job: Job) -> list[str]:
    return sorted(path.name for path in job.folder.iterdir())


def test_finished_run_is_returned_as_it_is(plan: Plan) -> None:
    header = fit(plan(), device=CPU)
    job = plan()
    assert files(job) == ["config.yaml", "log.csv", "tensorboard", "weights.safetensors"]
    before = {name: (job.folder / name).stat().st_mtime_ns for name in files(job)}
    for resume in (False, True):
        assert fit(job, device=CPU, resume=resume, progress=never) == header
    assert {name: (job.folder / name).stat().st_mtime_ns for name in files(job)} == before


def test_header_tells_what_decided_the_weights(plan: Plan) -> None:
    job = plan()
    header = fit(job, device=CPU)
    assert header.params["steps"] == STEPS
    assert header.params["num_patches"] == len(job.pool)
    assert header.params["config"]["optimizer"]["lr"] == 1e-3
    assert header.parents == job.parents
    assert header.made["device"] == "cpu"
    assert header.info["training_images"] == job.pool.index.contents
    pixels = sum(image.height * image.width for image in job.pool.index.images)
    assert job.num_bytes == 3 * (pixels + pixels // 4)  # overlaps count once


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed 0 there, 1 asked for"),
        ({"budget": {"steps": 8}}, "steps 7 there, 8 asked for"),
        ({"loss": "mse"}, "loss 'l1' there, 'mse' asked for"),
        ({"patches": 5}, "num_patches"),
        ({"scale": 3}, "scale 2 there, 3 asked for"),
    ],
    ids=["seed", "steps", "loss", "patches", "scale"],
)
def test_finished_run_of_another_config_is_refused(
    plan: Plan, change: dict[str, Any], words: str
) -> None:
    fit(plan(), device=CPU)
    before = tensors(plan())
    for resume in (False, True):
        with pytest.raises(ArtifactMismatch, match=words) as caught:
            fit(plan(**change), device=CPU, resume=resume, progress=never)
    assert "--restart" in str(caught.value)
    assert equal(before, tensors(plan()))


def test_finished_run_on_other_patches_is_refused(plan: Plan) -> None:
    fit(plan(), device=CPU)
    job = replace(plan(), parents={"patches": "0123456789abcdef"})
    with pytest.raises(
        ArtifactMismatch, match=r"parents.patches .* there, '0123456789abcdef' asked for"
    ):
        fit(job, device=CPU, progress=never)


@pytest.mark.parametrize(
    "change",
    [
        {"validation": {"benchmark": None, "every": 3}},
        {"checkpoints": {"every": 1}},
        {"data": {"residency": "disk"}},
    ],
    ids=["validation", "checkpoints", "data"],
)
def test_what_does_not_decide_the_weights_may_change(plan: Plan, change: dict[str, Any]) -> None:
    header = fit(plan(), device=CPU)
    assert fit(plan(**change), device=CPU, progress=never) == header


def test_interrupted_run_is_neither_continued_nor_replaced_unasked(plan: Plan) -> None:
    with pytest.raises(Stopped):
        fit(plan(), device=CPU, progress=stop_at(5))
    (state,) = [path.read_bytes() for path in plan().checkpoints.files()[:1]]
    with pytest.raises(InputError, match="interrupted run") as caught:
        fit(plan(), device=CPU, progress=never)
    assert "--resume" in str(caught.value)
    assert "--restart" in str(caught.value)
    assert plan().checkpoints.files()[0].read_bytes() == state


@pytest.mark.parametrize("step", [1, 2, 5, 7])
def test_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(plan: Plan, step: int) -> None:
    header = fit(plan(), device=CPU)
    expected = tensors(plan())
    plan().weights.unlink()
    with pytest.raises(Stopped):
        fit(plan(), device=CPU, progress=stop_at(step))
    seen: list[int] = []
    again = fit(
        plan(), device=CPU, resume=True, progress=lambda _, done, total, note="": seen.append(done)
    )
    assert seen == list(range(min(step, 6) // 2 * 2 + 1, STEPS + 1))
    assert equal(tensors(plan()), expected)
    assert again.fingerprint == header.fingerprint
    assert files(plan()) == ["config.yaml", "log.csv", "tensorboard", "weights.safetensors"]


def test_a_resumed_run_counts_the_seconds_of_all_attempts(plan: Plan) -> None:
    def slowly(label: str, done: int, total: int, note: str = "") -> None:
        time.sleep(0.5)
        stop_at(3)(label, done, total)

    with pytest.raises(Stopped):
        fit(plan(), device=CPU, progress=slowly)
    spent = plan().spent_s()
    assert spent is not None and spent > 0.5
    last = Stopwatch()
    header = fit(plan(), device=CPU, resume=True)
    assert spent < header.made["seconds"] < spent + last.seconds


def test_interrupted_run_of_another_config_is_not_resumed(plan: Plan) -> None:
    with pytest.raises(Stopped):
        fit(plan(), device=CPU, progress=stop_at(5))
    before = {path.name: path.read_bytes() for path in plan().folder.glob("*.*")}
    with pytest.raises(ArtifactMismatch, match=r"another run: config\.seed 0 there, 1 asked"):
        fit(plan(seed=1), device=CPU, resume=True, progress=never)
    assert before == {path.name: path.read_bytes() for path in plan().folder.glob("*.*")}
    fit(plan(checkpoints={"every": 3}), device=CPU, resume=True)


def test_resuming_what_was_never_begun_begins_it(plan: Plan) -> None:
    fit(plan(), device=CPU, resume=True)
    assert plan().finished() is not None


@pytest.mark.parametrize("interrupted", [False, True])
def test_restart_throws_away_what_is_there(plan: Plan, interrupted: bool) -> None:
    if interrupted:
        with pytest.raises(Stopped):
            fit(plan(), device=CPU, progress=stop_at(5))
    else:
        fit(plan(), device=CPU)
    seen: list[int] = []
    fit(
        plan(seed=1),
        device=CPU,
        restart=True,
        progress=lambda _, done, total, note="": seen.append(done),
    )
    assert seen == list(range(1, STEPS + 1))
    assert load_weights(plan().weights)[2].params["seed"] == 1


def test_what_an_attempt_without_a_checkpoint_left_is_not_taken_for_this_runs(plan: Plan) -> None:
    every = {"checkpoints": {"every": 6}, "validation": {"benchmark": None, "every": 2}}
    with pytest.raises(Stopped):
        fit(plan(**every), device=CPU, validate=lambda network: {"psnr": 9.0}, progress=stop_at(5))
    left = plan().folder
    assert {"best.safetensors", "validation.csv"} <= set(files(plan()))
    (left / "adaptive.csv").touch()
    (left / "routers").mkdir()
    (left / "routers" / "edge_psnr.json").touch()
    for resume in (False, True):
        fit(plan(**every), device=CPU, resume=resume)
        assert files(plan()) == ["config.yaml", "log.csv", "tensorboard", "weights.safetensors"]
        plan().weights.unlink()
        (left / "best.safetensors").touch()


def test_restart_with_a_fault_keeps_what_is_there(plan: Plan) -> None:
    header = fit(plan(), device=CPU)
    with pytest.raises(InputError, match="lr_crop is 25"):
        fit(plan(lr_crop=25), device=CPU, restart=True, progress=never)
    assert plan().finished() == header


@pytest.mark.parametrize("residency", ["device", "host", "disk"])
def test_where_the_pixels_stand_changes_no_weight(plan: Plan, residency: str) -> None:
    fit(plan(), device=CPU)
    auto = tensors(plan())
    fit(plan(data={"residency": residency}), device=CPU, restart=True)
    assert equal(auto, tensors(plan()))


def test_batch_that_the_core_set_cannot_fill_is_refused(plan: Plan) -> None:
    with pytest.raises(InputError, match=r"batch is 5, but full has 4 patches\. Choose a batch of"):
        fit(plan(patches=4, batch=5), device=CPU, progress=never)
    with pytest.raises(InputError, match=r"batch is 4, which cannot be cut into 3 equal parts"):
        fit(plan(batch=4, compute={"accumulate": 3}), device=CPU, progress=never)


def test_a_graph_for_several_processes_is_refused(plan: Plan) -> None:
    job = plan(compute={"cuda_graph": True})
    check_batch(job)
    with pytest.raises(InputError, match=r"compute.cuda_graph is for one process, and there are 2"):
        check_batch(job, World(0, 2, 2))


def test_crop_that_windows_do_not_divide_names_one_that_they_do(plan: Plan) -> None:
    args = dict(MODELS.load("swinir_light").spec.tiny)
    with pytest.raises(InputError, match=r"swinir_light works in windows of 8 px.* such as 8\."):
        fit(plan(model="swinir_light", model_args=args), device=CPU, progress=never)


def test_best_weights_stand_beside_the_last_ones(plan: Plan) -> None:
    figures = iter([30.0, 32.0, 31.0, 31.5])
    job = plan(validation={"benchmark": None, "every": 2})
    fit(job, device=CPU, validate=lambda network: {"psnr_y": next(figures)})
    _, _, best = load_weights(job.folder / "best.safetensors")
    assert (best.params["step"], best.params["validation"]) == (4, {"psnr_y": 32.0})
    assert best.params["model"] == "fsrcnn" and best.parents == job.parents
    assert not equal(load_weights(job.folder / "best.safetensors")[0].state_dict(), tensors(job))


def test_the_average_is_what_is_saved(plan: Plan) -> None:
    fit(plan(), device=CPU)
    plain = tensors(plan())
    fit(plan(ema=0.9), device=CPU, restart=True)
    averaged = tensors(plan())
    fit(plan(ema=0.0), device=CPU, restart=True)
    assert not equal(plain, averaged)
    assert equal(plain, tensors(plan()))


def test_told_to_stop_a_run_saves_and_goes_on_bit_for_bit(plan: Plan) -> None:
    header = fit(plan(), device=CPU)
    told = iter([False, False, True])
    with pytest.raises(errors.Stopped, match="stopped at step 3 of 7"):
        fit(plan(), device=CPU, restart=True, stopping=lambda: next(told))
    assert fit(plan(), device=CPU, resume=True).fingerprint == header.fingerprint


def test_tf32_is_for_the_steps_and_neither_for_validation_nor_for_what_follows(plan: Plan) -> None:
    matmul = torch.backends.cuda.matmul
    seen: dict[str, set[bool]] = {"step": set(), "validation": set()}

    def look(where: str) -> dict[str, float]:
        seen[where].add(matmul.allow_tf32)
        return {"psnr": 1.0}

    fit(
        plan(compute={"tf32": True}, validation={"benchmark": None, "every": 3}),
        device=CPU,
        validate=lambda network: look("validation"),
        progress=lambda *told: look("step") and None,
    )
    assert seen == {"step": {True}, "validation": {False}}
    assert not matmul.allow_tf32


def test_no_memory_says_which_knob_to_turn(plan: Plan) -> None:
    def progress(label: str, done: int, total: int, note: str = "") -> None:
        torch.empty(1 << 60, dtype=torch.uint8)

    with pytest.raises(InputError, match=r"not enough memory\. Raise compute\.accumulate"):
        fit(plan(), device=CPU, progress=progress)


def test_a_validation_without_room_does_not_blame_the_training() -> None:
    class TooLarge(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 5 GiB.")

    measure = validation(TrainConfig(model="fsrcnn", budget=BudgetConfig(steps=1)), [], CPU)
    assert measure is not None
    with pytest.raises(InputError, match=r"not enough memory\. Validation restores whole images"):
        measure(TooLarge())


def test_warm_start_begins_from_the_weights_of_another_run(plan: Plan, tmp_path: Path) -> None:
    fit(plan(), device=CPU)
    kept = tmp_path / "other.safetensors"
    plan().weights.rename(kept)
    job = replace(plan(optimizer={"lr": 1e-12}), init=kept)
    header = fit(job, device=CPU)
    before = load_weights(kept)[0].state_dict()
    assert all(torch.allclose(tensors(job)[name], before[name]) for name in before)
    assert "tensors from" in header.made["init"]


def test_the_seed_decides_the_weights(plan: Plan) -> None:
    results = []
    for seed in (0, 0, 1):
        fit(plan(seed=seed), device=CPU, restart=True)
        results.append(tensors(plan()))
    assert equal(results[0], results[1])
    assert not equal(results[0], results[2])


def test_config_in_the_folder_is_the_resolved_one(plan: Plan) -> None:
    job = plan(optimizer={"lr": 2e-3})
    fit(job, device=CPU)
    assert load(job.folder / "config.yaml", TrainConfig) == job.config


def test_crop_that_is_all_rim_names_the_least_that_is_not(plan: Plan) -> None:
    rim = 2 * (2 + 1 + 2)  # FSRCNN with m = 1
    with pytest.raises(InputError, match=f"leaves out {rim} px") as caught:
        fit(plan(skip_rim=True, lr_crop=8), device=CPU, progress=never)
    assert str(caught.value).endswith("at least 11.")
    with pytest.raises(InputError, match="at least 11"):
        fit(plan(skip_rim=True, lr_crop=10), device=CPU, progress=never)
    fit(plan(skip_rim=True, lr_crop=11), device=CPU)


def test_batch_norm_of_a_single_value_is_refused(plan: Plan) -> None:
    single = {"model": "srresnet", "model_args": dict(MODELS.load("srresnet").spec.tiny)}
    for parts in (1, 2):
        job = plan(**single, lr_crop=1, batch=parts, compute={"accumulate": parts})
        with pytest.raises(InputError, match=r"lr_crop is 1, .* srresnet has batch norm"):
            fit(job, device=CPU, progress=never)
    with pytest.raises(InputError, match="has batch norm"):
        check_crops(plan(**single, lr_crop=1, batch=2).config, 48, World(0, 2, 2))
    fit(plan(**single, lr_crop=1, batch=2), device=CPU)


def test_skip_rim_changes_what_is_learned(plan: Plan) -> None:
    results = []
    for skip_rim in (False, True):
        fit(plan(lr_crop=18, skip_rim=skip_rim), device=CPU, restart=True)
        results.append(tensors(plan()))
    assert not equal(*results)


def test_only_patches_of_the_job_are_trained_on(plan: Plan) -> None:
    """Another patch gives other weights, and the same one gives the same again."""
    fit(plan(patches=2), device=CPU)
    one = tensors(plan())
    job = plan(patches=2)
    job = replace(job, patch_ids=np.array([0, len(job.pool) - 1]))
    fit(job, device=CPU, restart=True)
    assert not equal(one, tensors(job))
    fit(plan(patches=2), device=CPU, restart=True)
    assert equal(one, tensors(plan()))


def test_last_layer_lr_reaches_the_last_layer_of_the_network(plan: Plan) -> None:
    results = []
    for factor in (1.0, 0.1):
        job = plan(budget={"steps": 1}, optimizer={"last_layer_lr": factor})
        fit(job, device=CPU, restart=True)
        results.append(tensors(job))
    first, slowed = results
    different = {name for name in first if not torch.equal(first[name], slowed[name])}
    assert different == {"last_part.weight", "last_part.bias"}


def test_weights_of_patches_decide_how_often_they_are_drawn(plan: Plan) -> None:
    job = plan()
    count = len(job.patch_ids)
    weights = np.full(count, 1e-6)
    weights[3] = count
    _, patches_at = open_batches(replace(job, patch_weights=weights), CPU, ALONE)
    drawn = [patch for step in range(50) for patch in patches_at(step)]
    assert drawn.count(job.patch_ids[3]) > 0.99 * len(drawn)
    _, evenly = open_batches(job, CPU, ALONE)
    assert set(evenly(0)) - {job.patch_ids[3]}
