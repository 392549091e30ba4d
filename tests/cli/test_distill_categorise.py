"""srprune distill categorise: windows in groups that look alike, and a picture of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from srprune.cli.main import cli as cli_group
from srprune.core.config import ExtractConfig
from srprune.core.coreset import CoreSet
from srprune.core.errors import (
    ArtifactMismatch,
    InputError,
    MissingArtifact,
    UnknownName,
)
from srprune.core.features import FeatureTable
from srprune.core.groups import GroupTable
from srprune.core.workspace import Workspace
from srprune.distill.config import SelectConfig
from srprune.models.build import build, save_weights
from srprune.stages.distill.select import select
from srprune.stages.extract import ImageSource, extract, read_index

pytest.importorskip("sklearn")

DESCRIPTOR = ("--features", "descriptor")


@pytest.fixture
def workspace(images: Path, tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), made)
    return made


@pytest.fixture
def coreset(workspace: Workspace) -> str:
    return select(workspace, SelectConfig(below=33)).name


def run(workspace: Workspace, *arguments: object) -> str:
    """Call the command; errors come through."""
    words = [*map(str, arguments), "--workspace", str(workspace.root)]
    done = CliRunner().invoke(
        cli_group, ["distill", "categorise", *words], standalone_mode=False, catch_exceptions=False
    )
    return done.stdout


def facts(workspace: Workspace, *arguments: object) -> Any:
    return json.loads(run(workspace, *arguments, "--json"))


def test_the_core_set_of_select_is_parted(workspace: Workspace, coreset: str) -> None:
    found = facts(workspace, *DESCRIPTOR, "--categories", 4)
    name = f"descriptor_k4__{coreset}__seed42"
    assert found["groups"] == name and found["coreset"] == coreset
    index = read_index(workspace)
    groups = GroupTable.read(workspace.groups(name), patches=index.fingerprint)
    chosen = CoreSet.read(workspace.coreset(coreset))
    features = FeatureTable.read(workspace.features("descriptor"), patches=index.fingerprint)
    assert np.array_equal(np.flatnonzero(groups.labels_N >= 0), chosen.patch_ids)
    assert found["sizes"] == groups.sizes.tolist() and len(found["sizes"]) == 4
    assert min(found["sizes"]) > 0
    assert groups.header.parents == {
        "patches": index.fingerprint,
        "features": features.fingerprint,
        "coreset": chosen.fingerprint,
    }
    assert groups.header.params == {
        "rule": "categories",
        "features": "descriptor",
        "categories": 4,
        "seed": 42,
        "coreset": coreset,
    }
    assert len(features) == len(index)  # all patches, not the core-set alone
    assert [path.name for path in workspace.root.glob("features/*")] == ["descriptor.parquet"]
    assert found["sheet"] == str(workspace.reports / f"groups_{name}.png")
    with Image.open(found["sheet"]) as sheet:
        assert sheet.height > 4 * 100


def test_a_second_call_changes_no_byte_and_computes_nothing(
    workspace: Workspace, coreset: str
) -> None:
    first = facts(workspace, *DESCRIPTOR, "--categories", 3)
    paths = [Path(first["path"]), workspace.features("descriptor"), Path(first["sheet"])]
    before = [path.read_bytes() for path in paths]
    assert "in 3 categories by descriptor: " in run(workspace, *DESCRIPTOR, "--categories", 3)
    assert [path.read_bytes() for path in paths] == before


def test_all_patches(workspace: Workspace) -> None:
    found = facts(workspace, "full", *DESCRIPTOR, "--categories", 3, "--seed", 1)
    assert found["groups"] == "descriptor_k3__full__seed1"
    groups = GroupTable.read(Path(found["path"]))
    assert sum(found["sizes"]) == len(groups) and "coreset" not in groups.header.parents


def test_features_of_other_patches_are_made_again(workspace: Workspace, images: Path) -> None:
    facts(workspace, "full", *DESCRIPTOR, "--categories", 3)
    index = extract(ImageSource.find(str(images)), ExtractConfig(size=60, stride=24), workspace)
    found = facts(workspace, "full", *DESCRIPTOR, "--categories", 3)
    assert sum(found["sizes"]) == len(index)


def network(folder: Path) -> None:
    """Fresh weights where a command would leave trained ones."""
    torch.manual_seed(5)
    made, _ = build("srcnn", 2, {})
    params = {"model": "srcnn", "model_args": {}, "scale": 2}
    path = folder / "weights.safetensors"
    save_weights(path, made, parents={}, params=params, made={}, info={})


def test_features_of_a_network(workspace: Workspace) -> None:
    network(workspace.scorer("srcnn_x2"))
    found = facts(workspace, "full", "--features", "network", "--categories", 3)
    assert found["features"] == "network_srcnn_x2"  # the only scoring model
    table = FeatureTable.read(workspace.features("network_srcnn_x2"))
    assert table.names[0] == "mean_0" and set(table.header.parents) == {"patches", "network"}
    network(workspace.run("mine"))
    asked = ("full", "--features", "network", "--weights", "mine", "--categories", 3)
    assert facts(workspace, *asked)["features"] == "network_mine"
    with pytest.raises(MissingArtifact, match="there is no scoring model, run or weights file 'n'"):
        run(workspace, "full", "--features", "network", "--weights", "n")


def test_without_a_scoring_model_the_command_is_named(workspace: Workspace) -> None:
    with pytest.raises(MissingArtifact, match=r"no scoring model yet\. Run 'srprune pretrain'"):
        run(workspace, "full", "--features", "network")


def test_features_of_clip_that_are_there_need_no_weights(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("open_clip")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(MissingArtifact, match="there are no weights of CLIP ViT-B-32"):
        run(workspace, "full", "--categories", 3)
    index = read_index(workspace)
    values = np.random.default_rng(0).normal(size=(len(index), 4)).astype(np.float32)
    FeatureTable.write(
        workspace.features("clip"),
        values,
        [f"clip_{number}" for number in range(4)],
        parents={"patches": index.fingerprint, "weights": "0" * 16},
        params={"features": "clip"},
        made={},
    )
    assert facts(workspace, "full", "--categories", 3)["groups"] == "clip_k3__full__seed42"
    with pytest.raises(MissingArtifact, match=r"weights of CLIP nowhere\.pt"):
        run(workspace, "full", "--categories", 3, "--weights", "nowhere.pt")


def test_which_core_set(workspace: Workspace, coreset: str, images: Path) -> None:
    select(workspace, SelectConfig(below=32.5))
    with pytest.raises(
        InputError,
        match=r"there are 2 core-sets: .*\. Choose one: srprune distill categorise NAME\.",
    ):
        run(workspace, *DESCRIPTOR)
    for named in (coreset, workspace.coreset(coreset)):
        assert facts(workspace, named, *DESCRIPTOR, "--categories", 2)["coreset"] == coreset
    with pytest.raises(MissingArtifact, match=f"no core-set 'round'.* Known: .*{coreset}"):
        run(workspace, "round", *DESCRIPTOR)
    extract(ImageSource.find(str(images)), ExtractConfig(size=60, stride=24), workspace)
    with pytest.raises(ArtifactMismatch, match="was made from patches"):
        run(workspace, coreset, *DESCRIPTOR)


def test_bad_input_is_one_line_and_leaves_nothing(workspace: Workspace, coreset: str) -> None:
    with pytest.raises(UnknownName, match=r"kind of features 'clipp'\. Did you mean: clip"):
        run(workspace, "--features", "clipp")
    kept = len(CoreSet.read(workspace.coreset(coreset)))
    with pytest.raises(InputError, match=f"{coreset} has {kept} patches, fewer than 500 categ"):
        run(workspace, *DESCRIPTOR, "--categories", 500)
    with pytest.raises(InputError, match="weights would have no effect: features descriptor ask"):
        run(workspace, *DESCRIPTOR, "--weights", "x")
    assert not list(workspace.root.glob("features/*")) + list(workspace.root.glob("groups/*"))


def test_without_a_core_set_the_command_is_named(workspace: Workspace) -> None:
    with pytest.raises(MissingArtifact, match=r"no core-set yet\. Run 'srprune distill select'"):
        run(workspace, *DESCRIPTOR)


def test_windows_that_are_all_alike(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    Image.fromarray(np.full((96, 96, 3), 90, np.uint8)).save(folder / "a.png")
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(folder)), ExtractConfig(size=24, stride=24), workspace)
    with pytest.raises(InputError, match="fall into 1 category, so 6 of 7 would be empty"):
        run(workspace, "full", *DESCRIPTOR)
    assert not list(workspace.root.glob("groups/*"))
