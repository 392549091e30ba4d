"""A run that chooses its patches on the way: from the config to the core-set that it ends with."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
from srprune.core import errors  # noqa: E402
from srprune.core.config import ExtractConfig, TrainConfig  # noqa: E402
from srprune.core.coreset import CoreSet  # noqa: E402
from srprune.core.errors import ArtifactMismatch, Diverged, InputError  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.models.build import load_weights  # noqa: E402
from srprune.stages.extract import ImageSource, extract, read_index  # noqa: E402
from srprune.stages.fit import fit, open_batches  # noqa: E402
from srprune.stages.job import Job, check_batch  # noqa: E402
from srprune.stages.train import plan_training  # noqa: E402
from srprune.training.distributed import ALONE  # noqa: E402

CPU = torch.device("cpu")
STEPS = 40
ARGS = {"warmup": 0.2, "period": 0.1, "explore": 0.2}

Plan = Callable[..., Job]


class Killed(Exception):
    """Stands for a kill between two steps."""


def kill_at(step: int) -> Any:
    def progress(label: str, done: int, total: int, note: str = "") -> None:
        if done == step:
            raise Killed

    return progress


@pytest.fixture
def workspace(images: Path, tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), made)
    return made


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    """Plan an adaptive run; changes go into its pruning and its config."""

    def job(pruning: dict[str, Any] | None = None, name: str = "run", **changes: Any) -> Job:
        config = TrainConfig(
            **{
                "model": "fsrcnn",
                "model_args": {"d": 6, "s": 4, "m": 1},
                "budget": {"steps": STEPS},
                "batch": 4,
                "lr_crop": 12,
                "pruning": {"rule": "adaptive", "ratio": 0.25, "args": ARGS, **(pruning or {})},
                "checkpoints": {"every": 7},
                **changes,
            }
        )
        return plan_training(config, workspace, stem="tiny", name=name)

    return job


def tensors(job: Job) -> dict[str, Any]:
    return load_weights(job.weights)[0].state_dict()


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def active(job: Job) -> list[int]:
    ids: list[int] = CoreSet.read(job.folder / "coreset.parquet").patch_ids.tolist()
    return ids


def rows(job: Job) -> list[dict[str, str]]:
    with open(job.folder / "adaptive.csv", newline="") as file:
        return list(csv.DictReader(file))


# --- what a run leaves behind ---


def test_the_log_counts_what_was_active_and_what_was_visited(plan: Plan) -> None:
    job = plan()
    size = len(job.patch_ids)
    assert size == int(0.25 * len(job.pool) + 0.5) == job.plan.num_patches
    header = fit(job, device=CPU)
    table = rows(job)
    assert [int(row["step"]) for row in table] == [8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert {int(row["active"]) for row in table} == {size}
    visited = [int(row["visited"]) for row in table]
    assert visited == sorted(visited) and size < visited[-1] <= len(job.pool)
    assert visited[0] <= min(size, 8 * 4)  # the warm-up knows what it began with alone
    assert all(0 < int(row["new"]) <= size for row in table[:-1]) and table[-1]["new"] == "0"
    assert float(table[-1]["loss"]) < float(table[0]["loss"])
    assert header.info["visited_patches"] == visited[-1]
    assert header.params["settings"] == {**ARGS, "decay": 0.9, "bound": 1.0}
    assert (header.params["num_patches"], header.params["steps"]) == (size, STEPS)


def test_the_last_active_set_is_a_core_set_to_train_on(plan: Plan, workspace: Workspace) -> None:
    job = plan({"offset": 0.1})
    fit(job, device=CPU)
    found = CoreSet.read(job.folder / "coreset.parquet", read_index(workspace).fingerprint)
    assert len(found) == len(job.patch_ids) and found.weights is None
    assert found.header.params["rule"] == "adaptive" and found.header.params["seed"] == 0
    assert found.header.params["num_skipped"] == round(0.1 * len(job.pool))
    again = plan_training(
        job.config, workspace, stem="tiny", name="on", coreset=job.folder / "coreset.parquet"
    )
    assert again.adaptive is None and np.array_equal(again.patch_ids, found.patch_ids)
    fit(again, device=CPU)
    assert not (again.folder / "adaptive.csv").exists()


def test_a_finished_run_is_recognised_and_other_settings_are_another_run(plan: Plan) -> None:
    header = fit(plan(), device=CPU)
    assert fit(plan(), device=CPU, progress=kill_at(1)) == header
    with pytest.raises(ArtifactMismatch, match="decay"):
        fit(plan({"args": {**ARGS, "decay": 0.5}}), device=CPU)
    stale = active(plan())
    fit(plan({"seed": 5}), device=CPU, restart=True)
    assert active(plan()) != stale


def test_names_tell_the_rule_its_settings_and_the_seed(plan: Plan) -> None:
    assert plan().train_set == "adaptive_r0.25_warmup0.2_period0.1_explore0.2__seed0"


# --- the same run, however it is computed ---


@pytest.mark.parametrize("step", [8, 14, 19])
def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(plan: Plan, step: int) -> None:
    """Between choices, at one, and before the losses of a batch were looked at."""
    header = fit(plan(), device=CPU)
    expected, last, table = tensors(plan()), active(plan()), rows(plan())
    with pytest.raises(Killed):
        fit(plan(), device=CPU, restart=True, progress=kill_at(step))
    assert not (plan().folder / "coreset.parquet").exists()
    again = fit(plan(), device=CPU, resume=True)
    assert again.fingerprint == header.fingerprint
    assert equal(tensors(plan()), expected)
    assert (active(plan()), rows(plan())) == (last, table)


def test_told_to_stop_it_goes_on_bit_for_bit_with_all_that_a_run_can_have(plan: Plan) -> None:
    more: dict[str, Any] = {"ema": 0.9, "compute": {"accumulate": 2}}
    expected = fit(plan(**more), device=CPU)
    told = iter([False] * 12 + [True])
    with pytest.raises(errors.Stopped, match="stopped at step 13 of 40"):
        fit(plan(**more), device=CPU, restart=True, stopping=lambda: next(told))
    assert fit(plan(**more), device=CPU, resume=True).fingerprint == expected.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoints": {"every": 3}},
        {"validation": {"benchmark": None, "every": 5}},
        {"data": {"residency": "disk"}},  # which reads ahead, over choices, too
    ],
    ids=["checkpoints", "validation", "data"],
)
def test_what_does_not_decide_the_weights_changes_none(plan: Plan, change: dict[str, Any]) -> None:
    fit(plan(), device=CPU)
    expected, last = tensors(plan()), active(plan())
    measure = (lambda network: {"psnr": 1.0}) if "validation" in change else None
    fit(plan(**change), device=CPU, restart=True, validate=measure)
    assert equal(tensors(plan()), expected) and active(plan()) == last


def test_without_a_choice_it_is_a_run_on_a_random_core_set(plan: Plan) -> None:
    """Bit for bit: what listens to the losses changes none, and the stream is the same."""
    control = plan({"rule": "random", "args": {}}, name="control")
    fit(control, device=CPU)
    for args in ({"warmup": 1.0}, {**ARGS, "bound": 0.25}):
        fit(plan({"args": args}), device=CPU, restart=True)
        assert equal(tensors(plan()), tensors(control))
        assert active(plan()) == control.patch_ids.tolist()
    state = {"network", "average", "optimizer", "scaler", "loss_sum", "best", "seconds"}
    state |= {"identity", "step", "validated_on"}
    for job, more in ((control, set[str]()), (plan(), {"active"})):
        with pytest.raises(Killed):
            fit(job, device=CPU, restart=True, progress=kill_at(8))
        found = job.checkpoints.load()
        assert found is not None and set(found) == state | more


def test_all_of_it_is_the_full_set(plan: Plan) -> None:
    job = plan({"ratio": 1.0})
    assert (job.train_set, job.adaptive) == ("full", None)


# --- what may be visited ---


def test_a_bound_holds_for_the_whole_run_and_for_the_memory(plan: Plan) -> None:
    bounded = plan({"args": {**ARGS, "bound": 0.5}})
    half = int(0.5 * len(bounded.pool) + 0.5)
    assert len(bounded.reachable_ids) == half and len(bounded.patch_ids) < half
    assert bounded.num_bytes < plan().num_bytes
    fit(bounded, device=CPU)
    assert int(rows(bounded)[-1]["visited"]) <= half
    assert set(active(bounded)) <= set(bounded.reachable_ids.tolist())


def test_every_patch_can_be_reached_and_is_counted_in_bytes(plan: Plan) -> None:
    job = plan()
    pixels = sum(image.height * image.width for image in job.pool.index.images)
    assert job.num_bytes == 3 * (pixels + pixels // 4)
    _, patches_at = open_batches(job, CPU, ALONE)
    assert set(patches_at(0)) <= set(job.patch_ids.tolist())


def test_what_does_not_fit_is_refused_in_one_line(plan: Plan) -> None:
    with pytest.raises(InputError, match=r"pruning\.args\.bound 0\.2 lets the run visit"):
        plan({"args": {"bound": 0.2}})
    with pytest.raises(InputError, match=r"pruning\.args\.bound 0\.5 lets the run visit"):
        plan({"ratio": 1.0, "args": {"bound": 0.5}})
    with pytest.raises(InputError, match=r"pruning\.args\.explore is 2; with adaptive it must"):
        plan({"args": {"explore": 2}})
    with pytest.raises(InputError, match=r"batch is 20, but adaptive_.* has 18 patches"):
        check_batch(plan(batch=20))


# --- what it finds ---


@pytest.fixture
def hard_image(tmp_path: Path) -> Workspace:
    """Five images of gentle slopes, and one of noise, which no network can enlarge."""
    folder, rng = tmp_path / "toy", np.random.default_rng(1)
    folder.mkdir()
    slope = np.linspace(60, 190, 96)
    for number in range(6):
        plane = np.add.outer(slope / 2, np.roll(slope, 16 * number) / 2)
        if number == 3:
            plane = rng.uniform(0, 255, plane.shape)
        Image.fromarray(plane.astype(np.uint8)).convert("RGB").save(folder / f"{number}.png")
    made = Workspace(tmp_path / "toy_workspace")
    extract(ImageSource.find(str(folder)), ExtractConfig(size=48, stride=24), made)
    return made


def test_it_finds_the_image_that_is_hard(hard_image: Workspace) -> None:
    index = read_index(hard_image)
    hard = set(np.flatnonzero(index.image_N == 3).tolist())
    pruning = {"rule": "adaptive", "ratio": 0.25, "args": {"explore": 0.2}}
    config = TrainConfig(
        model="fsrcnn",
        model_args={"d": 6, "s": 4, "m": 1},
        budget={"steps": 120},
        batch=4,
        lr_crop=12,
        pruning=pruning,
    )
    job = plan_training(config, hard_image, stem="toy")
    assert len(hard & set(job.patch_ids.tolist())) < len(hard) / 2
    fit(job, device=CPU)
    size = len(job.patch_ids)
    assert hard <= set(active(job)) and len(hard) <= 0.8 * size
    skipping = {**pruning, "ratio": 0.25, "offset": len(hard) / len(index)}
    job = plan_training(replace_pruning(config, skipping), hard_image, stem="skip")
    fit(job, device=CPU)
    assert len(hard & set(active(job))) <= 0.2 * size  # by exploration alone


def replace_pruning(config: TrainConfig, pruning: dict[str, Any]) -> TrainConfig:
    return TrainConfig(**{**config.model_dump(), "pruning": pruning})


def test_a_run_that_diverges_names_the_patches_of_the_step(plan: Plan) -> None:
    job = plan(optimizer={"name": "sgd", "lr": 1e18})
    with pytest.raises(Diverged, match=r"at step \d+ \(patches [\d, ]+\)\. Lower optimizer\.lr"):
        fit(job, device=CPU)
    assert not (job.folder / "coreset.parquet").exists()
