"""pretrain: whole images are held out, never trained on, and measured on the way."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch")
from srprune.core.config import ExtractConfig, TrainConfig  # noqa: E402
from srprune.core.errors import InputError, MissingArtifact  # noqa: E402
from srprune.core.patches import ImageRecord, PatchIndex  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.models.build import build, load_weights  # noqa: E402
from srprune.stages.extract import ImageSource, extract  # noqa: E402
from srprune.stages.fit import fit  # noqa: E402
from srprune.stages.pretrain import (  # noqa: E402
    HELD_OUT,
    held_out_images,
    held_out_validation,
    plan_pretraining,
)

CPU = torch.device("cpu")


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(
        **{
            "model": "srcnn",
            "model_args": {"init": "he"},
            "budget": {"steps": 4},
            "batch": 2,
            "lr_crop": 18,
            "validation": {"every": 2},
            **changes,
        }
    )


def workspace_of(images: Path, root: Path) -> Workspace:
    workspace = Workspace(root)
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), workspace)
    return workspace


@pytest.fixture
def workspace(images: Path, tmp_path: Path) -> Workspace:
    return workspace_of(images, tmp_path / "workspace")


def index_of(counts: list[int]) -> PatchIndex:
    """An index of images with so many patches each."""
    images = tuple(ImageRecord(f"{i:03}.png", 48, 48, f"{i:032}") for i in range(len(counts)))
    image_N = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    zeros = np.zeros(len(image_N), dtype=np.int32)
    return PatchIndex(48, 24, images, image_N, zeros, zeros)


@settings(deadline=None)
@given(st.lists(st.integers(1, 80), min_size=2, max_size=60), st.integers(0, 50))
def test_held_out_are_at_most_five_percent_or_one_smallest_image(
    counts: list[int], seed: int
) -> None:
    held = held_out_images(index_of(counts), seed)
    assert 1 <= len(held) < len(counts)
    assert list(held) == sorted(set(held))
    patches = sum(counts[i] for i in held)
    if patches > HELD_OUT * sum(counts):
        assert len(held) == 1
        assert patches == min(counts)
    else:  # as many as fit: no other image would
        left = HELD_OUT * sum(counts) - patches
        assert all(counts[i] > left for i in range(len(counts)) if i not in held)
    assert np.array_equal(held, held_out_images(index_of(counts), seed))


@pytest.mark.parametrize("seed", range(5))
def test_held_out_are_about_five_percent_of_many_images(seed: int) -> None:
    counts = [30 + i % 25 for i in range(200)]
    share = sum(counts[i] for i in held_out_images(index_of(counts), seed)) / sum(counts)
    assert 0.045 < share <= 0.05


def test_the_seed_chooses_the_images() -> None:
    index = index_of([10] * 100)
    choices = {tuple(held_out_images(index, seed)) for seed in range(10)}
    assert len(choices) == 10
    assert {len(choice) for choice in choices} == {5}


def test_a_single_image_is_not_held_out() -> None:
    assert len(held_out_images(index_of([40]), 0)) == 0


def test_a_job_trains_on_all_other_patches_for_the_steps_of_all(workspace: Workspace) -> None:
    settings = config(budget={"epochs": 3})
    job = plan_pretraining(settings, workspace)
    held = held_out_images(job.pool.index, 0)
    assert len(held) == 1
    images = job.pool.index.image_N
    assert not np.isin(images[job.patch_ids], held).any()
    others = np.setdiff1d(np.arange(len(job.pool)), job.patch_ids)
    assert set(images[others]) == set(held)
    assert job.plan.steps == math.ceil(3 * len(job.pool) / 2)
    assert job.folder == workspace.scorer("srcnn_x2")
    assert plan_pretraining(settings, workspace, name="mine").folder == workspace.scorer("mine")


def test_a_scoring_model_begins_from_the_weights_that_are_named(workspace: Workspace) -> None:
    first = plan_pretraining(config(), workspace)
    assert first.init is None and "init" not in first.parents
    fit(first, device=CPU)
    still = {"optimizer": {"lr": 1e-12}, "init": {"weights": str(first.weights)}}
    job = plan_pretraining(config(**still), workspace, name="second")
    assert job.parents["init"] != job.parents["patches"]
    header = fit(job, device=CPU)
    assert "tensors from" in header.made["init"]
    before, after = (load_weights(each.weights)[0].state_dict() for each in (first, job))
    assert all(torch.allclose(before[name], after[name]) for name in before)
    with pytest.raises(MissingArtifact, match=r"no weights 'none' to start from \(init\.weights"):
        plan_pretraining(config(init={"weights": "none"}), workspace)


def test_pixels_of_held_out_images_change_no_weight(images: Path, tmp_path: Path) -> None:
    weights = []
    for name in ("first", "second"):
        folder = tmp_path / name / "images"
        shutil.copytree(images, folder)
        workspace = workspace_of(folder, tmp_path / name / "workspace")
        job = plan_pretraining(config(), workspace)
        if name == "second":
            (held,) = held_out_images(job.pool.index, 0)
            path = folder / job.pool.index.images[held].path
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
            job = plan_pretraining(config(), workspace_of(folder, tmp_path / "inverted"))
        validate = held_out_validation(config(), job.pool, CPU)
        fit(job, device=CPU, validate=validate)
        measured = (job.folder / "validation.csv").read_text()
        weights.append((load_weights(job.weights)[0].state_dict(), measured))
    (first, measured), (second, measured_inverted) = weights
    assert all(torch.equal(first[tensor], second[tensor]) for tensor in first)
    assert measured != measured_inverted  # it is they that are measured


def test_validation_measures_the_network_against_bicubic(workspace: Workspace) -> None:
    job = plan_pretraining(config(), workspace)
    fit(job, device=CPU, validate=held_out_validation(config(), job.pool, CPU))
    with open(job.folder / "validation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert list(rows[0]) == ["step", "psnr", "psnr_bicubic"]
    assert rows[0]["psnr_bicubic"] == rows[1]["psnr_bicubic"]
    assert rows[0]["psnr"] != rows[1]["psnr"]
    assert 10 < float(rows[0]["psnr_bicubic"]) < 60


def test_bicubic_figure_is_that_of_the_enlarged_input(workspace: Workspace) -> None:
    """A network that passes its input on has the PSNR of plain bicubic."""
    job = plan_pretraining(config(), workspace)
    validate = held_out_validation(config(), job.pool, CPU)
    assert validate is not None
    figures = validate(torch.nn.Identity())
    assert figures["psnr"] == figures["psnr_bicubic"]


def test_a_network_on_lr_has_no_bicubic_figure(workspace: Workspace) -> None:
    settings = config(model="fsrcnn", model_args={}, lr_crop=24)
    job = plan_pretraining(settings, workspace)
    validate = held_out_validation(settings, job.pool, CPU)
    fit(job, device=CPU, validate=validate)
    header = (job.folder / "validation.csv").read_text().splitlines()[0]
    assert header == "step,psnr"


@pytest.mark.parametrize("lr_crop", [2, 10, 20])
@pytest.mark.parametrize("model", ["srcnn", "fsrcnn"])
def test_validation_is_a_number_however_small_the_crops(
    workspace: Workspace, model: str, lr_crop: int
) -> None:
    settings = config(model=model, model_args={}, lr_crop=lr_crop)
    job = plan_pretraining(settings, workspace)
    validate = held_out_validation(settings, job.pool, CPU)
    assert validate is not None
    network, _ = build(model, 2, {})
    assert all(math.isfinite(figure) for figure in validate(network).values())


def test_patches_that_are_all_rim_are_not_measured(tmp_path: Path, images: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=24, stride=24), workspace)
    for model, measured in (("srcnn", True), ("fsrcnn", False)):  # rims of 10 and 16 px
        settings = config(model=model, model_args={}, lr_crop=6)
        job = plan_pretraining(settings, workspace)
        assert (held_out_validation(settings, job.pool, CPU) is not None) == measured


def test_nothing_is_measured_where_there_is_but_one_image(tmp_path: Path, images: Path) -> None:
    for path in sorted(images.iterdir())[1:]:
        path.unlink()
    workspace = workspace_of(images, tmp_path / "workspace")
    job = plan_pretraining(config(), workspace)
    assert len(job.patch_ids) == len(job.pool)
    assert held_out_validation(config(), job.pool, CPU) is None


def test_a_config_that_prunes_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InputError, match=r"pruning\.ratio is 0\.5"):
        plan_pretraining(config(pruning={"ratio": 0.5}), workspace)


def test_without_patches_the_command_that_makes_them_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match="Run 'srprune extract IMAGES' first"):
        plan_pretraining(config(), Workspace(tmp_path / "empty"))


def test_faults_of_the_model_are_found_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean: variant"):
        plan_pretraining(config(model_args={"varient": "9-5-5"}), Workspace(tmp_path / "empty"))
