"""Weights of other programs on the command line: measured, scored with, and refused in one line."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from srprune.core.results import EvalTable
from srprune.core.scores import ScoreTable
from srprune.models import MODELS
from srprune.models.build import build


def tiny_network(model: str, scale: int = 2) -> Any:
    torch.manual_seed(0)
    return build(model, scale, MODELS.load(model).spec.tiny)[0]


def save(model: str, path: Path) -> None:
    """A bare state dict, as safetensors."""
    state = tiny_network(model).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Two small images to measure on."""
    folder = tmp_path / "mine"
    folder.mkdir()
    y, x = np.mgrid[:60, :72]
    for name, k in (("one", 4), ("two", 5)):
        waves = [128 + 90 * np.sin(x / (k + c)) * np.cos(y / 7) for c in range(3)]
        Image.fromarray(np.stack(waves, axis=2).astype(np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def rcan(tmp_path: Path) -> Path:
    """An RCAN as EDSR-PyTorch saves it, wrapped as BasicSR does."""
    torch.save({"params": tiny_network("rcan").state_dict()}, tmp_path / "rcan.pth")
    return tmp_path / "rcan.pth"


def table(folder: Path, name: str) -> EvalTable:
    return EvalTable.read(folder / "workspace" / "results" / f"{name}__mine__rgb8_1.parquet")


def test_a_checkpoint_of_another_program_is_measured(cli, mine, rcan, tmp_path):
    assert "rcan" in cli("eval", "rcan.pth", "--benchmark", "mine").stdout
    rows = table(tmp_path, "rcan_x2").rows
    assert {(row.model, row.train_set, row.seed) for row in rows} == {("rcan", "none", -1)}


def test_spandrel_measures_the_same(cli, mine, rcan, tmp_path):
    cli("eval", "rcan.pth", "--benchmark", "mine")
    ours = table(tmp_path, "rcan_x2").rows
    cli("eval", "spandrel:rcan.pth", "--benchmark", "mine")
    theirs = table(tmp_path, "rcan_x2").rows  # the newer table of that name
    assert [(row.image, row.metric) for row in ours] == [(row.image, row.metric) for row in theirs]
    assert [row.value for row in theirs] == pytest.approx([row.value for row in ours], abs=1e-3)


def test_a_network_that_does_not_tell_its_scale(cli, refused, mine, tmp_path):
    save("srcnn", tmp_path / "m.safetensors")
    said = refused("eval", "m.safetensors", "--benchmark", "mine")
    assert said.endswith("holds srcnn, whose tensors do not tell the scale: give --scale.")
    cli("eval", "m.safetensors", "--benchmark", "mine", "--scale", "3")


@pytest.mark.parametrize("scorer", ["rcan.pth", "spandrel:rcan.pth"])
def test_any_model_scores_patches(cli, refused, prepared, rcan, tmp_path, scorer):
    said = refused("score", "--scorer", scorer, "--name", "by_rcan")
    assert "--include-rim" in said
    known = "at each edge are spoiled by padding" in said
    assert known != ("how far rcan sees is not known" in said)
    assert known == (scorer == "rcan.pth")
    cli("score", "--scorer", scorer, "--name", "by_rcan", "--include-rim")
    scores = ScoreTable.read(prepared / "scores" / "by_rcan.parquet")
    assert len(np.unique(scores.scores_N)) > 1
    assert scores.header.params["rim"] == 0
    assert len(scores.header.parents["scorer"]) == 16


def test_weights_that_are_not_those_of_the_workspace_can_score(cli, prepared, tmp_path):
    save("fsrcnn", tmp_path / "m.safetensors")
    cli("score", "--scorer", "m.safetensors", "--scale", "2", "--name", "mine")
    assert ScoreTable.read(prepared / "scores" / "mine.parquet").header.params["rim"] > 0


class Hostile:
    """A pickle that would write a file when it is read."""

    def __reduce__(self) -> Any:
        return (Path.write_text, (Path("trace"), "it ran"))


def hostile(path: Path) -> None:
    torch.save({"params": {"a": Hostile()}}, path)


def bare(path: Path) -> None:
    path.write_bytes(pickle.dumps(Hostile()))


def cut(path: Path) -> None:
    torch.save(tiny_network("rcan").state_dict(), path)
    path.write_bytes(path.read_bytes()[:-1000])


def nan(path: Path) -> None:
    state = tiny_network("rcan").state_dict()
    state["head.0.bias"][0] = float("nan")
    torch.save(state, path)


def missing(path: Path) -> None:
    state = tiny_network("rcan").state_dict()
    torch.save({name: t for name, t in state.items() if "conv_du.0" not in name}, path)


def unknown(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)


BAD = [
    (hostile, "could run code of its own, so it was not read"),
    (bare, "no weights file of torch|could run code of its own"),
    (cut, "is damaged, or no weights file of torch"),
    (nan, r"holds NaN or infinity \(in head.0.bias\)"),
    (missing, "(looks like|of no network)"),
    (unknown, "is of no network that srprune knows"),
]


@pytest.mark.parametrize(("make", "said"), BAD, ids=[make.__name__ for make, _ in BAD])
@pytest.mark.parametrize("command", ["eval", "score"])
def test_bad_weights_are_one_clear_line(refused, prepared, mine, tmp_path, command, make, said):
    make(tmp_path / "m.pth")
    line = {
        "eval": ("eval", "m.pth", "--benchmark", "mine"),
        "score": ("score", "--scorer", "m.pth", "--name", "other"),
    }[command]
    assert re.search(f"m.pth.*({said})", refused(*line))
    assert not (tmp_path / "trace").exists()


def test_an_image_smaller_than_the_window(refused, mine, tmp_path):
    save("swinir", tmp_path / "m.safetensors")
    Image.new("RGB", (72, 8)).save(mine / "thin.png")
    said = refused("eval", "m.safetensors", "--benchmark", "mine", "--tile", "16", "--check-tiling")
    assert "thin.png" in said
    assert "the image has 36x4 px at LR; m takes at least 5 px a side" in said


def test_another_scale_is_refused(refused, rcan, mine):
    said = refused("eval", "rcan.pth", "--benchmark", "mine", "--scale", "3")
    assert said == "rcan.pth is a model of x2, but --scale is 3."
    said = refused("eval", "spandrel:rcan.pth", "--benchmark", "mine", "--scale", "3")
    assert said == "rcan.pth is a model of x2, but --scale is 3."


def test_a_missing_file_of_spandrel(refused, mine):
    assert "there are no weights no.pth" in refused(
        "eval", "spandrel:no.pth", "--benchmark", "mine"
    )


def test_grey_and_rgba_images_are_measured(cli, mine, rcan, tmp_path):
    """A network of RGB gets a grey image three times; alpha that is opaque is dropped."""
    Image.new("L", (48, 48), 90).save(mine / "grey.png")
    Image.new("RGBA", (48, 48), (9, 200, 30, 255)).save(mine / "rgba.png")
    cli("eval", "rcan.pth", "--benchmark", "mine")
    assert {row.image for row in table(tmp_path, "rcan_x2").rows} >= {"grey.png", "rgba.png"}
