"""Permissions, a full disk, Ctrl-C and SIGTERM: one line, and nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from tests.cli.spoiled import NOISE, PATCHES, files
from tests.processes import Child

AS_USER = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--")


@pytest.fixture
def as_user() -> tuple[str, ...]:
    """What stands before a command so that permissions count for it, even for root."""
    if os.geteuid() != 0:
        return ()
    if not shutil.which(AS_USER[0]):
        pytest.skip("root may do everything, and there is no setpriv to give that up")
    if subprocess.run([*AS_USER, "true"], capture_output=True).returncode:
        pytest.skip("setpriv may not give up capabilities here")
    return AS_USER


@pytest.fixture
def locked(request):
    """Take permissions from a path until the test ends."""

    def lock(path: Path, mode: int) -> Path:
        request.addfinalizer(lambda: path.chmod(0o755))
        path.chmod(mode)
        return path

    return lock


def test_a_folder_that_may_not_be_read_is_named(refused, images, as_user, locked):
    locked(images, 0o000)
    said = refused("extract", images, prefix=as_user)
    assert str(images) in said
    assert "permission" in said


def test_an_image_that_may_not_be_read_is_named(refused, images, as_user, locked):
    locked(images / "a.png", 0o000)
    said = refused("extract", images, *PATCHES, prefix=as_user, lines=None)
    assert f"{images / 'a.png'} may not be read" in said


def test_a_workspace_that_may_not_be_written_is_named(refused, images, as_user, locked, tmp_path):
    workspace = tmp_path / "shut"
    workspace.mkdir()
    locked(workspace, 0o555)
    said = refused("extract", images, *PATCHES, "-w", workspace, prefix=as_user)
    assert said.startswith(f"no permission to write {workspace}")


def test_a_workspace_that_may_not_be_read_is_named(refused, prepared, as_user, locked):
    locked(prepared, 0o000)
    said = refused("select", "--ratio", "0.5", prefix=as_user)
    assert "ermission" in said
    assert "workspace" in said


def test_a_file_in_place_of_the_workspace_is_named(refused, images, tmp_path):
    (tmp_path / "file").touch()
    for command in (["extract", images, *PATCHES], ["select", "--ratio", "0.5"]):
        assert "'file' is a file" in refused(*command, "-w", "file")


@pytest.mark.parametrize("limit", [1000, 100_000])
def test_extract_on_a_full_disk_leaves_nothing(refused, images, tmp_path, limit):
    said = refused("extract", images, *PATCHES, file_limit=limit)
    assert "no space left to write" in said
    assert "workspace/pixels/hr.u8" in said
    assert files(tmp_path / "workspace") == []


def test_score_on_a_full_disk_leaves_no_table(refused, prepared):
    shutil.rmtree(prepared / "scores")
    said = refused("score", file_limit=100)
    assert "no space left to write workspace/scores/mse_x2.parquet" in said
    assert files(prepared / "scores") == []


@pytest.mark.parametrize(
    ("limit", "every", "file"),
    [
        (600, 1000, "config.yaml"),
        (30_000, 1000, "weights.safetensors"),
        (30_000, 5, "checkpoints/000000005.pt"),
    ],
)
def test_train_on_a_full_disk_names_the_file(refused, prepared, tiny, limit, every, file):
    options = ("--name", "new", "--set", f"checkpoints.every={every}")
    said = refused(*tiny.train, *options, file_limit=limit)
    assert f"no space left to write workspace/runs/new/{file}" in said
    assert not (prepared / "runs" / "new" / "weights.safetensors").exists()


def test_train_ends_as_ever_when_the_disk_has_room_again(cli, refused, prepared, tiny):
    options = ("--set", "checkpoints.every=5", "--set", "checkpoints.keep=3")
    cli(*tiny.train, "--name", "whole", *options)
    refused(*tiny.train, "--name", "new", *options, file_limit=30_000)
    cli(*tiny.train, "--name", "new", *options, "--resume")
    whole, new = (
        load_file(prepared / "runs" / name / "weights.safetensors") for name in ("whole", "new")
    )
    assert whole.keys() == new.keys()
    assert all(np.array_equal(whole[name], new[name]) for name in whole)


def wait_for(path: Path, child: Child) -> None:
    """Wait until a child has written a file."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert child.poll() is None, f"ended before it wrote {path}: {child.stderr.read()}"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def interrupted(child: Child) -> str:
    """Press Ctrl-C; return what the child says."""
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert len(said.strip().splitlines()) == 1, said
    assert said.strip().startswith("Error: interrupted")
    return said


def test_ctrl_c_ends_training_with_130_and_resume_goes_on(
    cli, refused, start, prepared, tiny, unfinished
):
    job = [*tiny.train, "--set", "budget.steps=200", "--set", "checkpoints.every=10",
           "--name", "long"]  # fmt: skip
    folder = prepared / "runs" / "long"
    child = start(*job)
    wait_for(folder / "checkpoints" / "000000010.pt", child)
    assert "--resume" in interrupted(child)
    assert not (folder / "weights.safetensors").exists()
    assert unfinished(prepared) == []
    said = refused(*job)
    assert said.startswith("workspace/runs/long holds an interrupted run")
    assert "--resume" in said
    assert "--restart" in said
    assert "weights: workspace/runs/long" in cli(*job, "--resume").stdout
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.yaml", "curves.png", "log.csv", "tensorboard",
        "weights.safetensors"]  # fmt: skip


def test_sigterm_saves_a_checkpoint_and_resume_goes_on(cli, start, prepared, tiny, unfinished):
    job = [*tiny.train, "--set", "budget.steps=200", "--set", "checkpoints.every=300",
           "--name", "long"]  # fmt: skip
    folder = prepared / "runs" / "long"
    child = start(*job)
    wait_for(folder / "log.csv", child)
    child.terminate()
    _, said = child.communicate(timeout=60)
    assert child.returncode == 143
    assert said.startswith("Error: stopped at step ") and "--resume" in said
    assert len(list((folder / "checkpoints").iterdir())) == 1
    assert unfinished(prepared) == []
    assert "weights: workspace/runs/long" in cli(*job, "--resume").stdout


def test_ctrl_c_ends_extraction_with_130_and_the_same_command_goes_on(cli, start, tmp_path):
    folder = tmp_path / "large"
    folder.mkdir()
    noise = Image.fromarray(np.tile(NOISE, (12, 12, 1)))
    for number in range(16):
        noise.rotate(90 * number).save(folder / f"{number}.png", compress_level=1)
    child = start("extract", folder, "--size", "480", "--stride", "480", "--workers", "1")
    wait_for(tmp_path / "workspace" / "pixels" / "hr.u8.journal", child)
    interrupted(child)
    assert not (tmp_path / "workspace" / "patches.parquet").exists()
    assert "from 16 images" in cli("extract", folder, "--size", "480", "--stride", "480").stdout
    assert files(tmp_path / "workspace") == [
        "patches.parquet", "pixels/hr.u8", "pixels/hr.u8.json"]  # fmt: skip
