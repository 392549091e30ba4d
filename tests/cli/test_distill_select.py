"""srprune distill select: windows by a threshold or a share, as any other core-set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from srprune.cli.main import cli as cli_group
from srprune.core.artifact import read_header
from srprune.core.config import ExtractConfig
from srprune.core.coreset import CoreSet
from srprune.core.errors import ArtifactMismatch, InputError, MissingArtifact
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.distill.round_trip import psnr_of, round_trip_mse
from srprune.stages.coresets import select as select_by_rule
from srprune.stages.extract import ImageSource, extract, open_hr, read_index

NAME = "round_trip_below33__round_trip_x4"


@pytest.fixture
def workspace(images: Path, tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), made)
    return made


def run(workspace: Workspace, *arguments: object) -> str:
    """Call the command; errors come through."""
    words = [*map(str, arguments), "--workspace", str(workspace.root)]
    done = CliRunner().invoke(
        cli_group, ["distill", "select", *words], standalone_mode=False, catch_exceptions=False
    )
    return done.stdout


def facts(workspace: Workspace, *arguments: object) -> Any:
    return json.loads(run(workspace, *arguments, "--json"))


def test_windows_below_a_threshold_are_a_core_set(workspace: Workspace) -> None:
    found = facts(workspace, "--below", 33)
    index, hr = read_index(workspace), open_hr(workspace, read_index(workspace))
    crops = [
        hr.crop(int(index.image_N[i]), int(index.top_N[i]), int(index.left_N[i]), 48)
        for i in range(len(index))
    ]
    mse_N = np.array([round_trip_mse(np.ascontiguousarray(crop)) for crop in crops])
    table = ScoreTable.read(workspace.scores("round_trip_x4"), patches=index.fingerprint)
    assert table.scores_N.tolist() == mse_N.tolist()
    assert table.header.params == {
        "method": "round_trip",
        "scale": 4,
        "made_by": "srprune distill select",
    }
    below = np.flatnonzero(psnr_of(mse_N) < 33)
    coreset = CoreSet.read(workspace.coreset(NAME), patches=index.fingerprint)
    assert 0 < len(below) < len(index) and np.array_equal(coreset.patch_ids, below)
    assert coreset.header.parents == {
        "patches": index.fingerprint,
        "scores": table.fingerprint,
    }
    assert coreset.header.params == {
        "rule": "round_trip",
        "ratio": len(below) / len(index),
        "offset": 0.0,
        "seed": None,
        "scores": "round_trip_x4",
        "num_patches": len(index),
        "num_skipped": 0,
        "settings": {"below": 33.0},
        "num_kept": len(below),
    }
    assert found["coreset"] == NAME and found["num_kept"] == len(below)
    assert found["fingerprint"] == coreset.fingerprint
    low, high = found["psnr_range"]
    assert low == pytest.approx(psnr_of(mse_N).min()) and low < high < 33


def test_a_second_call_changes_no_byte(workspace: Workspace) -> None:
    run(workspace, "--below", 33)
    paths = (workspace.coreset(NAME), workspace.scores("round_trip_x4"))
    before = [path.read_bytes() for path in paths]
    said = run(workspace, "--below", 33)
    assert [path.read_bytes() for path in paths] == before
    assert "PSNR of the round trip: " in said and f"core-set: {paths[0]}" in said


def test_a_share_is_that_of_select(workspace: Workspace) -> None:
    found = facts(workspace, "--ratio", 0.25)
    assert found["coreset"] == "des_r0.25__round_trip_x4"
    again = select_by_rule(workspace, rule="des", ratio=0.25, scores="round_trip_x4")
    assert again.coreset.fingerprint == found["fingerprint"]


def test_the_share_of_the_highest_gradient(workspace: Workspace) -> None:
    found = facts(workspace, "--score", "sobel", "--ratio", 0.25)
    assert found["coreset"] == "des_r0.25__sobel" and found["scores"] == "sobel"
    assert "psnr_range" not in found
    assert workspace.scores("sobel").exists()
    assert "scores kept: " in run(workspace, "--score", "sobel", "--ratio", 0.25)


def test_scores_of_other_patches_are_made_again(workspace: Workspace, images: Path) -> None:
    first = facts(workspace, "--below", 33)
    index = extract(ImageSource.find(str(images)), ExtractConfig(size=60, stride=12), workspace)
    assert facts(workspace, "--below", 33)["num_patches"] == len(index) != first["num_patches"]
    facts(workspace, "--score", "sobel", "--ratio", 0.5)
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), workspace)
    with pytest.raises(ArtifactMismatch, match="Run 'srprune score --method sobel --restart'"):
        run(workspace, "--score", "sobel", "--ratio", 0.5)


def test_a_name_of_ones_own(workspace: Workspace) -> None:
    assert facts(workspace, "--below", 32.75, "--name", "mine")["coreset"] == "mine"
    assert facts(workspace, "--below", 32.75)["coreset"].startswith("round_trip_below32.75__")
    headers = [
        read_header(path) for path in sorted(workspace.coreset("mine").parent.glob("*.parquet"))
    ]
    assert len({header.fingerprint for header in headers}) == 1 and len(headers) == 2


def test_nothing_below_the_threshold(workspace: Workspace) -> None:
    with pytest.raises(
        InputError,
        match=r"none of \d+ patches is below 23 dB: the lowest PSNR of a bicubic x4 round trip is "
        r"3\d\.\d\d dB, of patch \d+\. Set below higher, or give a ratio",
    ):
        run(workspace)
    assert not list(workspace.root.glob("coresets/*"))


def test_without_patches_the_first_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="Run 'srprune extract IMAGES' first"):
        run(Workspace(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--below", 23, "--ratio", 0.1], "either --below or --ratio"),
        (["--ratio", 0], "--ratio is 0; it must be above 0"),
        (["--ratio", "nan"], "--ratio is nan"),
        (["--below", "nan"], "--below is nan; it must be a number of dB"),
        (["--score", "sobel"], "--score sobel needs --ratio"),
        (["--score", "sobel", "--below", 23], "--score sobel needs --ratio"),
        (["--ratio", 0.1, "--name", "mine"], "--name goes with --below"),
        (["--name", "../mine", "--below", 23], "cannot be the name of a file"),
    ],
)
def test_options_that_do_not_fit(workspace: Workspace, arguments: list[object], said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        run(workspace, *arguments)
    assert not workspace.scores("round_trip_x4").exists()


def test_other_commands_take_the_core_set(cli: Any, prepared: Path) -> None:
    run(Workspace(prepared), "--below", 33)
    assert "of 71 patches" in cli("inspect", NAME).stdout
    shown = cli("report", "--scores", "round_trip_x4", "--coreset", NAME)
    assert "page: " in shown.stdout
    cli("export", NAME, "--to", "list")
    assert "N 71" in cli("select", "--ratio", "0.5", "--scores", "round_trip_x4").stdout
    trained = cli(
        "train", "--config", "fsrcnn_x2.yaml", "--set", "budget.steps=3", "--set", "batch=2",
        "--set", "lr_crop=12", "--set", "validation.benchmark=null",
        "--coreset", prepared / f"coresets/{NAME}.parquet",
    )  # fmt: skip
    assert NAME in trained.stdout
