"""The training loop: real networks on small crops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from srprune.core.errors import Stopped  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.training.ema import MovingAverage  # noqa: E402
from tests.training.loops import (  # noqa: E402
    BATCH,
    Killed,
    Pairs,
    blurred,
    checkpoints,
    config,
    equal,
    first_pixel,
    halved,
    rows,
    run,
    saved,
    srcnn,
    tensors_of,
    tiny,
    untimed,
    waves,
    with_buffers,
)


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
