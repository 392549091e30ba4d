"""Two processes that train together choose the same patches, and those that one would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

pytest.importorskip("torch")
from srprune.core.config import ExtractConfig
from srprune.core.coreset import CoreSet
from srprune.core.workspace import Workspace
from srprune.stages.extract import ImageSource, extract
from tests.conftest import small_images
from tests.processes import Server, together

SIZE = 2

WORKER = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from srprune.core.config import TrainConfig
from srprune.core.errors import Stopped
from srprune.core.workspace import Workspace
from srprune.data.sampler import CropSampler
from srprune.selection.adaptive import adaptive, adaptive_plan
from srprune.stages.fit import fit
from srprune.stages.train import plan_training
from srprune.training.adaptive import ActiveSet
from srprune.training.distributed import ALONE, joined

root, device = Path(sys.argv[1]), torch.device("cpu")
STEPS, BATCH = 60, 6


def choices(world, resumed_by=None, at=33):
    # the sets in force, of losses that the patch and the step decide
    settings = adaptive.checked({"warmup": 0.2, "period": 0.1, "explore": 0.3})
    plan = adaptive_plan(50, 0.4, 0.1, 0, settings)
    first = CropSampler(
        plan.start_K, seed=0, batch=BATCH, lr_patch=9, lr_crop=5, augment=True
    ).of(plan.start_K, np.searchsorted(plan.ids_M, plan.start_K), 0)
    now, sets = [first], []

    def fresh(world):
        return ActiveSet(
            plan, first, steps=STEPS, batch=BATCH, changed=now.append, world=world
        )

    active = fresh(world)
    for step in range(STEPS):
        picks = now[-1].at(step, world.rank, world.size)
        active.add(step, torch.from_numpy(np.float32(picks.patch_B % 7 + 1) / (step + 2)))
        if active.due(step + 1):
            active.look(step + 1)
        if resumed_by is not None and step == at:
            state = active.state_dict()
            world, active = resumed_by, fresh(resumed_by)
            active.load_state_dict(state)
            if world.size == 1 and not joined_world.first:
                return None
        sets.append(active.patch_ids.tolist())
    return sets


def train(world, name, stop=None):
    config = TrainConfig(
        model="fsrcnn",
        model_args={"d": 6, "s": 4, "m": 1},
        budget={"steps": 24},
        batch=4,
        lr_crop=12,
        optimizer={"name": "sgd", "lr": 0.02},
        compute={"accumulate": 2},
        pruning={"rule": "adaptive", "ratio": 0.25, "args": {"warmup": 0.25, "period": 0.125}},
    )
    with world.in_turn():  # the first one makes LR
        job = plan_training(config, Workspace(root), stem="tiny", name=name)
    steps = iter(range(1, 99))
    try:
        fit(job, device=device, world=world, resume=True, stopping=lambda: next(steps) == stop)
    except Stopped as error:
        return str(error)
    return ""


with joined(device) as world:
    joined_world = world
    told = {
        "two": choices(world),
        "resumed": choices(world, resumed_by=world),
        "resumed by one": choices(world, resumed_by=ALONE),
        "whole": train(world, "two"),
        "stopped": train(world, "parts", stop=2),
        "rest": train(world, "parts"),
    }
if world.first:
    told |= {"one": choices(ALONE), "alone": train(ALONE, "one")}
(root / f"told_{world.rank}.json").write_text(json.dumps(told))
"""


@pytest.fixture(scope="module")
def root(server: Server | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of two processes, and those of the first of them alone."""
    folder = tmp_path_factory.mktemp("adaptive")
    images = small_images(folder / "images")
    workspace = Workspace(folder / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), workspace)
    done = together(server, folder, workspace.root, code=WORKER, size=SIZE)
    said = "\n".join(each.stderr for each in done)
    assert [each.returncode for each in done] == [0] * SIZE, said
    return workspace.root


@pytest.fixture(scope="module")
def told(root: Path) -> list[dict[str, Any]]:
    """What each process said of itself."""
    return [json.loads((root / f"told_{rank}.json").read_text()) for rank in range(SIZE)]


def test_all_processes_choose_the_same_patches_as_one_alone(told: list[dict[str, Any]]) -> None:
    first, second = told
    assert first["one"] == first["two"] == second["two"]
    assert len({tuple(ids) for ids in first["one"]}) == 9  # the first one, and eight choices
    hard = [np.mean(np.array(ids) % 7) for ids in first["one"]]
    assert hard[-1] > hard[0] + 0.5  # else this would show nothing


def test_between_two_choices_another_number_of_processes_can_go_on(
    told: list[dict[str, Any]],
) -> None:
    first, second = told
    assert first["resumed"] == second["resumed"] == first["two"]
    assert first["resumed by one"] == first["two"]


def test_two_processes_train_the_weights_of_one(root: Path) -> None:
    one, two = (weights(root, name) for name in ("one", "two"))
    for name, tensor in one.items():
        assert np.allclose(tensor, two[name], rtol=1e-4, atol=1e-6), name
    assert active(root, "one") == active(root, "two")


def test_two_processes_resume_bit_for_bit(root: Path, told: list[dict[str, Any]]) -> None:
    for each in told:
        assert "stopped at step" in each["stopped"] and not each["rest"] and not each["whole"]
    parts, whole = (weights(root, name) for name in ("parts", "two"))
    assert all(np.array_equal(parts[name], whole[name]) for name in whole)
    assert active(root, "parts") == active(root, "two")
    logs = [(root / "runs" / name / "adaptive.csv").read_text() for name in ("parts", "two")]
    assert logs[0] == logs[1]


def weights(root: Path, name: str) -> dict[str, Any]:
    return dict(load_file(root / "runs" / name / "weights.safetensors"))


def active(root: Path, name: str) -> list[int]:
    ids: list[int] = CoreSet.read(root / "runs" / name / "coreset.parquet").patch_ids.tolist()
    return ids
