"""The training loop: real networks on small crops."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from srprune.core.config import TrainConfig  # noqa: E402
from srprune.core.errors import InputError  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.training.loop import LOG_EVERY, inside, train  # noqa: E402
from srprune.training.plan import StepPlan  # noqa: E402
from srprune.training.state import StateFile  # noqa: E402

CPU = torch.device("cpu")
SIDE = 16  # px of a crop
BATCH = 2


class Stopped(Exception):
    """Stands for Ctrl-C between two steps."""


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(
        **{
            "model": "srcnn",
            "budget": {"steps": 1},
            "loss": "mse",
            "optimizer": {"lr": 1e-3},
            "validation": {"every": 60},
            "checkpoint_every": 40,
            **changes,
        }
    )


def srcnn(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build("srcnn", 2, {"init": "he"})[0]


def blurred(step: int) -> tuple[Any, Any]:
    """Sharpening as a task: waves, and the same waves blurred."""
    generator = torch.Generator().manual_seed(step)
    phase, slope = torch.rand(2, BATCH, 1, 1, 1, generator=generator)
    ramp = torch.arange(SIDE, dtype=torch.float32)
    waves = torch.sin(ramp * (0.5 + slope) + 6 * phase) * torch.cos(ramp[:, None] * 0.7)
    target = 0.5 + 0.4 * waves
    padded = torch.nn.functional.pad(target, (1, 1, 1, 1), "replicate")
    return torch.nn.functional.avg_pool2d(padded, 3, 1), target


def run(
    network: Any,
    folder: Path,
    steps: int,
    batch_at: Callable[[int], tuple[Any, Any]] = blurred,
    stop: int | None = None,
    settings: TrainConfig | None = None,
    **more: Any,
) -> list[int]:
    """Train; return the steps that were reported."""
    reported: list[int] = []

    def progress(label: str, done: int, total: int, note: str = "") -> None:
        assert (label, total) == ("train", steps)
        reported.append(done)
        if done == stop:
            raise Stopped

    train(
        network,
        batch_at,
        plan=StepPlan(steps, steps, BATCH, 10, 10),
        config=settings or config(),
        state=StateFile(folder / "state.pt", "this run"),
        folder=folder,
        device=CPU,
        progress=progress,
        **more,
    )
    return reported


def tensors_of(network: Any) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("loss", ["mse", "l1", "euclidean"])
def test_training_reduces_the_loss(tmp_path: Path, loss: str) -> None:
    def error(network: Any) -> float:
        with torch.inference_mode():
            pairs = [blurred(step) for step in range(1000, 1010)]
            return sum(float((network(x) - target).square().mean()) for x, target in pairs)

    network = srcnn()
    before = error(network)
    assert run(network, tmp_path, 200, settings=config(loss=loss)) == list(range(1, 201))
    assert error(network) < before / 10
    assert not network.training
    log = rows(tmp_path / "log.csv")
    assert [row["step"] for row in log] == ["100", "200"]
    assert float(log[1]["loss"]) < float(log[0]["loss"]) / 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of 230 steps that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    network = srcnn()
    run(network, folder, 230, validate=first_pixel)
    return folder, tensors_of(network)


def first_pixel(network: Any) -> dict[str, float]:
    with torch.inference_mode():
        return {"pixel": float(network(blurred(0)[0])[0, 0, 8, 8])}


@pytest.mark.parametrize(
    ("stop", "checkpoint"), [(39, 0), (40, 40), (130, 120), (200, 200), (229, 200)]
)
def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path, stop: int, checkpoint: int
) -> None:
    folder, expected = whole
    with pytest.raises(Stopped):
        run(srcnn(), tmp_path, 230, stop=stop, validate=first_pixel)
    assert (tmp_path / "state.pt").exists() == (checkpoint > 0)
    again = srcnn() if not checkpoint else srcnn(seed=99)  # the checkpoint decides, not the seed
    assert run(again, tmp_path, 230, validate=first_pixel) == list(range(checkpoint + 1, 231))
    assert equal(tensors_of(again), expected)
    assert [{**row, "seconds": ""} for row in rows(tmp_path / "log.csv")] == [
        {**row, "seconds": ""} for row in rows(folder / "log.csv")
    ]
    measured = (tmp_path / "validation.csv").read_text()
    assert measured == (folder / "validation.csv").read_text()


def with_buffers(seed: int = 0) -> Any:
    """A network with a state beside its weights, which draws random numbers in training."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Dropout2d(0.2),
        torch.nn.Conv2d(4, 1, 3, padding=1),
    )


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "sgd", "lr": 0.05, "weight_decay": 1e-4, "clip": 0.01, "clip_by_lr": True},
        {"lr": 1e-3, "bias_lr": 0.1, "clip": 0.05},
    ],
    ids=["sgd", "adam"],
)
def test_resuming_brings_back_batch_norm_momentum_and_random_numbers(
    tmp_path: Path, optimizer: dict[str, Any]
) -> None:
    settings = config(optimizer=optimizer, checkpoint_every=5)
    whole = with_buffers()
    run(whole, tmp_path / "whole", 20, settings=settings)
    assert whole[1].num_batches_tracked == 20
    with pytest.raises(Stopped):
        run(with_buffers(), tmp_path / "parts", 20, stop=12, settings=settings)
    again = with_buffers(seed=99)
    assert run(again, tmp_path / "parts", 20, settings=settings) == list(range(11, 21))
    assert equal(tensors_of(again), tensors_of(whole))


def test_validation_does_not_touch_batch_norm(tmp_path: Path) -> None:
    results = []
    for validate in (None, first_pixel):
        network = with_buffers()
        settings = config(validation={"every": 2})
        run(network, tmp_path / str(validate), 7, settings=settings, validate=validate)
        results.append(tensors_of(network))
    assert equal(*results)


@pytest.mark.parametrize("by_lr", [True, False])
def test_clipping_follows_the_rate_of_the_step(tmp_path: Path, by_lr: bool) -> None:
    """Plain SGD on a gradient that is always clipped goes the rate times the norm."""
    places = []

    def far(step: int) -> tuple[Any, Any]:
        places.append(torch.cat([p.detach().flatten().clone() for p in network.parameters()]))
        return blurred(step)[0], torch.full((BATCH, 1, SIDE, SIDE), 1e3)

    network = srcnn()
    sgd = {"name": "sgd", "lr": 0.5, "momentum": 0.0, "clip": 0.01, "clip_by_lr": by_lr}
    schedule = {"name": "multistep", "milestones": [0.5], "factor": 0.1}
    run(network, tmp_path, 4, far, settings=config(optimizer=sgd, schedule=schedule))
    far(4)
    moved = [(b - a).norm().item() for a, b in pairwise(places)]
    by_step = [0.01] * 4 if by_lr else [0.005, 0.005, 0.0005, 0.0005]
    assert moved == pytest.approx(by_step, rel=1e-3)


def test_log_has_a_row_every_hundred_steps_and_at_the_end(
    whole: tuple[Path, dict[str, Any]],
) -> None:
    assert LOG_EVERY == 100
    log = rows(whole[0] / "log.csv")
    assert list(log[0]) == ["step", "lr", "loss", "seconds"]
    assert [row["step"] for row in log] == ["100", "200", "230"]
    seconds = [float(row["seconds"]) for row in log]
    assert seconds == sorted(seconds)
    rates = [1e-3 * (0.01 + 0.99 * (1 + math.cos(math.pi * k / 229)) / 2) for k in (99, 199, 229)]
    assert [float(row["lr"]) for row in log] == pytest.approx(rates, rel=1e-5)


def test_logged_loss_is_the_mean_since_the_row_before(tmp_path: Path) -> None:
    still = config(optimizer={"lr": 1e-12})  # the network stays as it is
    network = srcnn()
    run(network, tmp_path, 130, settings=still)
    with torch.inference_mode():
        losses = [
            float((network(x) - target).square().mean()) for x, target in map(blurred, range(130))
        ]
    logged = [float(row["loss"]) for row in rows(tmp_path / "log.csv")]
    means = [sum(losses[:100]) / 100, sum(losses[100:]) / 30]
    assert logged == pytest.approx(means, rel=1e-4)


def test_validation_is_measured_on_the_way_and_at_the_end(tmp_path: Path) -> None:
    modes = []

    def measure(network: Any) -> dict[str, float]:
        modes.append(network.training)
        return {"psnr": 30.5, "ssim": 0.25}

    network = srcnn()
    run(network, tmp_path, 130, validate=measure)
    assert modes == [False, False, False]
    assert (tmp_path / "validation.csv").read_text() == (
        "step,psnr,ssim\n60,30.500000,0.250000\n120,30.500000,0.250000\n130,30.500000,0.250000\n"
    )


def test_validation_does_not_change_the_training(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    network = srcnn()
    run(network, tmp_path, 230)
    assert equal(tensors_of(network), whole[1])
    assert not (tmp_path / "validation.csv").exists()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_the_step(tmp_path: Path, bad: float) -> None:
    def spoiled(step: int) -> tuple[Any, Any]:
        x, target = blurred(step)
        return x, target * (bad if step == 6 else 1)

    with pytest.raises(InputError, match=f"the loss is {bad} at step 7") as caught:
        run(srcnn(), tmp_path, 10, spoiled, settings=config(checkpoint_every=5))
    assert "optimizer.lr" in str(caught.value)
    assert "0.001" in str(caught.value)
    network = srcnn(seed=1)
    assert run(network, tmp_path, 10) == [6, 7, 8, 9, 10]  # the last checkpoint is whole
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_what_stands_in_the_rim_changes_nothing(tmp_path: Path) -> None:
    def spoiled(step: int) -> tuple[Any, Any]:
        x, target = blurred(step)
        other = torch.full_like(target, 7.0)
        other[:, :, 3:-3, 3:-3] = target[:, :, 3:-3, 3:-3]
        return x, other

    results = {}
    for name, batch_at, rim in (
        ("clean", blurred, 3),
        ("spoiled", spoiled, 3),
        ("seen", spoiled, 2),
    ):
        network = srcnn()
        run(network, tmp_path / name, 5, batch_at, rim=rim)
        results[name] = tensors_of(network)
    assert equal(results["clean"], results["spoiled"])
    assert not equal(results["clean"], results["seen"])


def test_inside_cuts_the_rim_on_all_sides() -> None:
    image = torch.arange(2 * 1 * 7 * 9).view(2, 1, 7, 9)
    assert torch.equal(inside(image, 0), image)
    assert torch.equal(inside(image, 2), image[:, :, 2:5, 2:7])


@pytest.mark.parametrize(
    ("model", "factor"), [("srcnn", 0.1), ("fsrcnn", 0.1), ("srcnn", 1.0), ("fsrcnn", 1.0)]
)
def test_last_layer_lr_is_for_the_last_layer_alone(
    tmp_path: Path, model: str, factor: float
) -> None:
    torch.manual_seed(0)
    network, domain = build(model, 2, {})
    before = tensors_of(network)
    rates = {"lr": 1e-2, "last_layer_lr": factor}

    def batch_at(step: int) -> tuple[Any, Any]:
        generator = torch.Generator().manual_seed(step)
        lr = torch.rand(BATCH, 3, 8, 8, generator=generator)
        return domain.input(lr), domain.target(torch.rand(BATCH, 3, 16, 16, generator=generator))

    settings = config(optimizer=rates)
    run(network, tmp_path, 1, batch_at, settings=settings, last_layer=network.last_layer)
    for name, tensor in network.state_dict().items():
        last = name.startswith(network.last_layer)
        # Adam's first step has the length of the rate wherever there is a gradient
        moved = (tensor - before[name]).abs().max().item()
        assert moved == pytest.approx(1e-2 * (factor if last else 1), rel=1e-2), name
