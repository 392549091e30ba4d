"""The training loop: what is measured and logged on the way, and a loss that is lost."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from srprune.core.errors import InputError  # noqa: E402
from srprune.training.loop import LOG_EVERY  # noqa: E402
from tests.training.loops import (  # noqa: E402
    BATCH,
    SIDE,
    BatchAt,
    Killed,
    Pairs,
    config,
    equal,
    first_pixel,
    rows,
    run,
    saved,
    srcnn,
    tensors_of,
    waves,
    with_buffers,
)

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
