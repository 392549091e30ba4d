"""The training loop: stopping, checkpoints on the way, and the best weights."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

torch = pytest.importorskip("torch")

from srprune.core.errors import ArtifactMismatch, Stopped  # noqa: E402
from srprune.training.loop import Validation  # noqa: E402
from tests.training.loops import (  # noqa: E402
    Killed,
    checkpoints,
    config,
    equal,
    first_pixel,
    rows,
    run,
    saved,
    srcnn,
    tensors_of,
)

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
