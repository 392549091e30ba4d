"""``distill finetune``: what it says, that it stops and goes on, and what it refuses."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("diffusers")

from srprune.core.workspace import Workspace
from tests.distill.untrained import CATEGORIES, SIZE, make_workspace

CONFIG = """
network: {layers: 1, heads: 2, head_width: 8, patch: 4}
latents: {kind: pixels}
steps: 3
batch: 4
ema: 0.1
validation: {every: 3, each: 1, sampling_steps: 2}
"""


@pytest.fixture(scope="module")
def workspace_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("made")).root


@pytest.fixture
def workspace(workspace_once: Path, tmp_path: Path) -> Workspace:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    return Workspace(shutil.copytree(workspace_once, tmp_path / "workspace"))


def test_what_it_says(cli, workspace: Workspace) -> None:
    command = ("distill", "finetune", "--config", "tiny.yaml", "--groups", "seven")
    said = cli(*command).stdout.splitlines()
    assert said[0].endswith(f" windows of {SIZE} px in {CATEGORIES} categories; 3 steps of 4 = "
                            f"{said[0].rsplit(' ', 2)[1]} epochs")  # fmt: skip
    assert said[-1] == "generator: workspace/generators/tiny__seed0/generator.safetensors"
    facts = json.loads(cli(*command, "--json").stdout)  # found, not made again
    assert facts["generator"] == "tiny__seed0"
    assert facts["categories"] == CATEGORIES
    assert facts["steps"] == 3
    assert facts["trained_share"] == 1.0
    assert facts["autoencoder_psnr"] is None
    set_of = cli("distill", "synthesise", "tiny__seed0", "--per-category", "1", "--steps", "2")
    assert set_of.stdout.splitlines()[-1].startswith("set: workspace/distilled/tiny__seed0_n3")


def test_a_moving_average_that_steps_are_too_few_for_is_warned_of(
    cli, workspace: Workspace
) -> None:
    command = ("distill", "finetune", "--config", "tiny.yaml", "--groups", "seven", "--dry-run")
    said = cli(*command, "--set", "steps=100", "--set", "ema=0.9999").stderr
    assert "warning: the weights that training begins with still make up 99% of the moving" in said
    assert "warning" not in cli(*command, "--set", "steps=100").stderr


def test_a_dry_run_trains_nothing(cli, workspace: Workspace) -> None:
    said = cli(
        "distill", "finetune", "--config", "tiny.yaml", "--groups", "seven", "--dry-run", "--json",
        "--set", "steps=7",
    ).stdout  # fmt: skip
    assert json.loads(said)["config"]["steps"] == 7
    assert not workspace.generator("tiny__seed0").exists()


def test_a_dry_run_refuses_what_the_training_would(refused, workspace: Workspace) -> None:
    dry = ("distill", "finetune", "--config", "tiny.yaml", "--groups", "seven", "--dry-run")
    assert "cannot be cut into tokens of 5 px" in refused(*dry, "--set", "network.patch=5")
    assert "there is no folder no_dit" in refused(*dry, "--set", "network.weights=no_dit")


def test_ctrl_c_says_how_to_go_on(cli, start, workspace: Workspace) -> None:
    command = (
        "distill", "finetune", "--config", "tiny.yaml", "--groups", "seven", "--name", "long",
        "--set", "steps=100", "--set", "checkpoints.every=5", "--set", "validation.every=100",
    )  # fmt: skip
    child = start(*command)
    folder = workspace.generator("long")
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/*.pt")):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert said.strip() == (
        "Error: interrupted. Give the same command again with --resume to go on."
    )
    assert "generator: " in cli(*command, "--resume").stdout


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--config", "nowhere.yaml"), "there is no config nowhere.yaml"),
        (("--config", "fsrcnn_x2.yaml"), "is a training config; give it to 'srprune train"),
        (("--config", "tiny.yaml"), "Run 'srprune distill categorise' first"),
        (("--config", "tiny.yaml", "--groups", "nine"), "no groups 'nine' (there: seven). Choose"),
        (("--config", "tiny.yaml", "--set", "latents.kind=vae"), "vae needs them"),
        (
            ("--config", "dit_xl.yaml", "--groups", "seven", "--set", "latents.weights=no_vae"),
            "there is no folder no_vae of pre-trained weights",
        ),
        (
            ("--config", "tiny.yaml", "--groups", "seven", "--set", "network.weights=no_dit"),
            "there is no folder no_dit of pre-trained weights",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    refused, workspace: Workspace, more: tuple[str, ...], line: str
) -> None:
    assert line in refused("distill", "finetune", *more)
