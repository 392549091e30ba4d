"""The rule distilled: which images a run trains on, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("diffusers")

import torch

from srprune.core.config import ExtractConfig, TrainConfig
from srprune.core.errors import ArtifactError, ArtifactMismatch, InputError, MissingArtifact
from srprune.core.patches import PatchIndex
from srprune.core.weights import read_weights_header
from srprune.core.workspace import Workspace
from srprune.distill.config import SynthesiseConfig
from srprune.distill.provenance import DistilledSet
from srprune.stages.distill.synthesise import synthesise
from srprune.stages.extract import ImageSource, extract
from srprune.stages.fit import fit
from srprune.stages.train import plan_training
from tests.conftest import small_images
from tests.distill.untrained import CATEGORIES, make_workspace

CPU = torch.device("cpu")
EACH = 4


def draw(workspace: Workspace) -> None:
    """Synthesise the set ``few``."""
    some = SynthesiseConfig(per_category=EACH, sampling_steps=2)
    synthesise(workspace, "dit", some, name="few", device=CPU)


@pytest.fixture(scope="module")
def workspace_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = make_workspace(tmp_path_factory.mktemp("made"))
    draw(workspace)
    return workspace.root


@pytest.fixture
def workspace(workspace_once: Path, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(workspace_once, tmp_path / "workspace"))


def config(workspace: Workspace, images: float, **changes: Any) -> TrainConfig:
    """Of as many images."""
    ratio = images / len(PatchIndex.read(workspace.patches))
    pruning = {"rule": "distilled", "ratio": ratio, "args": {"set": "few"}}
    values = {
        "model": "fsrcnn",
        "model_args": {"d": 6, "s": 4, "m": 1},
        "budget": {"steps": 3},
        "batch": 2,
        "lr_crop": 8,
        "pruning": pruning | changes.pop("pruning", {}),
        "validation": {"benchmark": None},
    }
    return TrainConfig.model_validate(values | changes)


def test_a_run_trains_on_as_many_images_of_each_category(workspace: Workspace) -> None:
    job = plan_training(config(workspace, 2 * CATEGORIES), workspace, stem="tiny")
    made = DistilledSet.read(workspace.distilled("few"))
    assert np.bincount(made.categories[job.patch_ids]).tolist() == [2] * CATEGORIES
    assert [image.path for image in job.pool.index.images] == [s.image for s in made.samples]
    assert job.parents["distilled"] == made.fingerprint
    assert job.train_set.startswith("distilled_r") and "set-few__seed0" in job.train_set


def test_larger_sets_of_a_seed_hold_smaller_ones_and_seeds_differ(workspace: Workspace) -> None:
    def ids(images: int, seed: int = 0) -> set[int]:
        asked = config(workspace, images, pruning={"seed": seed})
        return set(plan_training(asked, workspace, stem="tiny").patch_ids.tolist())

    assert ids(3) < ids(6) < ids(9)
    assert len({frozenset(ids(6, seed)) for seed in range(6)}) > 1


def test_its_budget_is_that_of_the_full_set(workspace: Workspace) -> None:
    """Epochs count patches of the pool, not synthesised images."""
    epochs = {"budget": {"epochs": 1}}
    distilled = plan_training(config(workspace, 6, **epochs), workspace, stem="tiny")
    whole = {"rule": "des", "ratio": 1.0, "args": {}}
    full = plan_training(config(workspace, 6, pruning=whole, **epochs), workspace, stem="tiny")
    assert distilled.plan.steps == full.plan.steps
    assert full.train_set == "full"


def test_the_weights_tell_every_image_that_they_have_to_do_with(workspace: Workspace) -> None:
    """So an evaluation on an image that the generator has seen is a leak."""
    job = plan_training(config(workspace, 6), workspace, stem="tiny")
    fit(job, device=CPU)
    told = read_weights_header(job.weights).info["training_images"]
    index = PatchIndex.read(workspace.patches)
    assert index.contents.items() <= told.items()
    assert len(told) == len(index.images) + EACH * CATEGORIES


def test_as_many_images_as_patches_are_not_the_full_set(workspace: Workspace) -> None:
    with pytest.raises(InputError, match=r"pruning\.ratio 1 of .* asks for .* images, and .* 12"):
        plan_training(config(workspace, 1, pruning={"ratio": 1.0}), workspace, stem="tiny")


def test_what_cannot_be_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="sampling is by classes of the pool's patches"):
        plan_training(config(workspace, 6, sampling={}), workspace, stem="tiny")
    with pytest.raises(MissingArtifact, match=r"no synthesised set 'many' .*there: few"):
        plan_training(
            config(workspace, 6, pruning={"args": {"set": "many"}}), workspace, stem="tiny"
        )
    plan_training(config(workspace, 6, pruning={"args": {}}), workspace, stem="tiny")  # the only
    shutil.copytree(workspace.distilled("few"), workspace.distilled("twin"))
    with pytest.raises(MissingArtifact, match=r"must name a synthesised set \(there: few, twin\)"):
        plan_training(config(workspace, 6, pruning={"args": {}}), workspace, stem="tiny")


def test_a_set_of_other_patches_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    source = ImageSource.find(str(small_images(tmp_path / "images")))
    extract(source, ExtractConfig(size=24, stride=12), workspace)
    with pytest.raises(ArtifactMismatch, match=r"was made from patches .* is at hand"):
        plan_training(config(workspace, 6), workspace, stem="tiny")


@pytest.mark.parametrize("damage", ["pixels", "cut pixels", "index", "index of nonsense"])
def test_a_set_without_its_cache_is_mended_by_its_own_command(
    workspace: Workspace, damage: str
) -> None:
    folder = workspace.distilled("few")
    if damage == "pixels":
        shutil.rmtree(folder / "pixels")
    elif damage == "cut pixels":
        (folder / "pixels" / "hr.u8").write_bytes(b"few")
    elif damage == "index":
        (folder / "patches.parquet").unlink()
    else:
        (folder / "patches.parquet").write_bytes(b"")
    images = {path: path.stat().st_mtime_ns for path in (folder / "images").iterdir()}
    with pytest.raises(MissingArtifact, match=r"damaged\. Give the command that synthesised the"):
        plan_training(config(workspace, 6), workspace, stem="tiny")
    draw(workspace)
    assert images == {path: path.stat().st_mtime_ns for path in (folder / "images").iterdir()}
    plan_training(config(workspace, 6), workspace, stem="tiny")


def test_a_set_that_was_edited_by_hand_is_refused(workspace: Workspace) -> None:
    image = next((workspace.distilled("few") / "images").glob("*.png"))
    with Image.open(image) as there:
        pixels = np.array(there)
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(image)
    with pytest.raises(ArtifactError, match=rf"{image.name} was changed after it was made"):
        plan_training(config(workspace, 6), workspace, stem="tiny")
