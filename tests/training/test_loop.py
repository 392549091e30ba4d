"""The training loop: real networks on small crops."""

from __future__ import annotations

import csv
import math
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from srprune.core.config import TrainConfig  # noqa: E402
from srprune.core.errors import ArtifactMismatch, InputError, Stopped  # noqa: E402
from srprune.models import MODELS  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.models.network import Network, RandomLayer  # noqa: E402
from srprune.training import LOSSES  # noqa: E402
from srprune.training.checkpoints import Checkpoints  # noqa: E402
from srprune.training.ema import MovingAverage  # noqa: E402
from srprune.training.loop import LOG_EVERY, Validation, train  # noqa: E402
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


@pytest.mark.parametrize("loss", ["mse", "l1", "euclidean"])
def test_training_reduces_the_loss(tmp_path: Path, loss: str) -> None:
    def error(network: Any) -> float:
        with torch.inference_mode():
            pairs = [waves(step) for step in range(1000, 1010)]
            return sum(float((network(x) - target).square().mean()) for x, target in pairs)

    network = srcnn()
    before = error(network)
    assert run(network, tmp_path, 200, settings=config(loss=loss)) == list(range(1, 201))
    assert error(network) < before / 10
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
        return {"pixel": float(network(waves(0)[0])[0, 0, 8, 8])}


@pytest.mark.parametrize(
    ("stop", "checkpoint"), [(39, 0), (40, 40), (130, 120), (200, 200), (229, 200)]
)
def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path, stop: int, checkpoint: int
) -> None:
    folder, expected = whole
    with pytest.raises(Killed):
        run(srcnn(), tmp_path, 230, stop=stop, validate=first_pixel)
    assert saved(tmp_path)[:1] == ([checkpoint] if checkpoint else [])
    again = srcnn() if not checkpoint else srcnn(seed=99)  # the checkpoint decides, not the seed
    assert run(again, tmp_path, 230, validate=first_pixel) == list(range(checkpoint + 1, 231))
    assert equal(tensors_of(again), expected)
    assert untimed(tmp_path / "log.csv") == untimed(folder / "log.csv")
    measured = (tmp_path / "validation.csv").read_text()
    assert measured == (folder / "validation.csv").read_text()


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
    settings = config(optimizer=optimizer, checkpoints={"every": 5})
    whole = with_buffers()
    run(whole, tmp_path / "whole", 20, settings=settings)
    assert whole.layers[1].num_batches_tracked == 20
    with pytest.raises(Killed):
        run(with_buffers(), tmp_path / "parts", 20, stop=12, settings=settings)
    again = with_buffers(seed=99)
    assert run(again, tmp_path / "parts", 20, settings=settings) == list(range(11, 21))
    assert equal(tensors_of(again), tensors_of(whole))


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "average": ("fsrcnn", {"ema": 0.9}),
    "parts": ("fsrcnn", {"compute": {"accumulate": 2}}),
    "batch norm": ("srresnet", {}),
    "batch norm in parts": ("drrn", {"compute": {"accumulate": 2}, "ema": 0.5}),
    "stochastic depth": ("swinir", {}),
    "stochastic depth in parts": ("swinir", {"compute": {"accumulate": 2}}),
    "bf16": ("edsr_baseline", {"compute": {"precision": "bf16"}}),
    # such gradients are beyond fp16 at first, so the scale of the loss changes on the way
    "fp16": ("edsr_baseline", {"compute": {"precision": "fp16"}, "loss": "euclidean"}),
    "all at once": (
        "srresnet",
        {"compute": {"precision": "bf16", "accumulate": 2}, "ema": 0.9, "loss": "l1"},
    ),
}


@pytest.mark.parametrize("by_signal", [False, True], ids=["killed", "stopped"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_resumed_run_is_exact_whatever_is_trained(
    tmp_path: Path, kind: str, by_signal: bool
) -> None:
    """After a kill from the checkpoint before, after a signal from where it stood."""
    model, changes = KINDS[kind]
    settings = config(checkpoints={"every": 3}, validation={"every": 4}, **changes)
    figures: list[list[float]] = []

    def go(seed: int, name: str, **more: Any) -> tuple[list[int], Any]:
        network = tiny(model, seed)
        seen: list[float] = []
        figures.append(seen)
        batch_at = halved(network, settings.compute.accumulate)

        def measure(network: Any) -> dict[str, float]:
            with torch.inference_mode():
                seen.append(float(network(batch_at(0)[0][0]).mean()))
            return {"mean": seen[-1]}

        trained: list[Any] = []
        reported = run(
            network,
            tmp_path / name,
            9,
            batch_at,
            settings=settings,
            validate=measure,
            trained=trained,
            **more,
        )
        return reported, (tensors_of(network), tensors_of(trained[0]))

    _, whole = go(0, "whole")
    if by_signal:
        told = iter([False] * 4 + [True])
        with pytest.raises(Stopped):
            go(0, "parts", stopping=lambda: next(told))
    else:
        with pytest.raises(Killed):
            go(0, "parts", stop=5)
    reported, resumed = go(99, "parts")
    assert reported == list(range(6 if by_signal else 4, 10))
    for expected, found in zip(whole, resumed, strict=True):
        assert equal(found, expected)
    assert figures[0][1:] == figures[2][-2:]
    assert untimed(tmp_path / "parts" / "log.csv") == untimed(tmp_path / "whole" / "log.csv")


def test_fp16_finds_its_scale_and_goes_on_with_it(tmp_path: Path) -> None:
    """The case above is one of changing scales, and a checkpoint has the scale."""
    network = tiny("edsr_baseline")
    settings = config(checkpoints={"every": 3}, loss="euclidean", compute={"precision": "fp16"})
    with pytest.raises(Killed):
        run(network, tmp_path, 9, halved(network), stop=5, settings=settings)
    state = checkpoints(tmp_path).load()
    assert state is not None
    assert 1 < state["scaler"]["scale"] < 65536
    assert {tensor.dtype for tensor in state["network"].values()} == {torch.float32}


def test_the_average_is_what_is_measured_and_returned(tmp_path: Path) -> None:
    """It is that of a MovingAverage which follows the run."""
    network = srcnn()
    follower = MovingAverage(srcnn(), 0.5)
    seen: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []

    def batch_at(step: int) -> Iterator[tuple[Any, Any]]:
        if step:
            follower.update(network)
        yield waves(step)

    def measure(measured: Any) -> dict[str, float]:
        assert not measured.training
        assert network.training
        seen.append(tensors_of(measured))
        return {"figure": float(len(seen))}

    trained: list[Any] = []
    run(
        network,
        tmp_path,
        6,
        batch_at,
        settings=config(ema=0.5, validation={"every": 3}),
        trained=trained,
        validate=measure,
        keep_best=lambda measured, *_: kept.append(tensors_of(measured)),
    )
    follower.update(network)
    assert equal(tensors_of(trained[0]), follower.state_dict())
    assert not equal(tensors_of(trained[0]), tensors_of(network))
    assert equal(seen[-1], tensors_of(trained[0]))
    assert not equal(seen[0], seen[1])
    assert all(equal(a, b) for a, b in zip(seen, kept, strict=True))


def test_without_an_average_the_network_itself_is_returned(tmp_path: Path) -> None:
    network = srcnn()
    trained: list[Any] = []
    run(network, tmp_path, 2, trained=trained)
    assert trained[0] is network


@pytest.mark.parametrize("model", ["fsrcnn", "swinir"])
def test_a_batch_in_parts_is_learned_as_a_whole_one(tmp_path: Path, model: str) -> None:
    """With SGD rounding stays rounding."""
    results = []
    for parts in (1, 2):
        network = tiny(model)
        settings = config(
            optimizer={"name": "sgd", "lr": 0.02},
            schedule={"name": "constant"},
            compute={"accumulate": parts},
        )
        run(network, tmp_path / str(parts), 5, halved(network, parts), settings=settings)
        results.append(tensors_of(network))
    before = tensors_of(tiny(model))
    for name, tensor in results[0].items():
        torch.testing.assert_close(results[1][name], tensor, rtol=1e-4, atol=1e-6)
    assert max(float((results[0][name] - before[name]).abs().max()) for name in before) > 1e-3
    losses = [float(rows(tmp_path / str(parts) / "log.csv")[0]["loss"]) for parts in (1, 2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


# --- stopping -----------------------------------------------------------------------------------


def test_stopping_saves_and_says_so(tmp_path: Path) -> None:
    asked = []

    def stopping() -> bool:
        asked.append(True)
        return len(asked) == 7

    notes: list[str] = []
    with pytest.raises(Stopped) as caught:
        run(srcnn(), tmp_path, 20, stopping=stopping, notes=notes)
    assert str(caught.value) == (
        "stopped at step 7 of 20; the checkpoint is saved. Pass --resume to go on."
    )
    assert caught.value.exit_status == 143
    assert saved(tmp_path) == [7]
    assert len(notes) == 6


def test_a_run_that_is_about_to_end_does_not_stop(tmp_path: Path) -> None:
    asked = []

    def stopping() -> bool:
        asked.append(True)
        return len(asked) == 4

    assert run(srcnn(), tmp_path, 4, stopping=stopping) == [1, 2, 3, 4]
    assert run(srcnn(), tmp_path / "one", 1, stopping=lambda: True) == [1]
    assert saved(tmp_path) == saved(tmp_path / "one") == []


def test_a_stopped_run_leaves_all_points_of_its_curves(tmp_path: Path) -> None:
    told = iter([False] * 104 + [True])
    before = threading.enumerate()
    with pytest.raises(Stopped) as caught:
        run(srcnn(), tmp_path, 200, stopping=lambda: next(told), validate=first_pixel)
    assert "step 105 of 200" in str(caught.value)
    assert threading.enumerate() == before  # what writes the points has ended, so it has them all
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    points = {
        name: [each.step for each in events.Scalars(name)] for name in events.Tags()["scalars"]
    }
    assert points == {
        "train/lr": [100],
        "train/loss": [100],
        "train/patches_per_s": [100],
        "validation/pixel": [60],
    }


# --- the checkpoints on the way -----------------------------------------------------------------


def test_checkpoints_are_written_on_the_way_and_few_are_kept(tmp_path: Path) -> None:
    settings = config(checkpoints={"every": 2, "keep": 3})
    with pytest.raises(Killed):
        run(srcnn(), tmp_path, 20, stop=11, settings=settings)
    assert saved(tmp_path) == [10, 8, 6]


def test_a_damaged_checkpoint_costs_some_steps_and_nothing_else(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        run(srcnn(), tmp_path, 230, stop=130)
    newest = checkpoints(tmp_path).files()[0]
    newest.write_bytes(newest.read_bytes()[:-1])
    again = srcnn(seed=99)
    assert run(again, tmp_path, 230)[0] == 81
    assert equal(tensors_of(again), whole[1])


def test_a_checkpoint_of_another_run_is_refused_untouched(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(srcnn(), tmp_path, 50, stop=45)
    network = srcnn(seed=1)
    with pytest.raises(ArtifactMismatch, match="run 'this run' there, 'that run' asked for"):
        run(network, tmp_path, 50, identity="that run")
    assert equal(tensors_of(network), tensors_of(srcnn(seed=1)))
    assert saved(tmp_path) == [40]


# --- the best weights ---------------------------------------------------------------------------


def test_the_best_is_told_when_it_is_measured_and_survives_an_interruption(tmp_path: Path) -> None:
    figures = {1: 20.0, 2: 25.0, 3: 24.0, 4: 24.5, 5: 25.0, 6: 26.0, 7: 25.5}
    settings = config(validation={"every": 1}, checkpoints={"every": 3})
    told: list[tuple[int, str, float]] = []
    weights: dict[int, dict[str, Any]] = {}

    def go(stop: int | None) -> None:
        network = srcnn()
        state = checkpoints(tmp_path).load()
        step = state["step"] if state else 0

        def measure(measured: Any) -> dict[str, float]:
            nonlocal step
            step += 1
            weights[step] = tensors_of(measured)
            return {"psnr": figures[step], "ssim": -figures[step]}

        def keep_best(measured: Any, done: int, name: str, value: float) -> None:
            told.append((done, name, value))
            assert equal(tensors_of(measured), weights[done])

        run(network, tmp_path, 7, settings=settings, stop=stop, validate=measure,
            keep_best=keep_best)  # fmt: skip

    with pytest.raises(Killed):
        go(stop=4)
    assert told == [(1, "psnr", 20.0), (2, "psnr", 25.0)]
    told.clear()
    go(stop=None)
    assert told == [(6, "psnr", 26.0)]


def test_figures_of_another_benchmark_begin_anew(tmp_path: Path) -> None:
    """Whatever was killed when; what was not measured in between has not changed."""
    settings = config(validation={"every": 1}, checkpoints={"every": 1})
    best: list[float] = []

    def go(validate: Any, stop: int | None) -> None:
        def keep_best(measured: Any, done: int, name: str, value: float) -> None:
            best.append(value)

        try:
            run(srcnn(), tmp_path, 6, settings=settings, stop=stop, validate=validate,
                keep_best=keep_best)  # fmt: skip
        except Killed:
            assert stop

    def logged() -> list[tuple[str, str]]:
        return [(row["step"], row["psnr"][:4]) for row in rows(tmp_path / "validation.csv")]

    first, second = (
        Validation(name, lambda _, v=v: {"psnr": v}) for name, v in (("a", 30.0), ("b", 20.0))
    )
    go(first, stop=1)
    go(None, stop=3)
    go(first, stop=4)
    assert best == [30.0] and logged() == [("1", "30.0"), ("4", "30.0")]
    go(second, stop=5)
    go(second, stop=None)
    assert best == [30.0, 20.0] and logged() == [("5", "20.0"), ("6", "20.0")]


def test_a_figure_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    told: list[int] = []
    figures = iter([math.nan, 1.0, math.nan])
    run(
        srcnn(),
        tmp_path,
        3,
        settings=config(validation={"every": 1}),
        validate=lambda network: {"psnr": next(figures)},
        keep_best=lambda network, step, name, value: told.append(step),
    )
    assert told == [2]


# --- measuring and clipping ---------------------------------------------------------------------


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

    def far(step: int) -> Pairs:
        places.append(torch.cat([p.detach().flatten().clone() for p in network.parameters()]))
        return [(waves(step)[0], torch.full((BATCH, 1, SIDE, SIDE), 1e3))]

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
    assert list(log[0]) == ["step", "lr", "loss", "seconds", "patches_per_s"]
    assert [row["step"] for row in log] == ["100", "200", "230"]
    seconds = [float(row["seconds"]) for row in log]
    assert seconds == sorted(seconds)
    for row in log:
        pace = BATCH * int(row["step"]) / float(row["patches_per_s"])
        assert pace == pytest.approx(float(row["seconds"]), abs=0.01, rel=0.01)
    rates = [1e-3 * (0.01 + 0.99 * (1 + math.cos(math.pi * k / 229)) / 2) for k in (99, 199, 229)]
    assert [float(row["lr"]) for row in log] == pytest.approx(rates, rel=1e-5)


def test_logged_loss_is_the_mean_since_the_row_before(tmp_path: Path) -> None:
    still = config(optimizer={"lr": 1e-12})  # the network stays as it is
    network = srcnn()
    run(network, tmp_path, 130, settings=still)
    with torch.inference_mode():
        losses = [
            float((network(x) - target).square().mean()) for x, target in map(waves, range(130))
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


def test_the_note_tells_loss_rate_pace_and_the_last_figure(tmp_path: Path) -> None:
    notes: list[str] = []
    settings = config(validation={"every": 2}, schedule={"name": "constant"})
    run(srcnn(), tmp_path, 3, settings=settings, notes=notes,
        validate=lambda network: {"psnr": 30.5, "ssim": 0.25})  # fmt: skip
    shown = [note.split(", ") for note in notes]
    assert [len(parts) for parts in shown] == [3, 4, 4]
    for parts in shown:
        assert 0 < float(parts[0].removeprefix("loss ")) < 1
        assert parts[1] == "lr 0.001"
        assert float(parts[2].removesuffix(" patches/s").replace(",", "")) > 0
        assert parts[3:] in ([], ["psnr 30.50"])


# --- a loss that is lost ------------------------------------------------------------------------


def spoiled(bad: float, at: int) -> BatchAt:
    def batch_at(step: int) -> Pairs:
        x, target = waves(step)
        return [(x, target * (bad if step == at else 1))]

    return batch_at


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_step_patches_and_checkpoint(
    tmp_path: Path, bad: float
) -> None:
    settings = config(checkpoints={"every": 5})
    with pytest.raises(InputError) as caught:
        run(srcnn(), tmp_path, 10, spoiled(bad, 6), settings=settings,
            patches_at=lambda step: [step, 70, 7])  # fmt: skip
    assert str(caught.value) == (
        f"the loss is {bad} at step 7 (patches 6, 70, 7). Lower optimizer.lr (now 0.001); "
        "the last checkpoint, of step 5, is whole."
    )
    network = srcnn(seed=1)
    assert run(network, tmp_path, 10) == [6, 7, 8, 9, 10]
    assert all(torch.isfinite(p).all() for p in network.parameters())


def test_a_lost_loss_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(srcnn(), tmp_path, 3, spoiled(math.nan, 0))
    assert str(caught.value) == (
        "the loss is nan at step 1. Lower optimizer.lr (now 0.001); there is no checkpoint."
    )


def test_a_lost_loss_after_resuming_names_the_checkpoint_it_came_from(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(srcnn(), tmp_path, 50, stop=41)
    with pytest.raises(InputError, match="the last checkpoint, of step 40, is whole"):
        run(srcnn(), tmp_path, 50, spoiled(math.nan, 45))


def test_of_many_patches_some_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(srcnn(), tmp_path, 3, spoiled(math.nan, 1), patches_at=lambda step: list(range(99)))
    named = ", ".join(map(str, range(16)))
    assert f"at step 2 (patches {named}, ...). " in str(caught.value)
    assert "16" not in str(caught.value)


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    """The loss of the last step is finite, its update is not: the next loss would show it."""
    settings = config(optimizer={"name": "sgd", "lr": 1e38}, checkpoints={"every": 1})
    for steps in (1, 2):
        folder = tmp_path / str(steps)
        with pytest.raises(InputError) as caught:
            run(srcnn(), folder, steps, spoiled(1e18, 0), settings=settings,
                patches_at=lambda step: [step, 70])  # fmt: skip
        assert str(caught.value) == (
            "the weights are no longer finite at step 1 (patches 0, 70). Lower optimizer.lr "
            "(now 1e+38); there is no checkpoint."
        )
        assert saved(folder) == []


def test_a_loss_that_fp16_cannot_hold_hints_at_bf16(tmp_path: Path) -> None:
    settings = config(compute={"precision": "fp16"})
    with pytest.raises(InputError, match=r"or choose compute.precision bf16; there is no"):
        run(srcnn(), tmp_path, 3, spoiled(math.inf, 1), settings=settings)


# --- what the loss sees, and what moves ---------------------------------------------------------


def test_what_stands_in_the_rim_changes_nothing(tmp_path: Path) -> None:
    def framed(step: int) -> Pairs:
        x, target = waves(step)
        other = torch.full_like(target, 7.0)
        other[:, :, 3:-3, 3:-3] = target[:, :, 3:-3, 3:-3]
        return [(x, other)]

    results = {}
    for name, batch_at, rim in (
        ("clean", blurred, 3),
        ("framed", framed, 3),
        ("seen", framed, 2),
    ):
        network = srcnn()
        run(network, tmp_path / name, 5, batch_at, rim=rim)
        results[name] = tensors_of(network)
    assert equal(results["clean"], results["framed"])
    assert not equal(results["clean"], results["seen"])


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

    def batch_at(step: int) -> Pairs:
        generator = torch.Generator().manual_seed(step)
        lr = torch.rand(BATCH, 3, 8, 8, generator=generator)
        hr = torch.rand(BATCH, 3, 16, 16, generator=generator)
        return [(domain.input(lr), domain.target(hr))]

    settings = config(optimizer=rates)
    run(network, tmp_path, 1, batch_at, settings=settings, last_layer=network.last_layer)
    for name, tensor in network.state_dict().items():
        last = name.startswith(network.last_layer)
        # Adam's first step has the length of the rate wherever there is a gradient
        moved = (tensor - before[name]).abs().max().item()
        assert moved == pytest.approx(1e-2 * (factor if last else 1), rel=1e-2), name
