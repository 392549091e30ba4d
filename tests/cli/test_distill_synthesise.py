"""``distill synthesise``: what it says, that it goes on after any end, and what it refuses."""

from __future__ import annotations

import json
import math
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("diffusers")

from srprune.core.workspace import Workspace
from srprune.distill.provenance import DistilledSet, check_folder
from tests.distill.untrained import make_generator, make_workspace

COMMAND = ("distill", "synthesise")
QUICK = ("--steps", "2", "--guidance", "2")


@pytest.fixture(scope="module")
def workspace_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("made")).root


@pytest.fixture
def workspace(workspace_once: Path, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(workspace_once, tmp_path / "workspace"))


@pytest.fixture
def ask(cli):
    def run(*arguments: object, **more: Any):
        return cli(*COMMAND, *arguments, **more)

    return run


@pytest.fixture
def refuse(refused):
    def run(*arguments: object, **more: Any) -> str:
        return refused(*COMMAND, *arguments, **more)

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "images").glob("*.png"))}


def test_what_it_says(ask, workspace) -> None:
    said = ask("--per-category", "2", *QUICK).stdout
    folder = workspace.distilled("dit_n6__seed0")
    distilled = check_folder(folder)
    lines = said.splitlines()
    assert lines[0].startswith("6 images of 24x24 px, 2 of each of 3 categories, drawn in ")
    assert lines[1].startswith("near-copies of training patches: 0; correlation at most ")
    assert lines[-1] == "set: workspace/distilled/dit_n6__seed0"
    facts = json.loads(ask("dit", "--per-category", "2", *QUICK, "--json").stdout)
    assert facts["fingerprint"] == distilled.fingerprint
    assert facts["counts"] == [2, 2, 2]
    assert facts["near_copies"] == []
    assert facts["highest_psnr_db"] == max(sample.psnr_db for sample in distilled.samples)
    assert facts["parents"] == distilled.header.parents


def test_killed_terminated_and_out_of_space_it_ends_with_the_same_bytes(
    ask, refuse, start, workspace, unfinished
) -> None:
    many = ("--ratio", "0.4", "--batch", "1", *QUICK)  # 44 images
    broken = workspace.distilled("broken")

    def until(count: int) -> Any:
        """Start, and go on once so many images are there."""
        child = start(*COMMAND, *many, "--name", "broken")
        end = time.monotonic() + 120
        while len(files(broken)) < count:
            assert child.poll() is None, child.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.002)
        return child

    child = until(5)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    child = until(len(files(broken)) + 5)
    child.terminate()
    _, said = child.communicate()
    assert child.returncode == 143, said
    assert said.startswith("Error: stopped with ")
    assert unfinished(broken) == []
    there = len(files(broken))
    assert 10 <= there < 44
    longest = (broken / "drawn.jsonl").stat().st_size + 400  # a line more, and the disk is full
    said = refuse(*many, "--name", "broken", file_limit=longest)
    assert said.startswith(f"no space left to write {Path('workspace/distilled/broken')}")
    assert there <= len(files(broken)) < 44
    ask(*many, "--name", "broken")
    ask(*many, "--name", "whole")
    whole = workspace.distilled("whole")
    assert len(files(whole)) == 44
    assert files(broken) == files(whole)
    assert DistilledSet.read(broken).fingerprint == DistilledSet.read(whole).fingerprint
    assert not (broken / "drawn.jsonl").exists()
    path = whole / "images" / "00004_c1.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    assert "00004_c1.png was changed after it was made" in refuse(*many, "--name", "whole")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "give either --per-category or --ratio."),
        (("--ratio", "0.5", "--per-category", "3"), "give either --per-category or --ratio."),
        (("--ratio", "nan"), "--ratio is nan; it must be above 0 and at most 1."),
        (("--ratio", "2"), "--ratio is 2; it must be above 0 and at most 1."),
        (("--per-category", "3", "--guidance", "inf"), "--guidance is inf; it must be 0 or above."),
        (("--per-category", "3", "--guidance", "-1"), "--guidance is -1; it must be 0 or above."),
        (("--per-category", "3", "--name", "a/b"), "'a/b' cannot be the name of a file"),
        (("--per-category", "3", "--seed", "-1"), "-1 is not in the range x>=0."),
        (
            ("nobody", "--per-category", "3"),
            "no generator workspace/generators/nobody (there: dit). Run 'srprune distill finetune'",
        ),
        (("--ratio", "0.001"), "ratio 0.001 of 109 patches is no image. Choose a larger ratio"),
        (
            ("--per-category", "1", "--steps", "1001"),
            "sampling_steps is 1001, and the generator knows 1000 timesteps. Choose --steps of",
        ),
    ],
)
def test_what_cannot_be_asked(options, said: str, refuse, workspace) -> None:
    assert said in refuse(*options)
    assert not list((workspace.root / "distilled").glob("*"))


def test_which_generator(refuse, workspace) -> None:
    make_generator(workspace, "second", seed=1)
    assert refuse("--per-category", "1") == (
        "there are 2 generators: dit, second. Choose one: srprune distill synthesise NAME."
    )
    shutil.rmtree(workspace.root / "generators")
    assert refuse("--per-category", "1") == (
        "there is no generator yet. Run 'srprune distill finetune' first."
    )


def test_no_workspace(refuse) -> None:
    said = refuse("dit", "--per-category", "1")
    assert said.startswith("there is no patch index in workspace. Run 'srprune extract IMAGES'")


def test_a_set_of_true_copies_is_told_in_json() -> None:
    """JSON has no infinity, so the PSNR of a true copy is null there."""
    from srprune.cli.distill_synthesise import _finite

    assert _finite(math.inf) is None
    assert _finite(31.5) == 31.5
