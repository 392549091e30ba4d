"""What tests of the training loop share: small networks, small tasks, a run that may die."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from srprune.core.config import TrainConfig  # noqa: E402
from srprune.models import MODELS  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.models.network import Network, RandomLayer  # noqa: E402
from srprune.training import LOSSES  # noqa: E402
from srprune.training.checkpoints import Checkpoints  # noqa: E402
from srprune.training.loop import train  # noqa: E402
from srprune.training.plan import StepPlan  # noqa: E402

CPU = torch.device("cpu")
SIDE = 16  # px of a crop
BATCH = 2

Pairs = list[tuple[Any, Any]]
BatchAt = Callable[[int], Pairs]


class Killed(Exception):
    """Stands for a kill between two steps."""


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(
        **{
            "model": "srcnn",
            "budget": {"steps": 1},
            "loss": "mse",
            "optimizer": {"lr": 1e-3},
            "validation": {"every": 60},
            "checkpoints": {"every": 40},
            **changes,
        }
    )


def srcnn(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build("srcnn", 2, {"init": "he"})[0]


def tiny(model: str, seed: int = 0) -> Any:
    """A small network; what drops something at random does so often."""
    torch.manual_seed(seed)
    network = build(model, 2, dict(MODELS.load(model).spec.tiny))[0]
    for layer in network.modules():
        if isinstance(layer, RandomLayer):
            layer.drop_path = 0.5
    return network


def waves(step: int) -> tuple[Any, Any]:
    """Sharpening as a task: waves, and the same waves blurred."""
    generator = torch.Generator().manual_seed(step)
    phase, slope = torch.rand(2, BATCH, 1, 1, 1, generator=generator)
    ramp = torch.arange(SIDE, dtype=torch.float32)
    sines = torch.sin(ramp * (0.5 + slope) + 6 * phase) * torch.cos(ramp[:, None] * 0.7)
    target = 0.5 + 0.4 * sines
    padded = nn.functional.pad(target, (1, 1, 1, 1), "replicate")
    return nn.functional.avg_pool2d(padded, 3, 1), target


def blurred(step: int) -> Pairs:
    return [waves(step)]


def halved(network: Any, parts: int = 1) -> BatchAt:
    """Waves for any network: halved in size unless it takes LR enlarged, cut into parts."""

    def batch_at(step: int) -> Pairs:
        blurry, target = waves(step)
        x = blurry if network.spec.pre_upsampled else nn.functional.avg_pool2d(target, 2)
        planes = 3 if network.spec.channels == "rgb" else 1
        pair = (each.expand(-1, planes, -1, -1).chunk(parts) for each in (x, target))
        return list(zip(*pair, strict=True))

    return batch_at


def run(
    network: Any,
    folder: Path,
    steps: int,
    batch_at: BatchAt = blurred,
    stop: int | None = None,
    settings: TrainConfig | None = None,
    identity: str = "this run",
    notes: list[str] | None = None,
    trained: list[Any] | None = None,
    **more: Any,
) -> list[int]:
    """Train; return the steps that were reported.

    ``stop``: the step after which it is killed; ``notes`` and ``trained`` are filled.
    """
    reported: list[int] = []
    settings = settings or config()

    def progress(label: str, done: int, total: int, note: str = "") -> None:
        assert (label, total) == ("train", steps)
        reported.append(done)
        if notes is not None:
            notes.append(note)
        if done == stop:
            raise Killed

    measured = train(
        network,
        batch_at,
        LOSSES.load(settings.loss)().of_batch,
        plan=StepPlan(steps, steps, BATCH, 10, 10),
        config=settings,
        checkpoints=checkpoints(folder, identity, settings),
        folder=folder,
        device=CPU,
        progress=progress,
        **more,
    )
    assert not measured.training
    if trained is not None:
        trained.append(measured)
    return reported


def checkpoints(
    folder: Path, identity: str = "this run", settings: TrainConfig | None = None
) -> Checkpoints:
    keep = (settings or config()).checkpoints.keep
    return Checkpoints(folder / "checkpoints", {"run": identity}, keep)


def saved(folder: Path) -> list[int]:
    """Steps of the checkpoints, the newest first."""
    return [int(path.stem) for path in checkpoints(folder).files()]


def tensors_of(network: Any) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def untimed(path: Path) -> list[dict[str, str]]:
    """Rows of a log without what the clock decides."""
    return [{**row, "seconds": "", "patches_per_s": ""} for row in rows(path)]


def first_pixel(network: Any) -> dict[str, float]:
    with torch.inference_mode():
        return {"pixel": float(network(waves(0)[0])[0, 0, 8, 8])}


class WithBuffers(Network):
    """A network with a state beside its weights, which draws random numbers in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout2d(0.2),
            nn.Conv2d(4, 1, 3, padding=1),
        )

    def forward(self, x: Any) -> Any:
        return self.layers(x)


def with_buffers(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return WithBuffers()
