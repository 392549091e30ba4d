"""Several processes as one: two real ones, joined as torchrun joins them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from srprune.training.distributed import ALONE, World, joined  # noqa: E402
from tests.processes import Server, together  # noqa: E402

CPU = torch.device("cpu")
SIZE = 2

WORKER = """
import json, math, sys, time
from pathlib import Path
import torch
from srprune.core.config import TrainConfig
from srprune.core.errors import InputError, Stopped, UserError
from srprune.models import MODELS
from srprune.models.build import build
from srprune.models.network import RandomLayer
from srprune.training.checkpoints import Checkpoints
from srprune.training.distributed import ALONE, joined
from srprune.training.loop import train
from srprune.training import LOSSES
from srprune.training.plan import StepPlan

folder, device = Path(sys.argv[1]), torch.device("cpu")
BATCH = 8


def network_of(model):
    torch.manual_seed(3)
    network = build(model, 2, dict(MODELS.load(model).spec.tiny))[0]
    for layer in network.modules():
        if isinstance(layer, RandomLayer):
            layer.drop_path = 0.5
    return network


def run(world, name, model="fsrcnn", steps=5, accumulate=1, bad=None, stop=None):
    network = network_of(model)
    settings = {
        "model": model,
        "budget": {"steps": steps},
        "loss": "mse",
        "ema": 0.5,
        "optimizer": {"name": "sgd", "lr": 0.02},
        "validation": {"every": 2},
        "checkpoints": {"every": 2, "keep": 9},
        "compute": {"accumulate": accumulate},
    }
    planes = 3 if network.spec.channels == "rgb" else 1
    notes, measured = [], []

    def batch_at(step):
        generator = torch.Generator().manual_seed(step)
        target = torch.rand(BATCH, 16, 16, planes, generator=generator).permute(0, 3, 1, 2)
        x = torch.nn.functional.avg_pool2d(target, 2).contiguous(memory_format=torch.channels_last)
        parts = list(zip(x.chunk(world.size * accumulate), target.chunk(world.size * accumulate)))
        for x, target in parts[world.rank * accumulate :][:accumulate]:
            spoiled = step == bad and world.rank == world.size - 1
            yield x, target * (math.nan if spoiled else 1)

    def validate(network):
        measured.append(world.rank)
        time.sleep(0.05)
        return {"psnr": 1.0}

    def progress(label, done, total, note):
        notes.append(note)

    try:
        average = train(
            network,
            batch_at,
            LOSSES.load(settings.get("loss", "l1"))().of_batch,
            plan=StepPlan(steps, steps, BATCH, 10, 10),
            config=TrainConfig(**settings),
            checkpoints=Checkpoints(folder / name / "checkpoints", settings, 9),
            folder=folder / name,
            device=device,
            world=world,
            validate=validate,
            patches_at=lambda step: list(range(100 * step, 100 * step + BATCH)),
            stopping=lambda: stop is not None and len(notes) >= stop,
            progress=progress,
        )
    except (InputError, Stopped) as error:
        said = f"{type(error).__name__}: {error}"
    else:
        said = ""
        # whatever a process holds must be the same: each writes its own file
        tensors = [network.state_dict(), average.state_dict(), network_of(model).state_dict()]
        torch.save(tensors, folder / f"{name}_{world.rank}.pt")
    return {"said": said, "notes": notes, "measured": measured}


with joined(device) as world:
    mine = torch.tensor([float(world.rank), 4.0])
    told = {
        "world": [world.rank, world.size, world.local_size, world.first],
        "gathered": world.gathered({"rank": world.rank * 10}),
        "any": [world.any(world.rank == r) for r in range(3)] + [world.any(True)],
        "mean": world.mean(mine).tolist(),
    }
    with world.in_turn():
        told["found"] = (folder / "made").exists()
        if world.first:
            time.sleep(0.3)
            (folder / "made").touch()
    try:
        with world.in_turn():
            if world.first:
                raise InputError("no space")
            told["went on"] = True
    except UserError as error:
        told["failed"] = f"{type(error).__name__}: {error}"
    told["runs"] = {
        "plain": run(world, "plain"),
        "parts": run(world, "parts", accumulate=2),
        "drops": run(world, "drops", model="swinir"),
        "bad": run(world, "bad", steps=20, bad=2),
        "whole": run(world, "whole", steps=11),
        "stopped": run(world, "stopped", steps=11, stop=5 if world.rank == 1 else None),
        "resumed": run(world, "stopped", steps=11),
    }
    (folder / f"told_{world.rank}.json").write_text(json.dumps(told))
if world.first:
    run(ALONE, "alone_plain")
    run(ALONE, "alone_drops", model="swinir")
"""


@pytest.fixture(scope="module")
def folder(server: Server | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left behind, and then the first of them alone."""
    folder = tmp_path_factory.mktemp("processes")
    done = together(server, folder, folder, code=WORKER, size=SIZE)
    said = "".join(each.stdout + each.stderr for each in done)
    assert [each.returncode for each in done] == [0] * SIZE, said
    (folder / "said.txt").write_text(said)
    return folder


@pytest.fixture(scope="module")
def told(folder: Path) -> list[dict[str, Any]]:
    """What each process said of itself."""
    return [json.loads((folder / f"told_{rank}.json").read_text()) for rank in range(SIZE)]


def results(folder: Path, name: str, rank: int = 0) -> Any:
    """Weights, moving average, and the weights before the first step."""
    return torch.load(folder / f"{name}_{rank}.pt")


def steps(path: Path) -> list[str]:
    return [line.split(",")[0] for line in path.read_text().splitlines()[1:]]


def test_each_process_knows_who_it_is(told: list[dict[str, Any]]) -> None:
    assert [each["world"] for each in told] == [[0, 2, 2, True], [1, 2, 2, False]]


def test_what_processes_tell_each_other(told: list[dict[str, Any]]) -> None:
    for each in told:
        assert each["gathered"] == [{"rank": 0}, {"rank": 10}]
        assert each["any"] == [True, True, False, True]
        assert each["mean"] == [0.5, 4.0]


def test_the_first_process_goes_before_the_others(told: list[dict[str, Any]]) -> None:
    assert [each["found"] for each in told] == [False, True]


def test_where_the_first_process_fails_the_others_do_not_go_on(told: list[dict[str, Any]]) -> None:
    assert [each["failed"] for each in told] == [
        "InputError: no space",
        "UserError: process 0 could not do its part; see what it says.",
    ]
    assert not any("went on" in each for each in told)


@pytest.mark.parametrize(
    ("name", "alone"),
    [("plain", "alone_plain"), ("parts", "alone_plain"), ("drops", "alone_drops")],
)
def test_two_processes_learn_what_one_learns(folder: Path, name: str, alone: str) -> None:
    """Each takes its parts of the batch, and drops what it would in the whole one."""
    found, average, before = results(folder, name)
    expected, expected_average, _ = results(folder, alone)
    moved = 0.0
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(average[key], expected_average[key], rtol=1e-4, atol=1e-6)
        moved = max(moved, float((tensor - before[key]).abs().max()))
    assert moved > 1e-3


@pytest.mark.parametrize("name", ["plain", "parts", "drops", "whole"])
def test_all_processes_end_with_the_same_weights(folder: Path, name: str) -> None:
    for first, second in zip(results(folder, name), results(folder, name, 1), strict=True):
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_first_process_alone_measures_and_writes(
    folder: Path, told: list[dict[str, Any]]
) -> None:
    assert [each["runs"]["plain"]["measured"] for each in told] == [[0, 0, 0], []]
    assert steps(folder / "plain" / "log.csv") == ["5"]
    assert steps(folder / "plain" / "validation.csv") == ["2", "4", "5"]
    names = sorted(path.name for path in (folder / "plain" / "checkpoints").iterdir())
    assert names == ["000000002.pt", "000000004.pt"]


def test_the_logged_loss_is_that_of_the_whole_batch(folder: Path) -> None:
    def loss(name: str) -> float:
        return float((folder / name / "log.csv").read_text().splitlines()[1].split(",")[2])

    assert loss("plain") == pytest.approx(loss("alone_plain"), rel=1e-5)
    assert loss("parts") == pytest.approx(loss("alone_plain"), rel=1e-5)


def test_a_loss_is_shown_from_the_first_step(told: list[dict[str, Any]]) -> None:
    for each in told:
        notes = each["runs"]["whole"]["notes"]
        assert len(notes) == 11
        assert not any("nan" in note for note in notes)


def test_a_bad_loss_of_one_process_stops_all_with_the_step(told: list[dict[str, Any]]) -> None:
    """It is seen at the checkpoint of step 4, which is then not written."""
    for each in told:
        said = each["runs"]["bad"]["said"]
        assert said.startswith(
            "Diverged: the loss is nan at step 3 (patches 200, 201, 202, 203, 204, 205, 206, 207)"
        )
        assert said.endswith("the last checkpoint, of step 2, is whole.")


def test_stopping_one_process_stops_all_and_resuming_is_exact(
    folder: Path, told: list[dict[str, Any]]
) -> None:
    for each in told:
        assert each["runs"]["stopped"]["said"].startswith("Stopped: stopped at step 6 of 11")
        assert len(each["runs"]["resumed"]["notes"]) == 5
    for rank in range(SIZE):
        whole, resumed = results(folder, "whole", rank), results(folder, "stopped", rank)
        for first, second in zip(whole, resumed, strict=True):
            assert all(torch.equal(first[key], second[key]) for key in first)


def test_nothing_is_said_that_nobody_can_mend(folder: Path) -> None:
    """Neither of strides of gradients, nor of anything else."""
    assert (folder / "said.txt").read_text() == ""


# --- alone --------------------------------------------------------------------------------------


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (None, "1"):
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        if size:
            monkeypatch.setenv("WORLD_SIZE", size)
        with joined(CPU) as world:
            assert world == ALONE == World(0, 1, 1)
            assert world.first
    assert not torch.distributed.is_initialized()


def test_who_is_alone_waits_for_nobody() -> None:
    values = torch.tensor([1.0, 2.0])
    assert ALONE.mean(values) is values
    assert values.tolist() == [1.0, 2.0]
    assert (ALONE.any(True), ALONE.any(False)) == (True, False)
    assert ALONE.gathered("mine") == ["mine"]
    ALONE.wait()
    done = []
    with ALONE.in_turn():
        done.append(1)
    assert done == [1]
