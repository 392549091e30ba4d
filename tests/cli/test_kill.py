"""A killed job goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from srprune.core.artifact import read_header, read_table
from tests.processes import Child

KILLS = 3


def kill_when(child: Child, moment: Callable[[], bool]) -> bool:
    """Send SIGKILL as soon as ``moment`` is true; False if the child ended before."""
    deadline = time.monotonic() + 120
    while not moment():
        if child.poll() is not None:
            assert child.returncode == 0, child.stderr.read()
            return False
        assert time.monotonic() < deadline
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    return child.returncode == -signal.SIGKILL


def changes(path: Path, times: int) -> Callable[[], bool]:
    """True once a file has been replaced a number of times."""
    seen: set[int] = set()

    def moment() -> bool:
        try:
            seen.add(path.stat().st_mtime_ns)
        except FileNotFoundError:
            return False
        return len(seen) > times

    return moment


def grows(folder: Path, times: int) -> Callable[[], bool]:
    """True once a number of checkpoints have been written, beside those that are there."""
    before = {path.name for path in folder.glob("*.pt")}
    seen: set[str] = set()

    def moment() -> bool:
        seen.update(path.name for path in folder.glob("*.pt"))
        return len(seen - before) > times

    return moment


def tensors(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_training_killed_three_times_ends_with_the_same_weights(
    cli, start, prepared, tiny, unfinished
):
    job = [*tiny.train, "--set", "budget.steps=200", "--set", "checkpoints.every=4"]
    whole, broken = prepared / "runs" / "whole", prepared / "runs" / "broken"
    cli(*job, "--name", "whole")
    moments = random.Random(0)
    for number in range(KILLS):
        child = start(*job, "--name", "broken", *(["--resume"] if number else []))
        assert kill_when(child, grows(broken / "checkpoints", moments.randint(1, 9)))
        assert not (broken / "weights.safetensors").exists()
    assert list((broken / "checkpoints").glob("*.pt"))
    cli(*job, "--name", "broken", "--resume")

    one, other = (tensors(folder / "weights.safetensors") for folder in (whole, broken))
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.tobytes() == other[name].tobytes(), name
    one, other = (
        json.loads(cli("inspect", folder / "weights.safetensors", "--json").stdout)
        for folder in (whole, broken)
    )
    assert one["fingerprint"] == other["fingerprint"]
    assert log(whole) == log(broken)
    assert unfinished(prepared) == []


def log(folder: Path) -> list[list[str]]:
    """The log of a run without what depends on the machine."""
    lines = [line.split(",") for line in (folder / "log.csv").read_text().splitlines()]
    assert [line[0] for line in lines[1:]] == ["100", "200"]
    return [line[:3] for line in lines]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Images that take a while to decode."""
    folder = tmp_path / "large"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (960, 960, 3), dtype=np.uint8)
    for number in range(24):
        Image.fromarray(np.roll(noise, number)).save(folder / f"{number}.png", compress_level=1)
    return folder


def same_table(one: Path, other: Path, kind: str) -> None:
    """Same fingerprint and, said again without trusting it, same columns."""
    (head, columns), (other_head, other_columns) = read_table(one, kind), read_table(other, kind)
    assert head.fingerprint == other_head.fingerprint
    assert columns.keys() == other_columns.keys()
    for name, column in columns.items():
        assert np.array_equal(column, other_columns[name]), name


def test_extraction_killed_three_times_ends_with_the_same_index(
    cli, start, large, tmp_path, unfinished
):
    job = ["extract", large, "--size", "480", "--stride", "240", "--workers", "1"]
    cli(*job, "-w", "whole")
    journal = tmp_path / "broken" / "pixels" / "hr.u8.journal"

    def images_done() -> list[int]:
        if not journal.exists():
            return []
        entries = [line for line in journal.read_text().splitlines() if line.endswith("}")]
        return [json.loads(line)["image"] for line in entries[1:]]

    moments = random.Random(1)
    before: list[int] = []
    for _ in range(KILLS):
        goal = len(before) + moments.randint(1, 4)
        child = start(*job, "-w", "broken")
        assert kill_when(child, lambda goal=goal: len(images_done()) >= goal)
        assert not (tmp_path / "broken" / "patches.parquet").exists()
        done = images_done()
        assert done[: len(before)] == before  # went on, did not begin again
        assert len(done) == len(set(done))
        before = done
    cli(*job, "-w", "broken")
    same_table(
        tmp_path / "whole/patches.parquet", tmp_path / "broken/patches.parquet", "PatchIndex"
    )
    pixels = [(tmp_path / w / "pixels" / "hr.u8").read_bytes() for w in ("whole", "broken")]
    assert pixels[0] == pixels[1]
    assert unfinished(tmp_path) == []


# The command with nothing changed but the seconds between two saves.
SAVE_ALWAYS = """
import srprune.scoring.run
from srprune.cli.main import main
srprune.scoring.run.SAVE_EVERY = 0.0
main()
"""


@pytest.fixture
def many(cli, prepared, tiny) -> Path:
    """A workspace with patches enough to be killed among them; three quarters overlap."""
    cli("extract", "images", "--size", "48", "--stride", "12")
    cli(*tiny.pretrain, "--restart")
    (prepared / "scores" / "mse_x2.parquet").unlink()
    return prepared


def test_scoring_killed_three_times_ends_with_the_same_table(cli, start, many, unfinished):
    job = ["score", "--batch", "1"]
    part, table = many / "scores/mse_x2.part0.npz", many / "scores/mse_x2.parquet"
    moments = random.Random(2)
    before = 0
    for _ in range(KILLS):
        child = start(*job, code=SAVE_ALWAYS)
        assert kill_when(child, changes(part, moments.randint(2, 12)))
        assert not table.exists()
        with np.load(part) as file:
            done = int(np.isfinite(file["scores"]).sum())
        assert done > before
        before = done
    cli(*job)
    assert unfinished(many) == []
    broken = table.rename(many / "broken.parquet")
    cli(*job)
    same_table(table, broken, "ScoreTable")


def test_scoring_takes_saved_scores_as_they_are(cli, start, many):
    """So the test above would see a job that begins again."""
    part, table = many / "scores/mse_x2.part0.npz", many / "scores/mse_x2.parquet"
    assert kill_when(start("score", "--batch", "1", code=SAVE_ALWAYS), changes(part, 3))
    with np.load(part) as file:
        plan, scores = file["plan"], file["scores"]
    scores[0] = 123.0
    np.savez(part, plan=plan, scores=scores)
    cli("score", "--batch", "1")
    assert read_table(table, "ScoreTable")[1]["score"][0] == 123.0
    assert read_header(table).kind == "ScoreTable"
