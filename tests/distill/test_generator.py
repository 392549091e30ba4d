"""The file of a generator: what is refused when it is opened, such as another decoder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file

from srprune.core.artifact import fingerprint
from srprune.core.errors import (
    ArtifactError,
    ArtifactMismatch,
    InputError,
    MissingArtifact,
    Stopped,
)
from srprune.core.workspace import Workspace
from srprune.distill.config import FinetuneConfig, SynthesiseConfig
from srprune.distill.generator import FILE, KIND, Generator
from srprune.distill.tensor_file import read_tensor_header
from srprune.distill.weight_folder import fingerprint_of_folder
from srprune.stages.distill.finetune import finetune
from srprune.stages.distill.finetune_plan import FinetuneJob, plan_finetune
from srprune.stages.distill.synthesise import synthesise
from tests.distill.untrained import make_dit, make_vae

CPU = torch.device("cpu")
Edit = Callable[[dict[str, Any]], object]


def edit(folder: Path, change: Edit, *, seal: bool) -> None:
    """Change the params of a generator; with ``seal`` its fingerprint fits afterwards."""
    path = folder / FILE
    tensors, header = load_file(path), vars(read_tensor_header(path, KIND))
    change(header["params"])
    if seal:
        columns = {name: tensors[name].numpy() for name in sorted(tensors)}
        mark = fingerprint(KIND, header["parents"], header["params"], columns)
        header["fingerprint"] = mark
    save_file(tensors, path, metadata={"srprune": json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda params: params.clear(), "holds no generator of this srprune: config: "),
        (lambda params: params["config"].update(foo=1), "config.foo: Extra inputs are not"),
        (lambda params: params["config"].update(steps=-1), "config.steps: "),
        (lambda params: params.pop("size"), "size is None"),
        (lambda params: params.update(categories="3"), "categories is '3'"),
        (lambda params: params.update(categories=4), "does not fit the network"),
        (lambda params: params["config"]["network"].update(layers=2), "does not fit the network"),
    ],
)
def test_one_that_was_edited_is_one_line(workspace: Workspace, change: Edit, words: str) -> None:
    folder = workspace.generator("dit")
    edit(folder, change, seal=True)
    with pytest.raises(ArtifactError, match=words) as caught:
        Generator.read(folder, CPU)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_asked_before_anything_is_built(workspace: Workspace) -> None:
    folder = workspace.generator("dit")
    edit(folder, lambda params: params["config"]["network"].update(layers=10**9), seal=False)
    with pytest.raises(ArtifactError, match="does not match its fingerprint"):
        Generator.read(folder, CPU)


def test_a_header_without_params(workspace: Workspace) -> None:
    path = workspace.generator("dit") / FILE
    header = {**vars(read_tensor_header(path, KIND)), "params": None}
    save_file(load_file(path), path, metadata={"srprune": json.dumps(header)})
    with pytest.raises(ArtifactError, match="does not say what it holds: srprune did not write it"):
        Generator.read(path.parent, CPU)


def plan(workspace: Workspace, **changes: Any) -> FinetuneJob:
    config = {
        "network": {"layers": 1, "heads": 2, "head_width": 8, "patch": 4},
        "latents": {"kind": "pixels"},
        "steps": 3,
        "batch": 2,
        "validation": {"every": 3, "each": 1, "sampling_steps": 1},
        **changes,
    }
    settings = FinetuneConfig.model_validate(config)
    return plan_finetune(workspace, settings, name="made", groups="seven")


def test_another_decoder_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    vae = make_vae(tmp_path / "vae")
    changes = {"latents": {"kind": "vae", "weights": str(vae)}}
    with pytest.raises(Stopped):
        finetune(plan(workspace, **changes), device=CPU, stopping=lambda: True)
    make_vae(vae, seed=1)
    with pytest.raises(ArtifactMismatch, match=r"run: parents\.vae .* distill finetune, another"):
        finetune(plan(workspace, **changes), device=CPU, resume=True)
    make_vae(vae)
    header = finetune(plan(workspace, **changes), device=CPU, resume=True)
    assert header.parents["vae"] == fingerprint_of_folder(vae, "vae")
    ask = SynthesiseConfig(per_category=1, sampling_steps=1)
    made = synthesise(workspace, "made", ask, name="set", device=CPU)
    assert made.header.parents["vae"] == header.parents["vae"]
    make_vae(vae, seed=1)
    with pytest.raises(ArtifactMismatch, match=r"made from vae \w+, but \w+ is at hand\. Put the"):
        synthesise(workspace, "made", ask, name="set", device=CPU)
    with pytest.raises(ArtifactMismatch, match=r"another config or other inputs \(parents\.vae"):
        finetune(plan(workspace, **changes), device=CPU)


def test_weights_that_were_moved_are_the_same_weights(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    make_vae(Path("vae"))
    named = {"latents": {"kind": "vae", "weights": "vae"}}
    header = finetune(plan(workspace, **named), device=CPU)
    ask = SynthesiseConfig(per_category=1, sampling_steps=1)
    monkeypatch.chdir(tmp_path / "elsewhere")
    made = synthesise(workspace, "made", ask, name="set", device=CPU)  # the path was kept whole
    shutil.move(tmp_path / "here" / "vae", tmp_path / "moved")
    with pytest.raises(MissingArtifact, match=r"no folder /.*here/vae of .* synthesise, --vae\)"):
        synthesise(workspace, "made", ask, name="set", device=CPU)
    moved = tmp_path / "moved"
    assert synthesise(workspace, "made", ask, name="set", device=CPU, vae=moved) == made
    other = make_vae(tmp_path / "other", seed=1)
    with pytest.raises(ArtifactMismatch, match=r"made from vae \w+, but \w+ is at hand"):
        synthesise(workspace, "made", ask, name="set", device=CPU, vae=other)
    named["latents"]["weights"] = str(moved)
    assert finetune(plan(workspace, **named), device=CPU) == header
    with pytest.raises(InputError, match=r"dit/generator\.safetensors has no pre-trained auto"):
        synthesise(workspace, "dit", ask, name="set", device=CPU, vae=moved)


def test_another_start_is_another_generator(workspace: Workspace, tmp_path: Path) -> None:
    dit = make_dit(tmp_path / "dit")
    changes = {"network": {"weights": str(dit)}}
    header = finetune(plan(workspace, **changes), device=CPU)
    assert header.parents["transformer"] == fingerprint_of_folder(dit, "transformer")
    assert Generator.read(workspace.generator("made"), CPU).header == header
    make_dit(dit, seed=1)
    with pytest.raises(ArtifactMismatch, match=r"parents\.transformer '\w+' there"):
        finetune(plan(workspace, **changes), device=CPU)


def test_config_and_tensors_of_a_folder_both_count(tmp_path: Path) -> None:
    vae = make_vae(tmp_path / "vae")
    mark = fingerprint_of_folder(vae, "vae")
    pipeline = tmp_path / "pipeline"
    shutil.copytree(vae, pipeline / "vae")
    assert fingerprint_of_folder(pipeline, "vae") == mark
    config = vae / "config.json"
    config.write_text(config.read_text().replace("0.18215", "0.2"))
    assert fingerprint_of_folder(vae, "vae") != mark
