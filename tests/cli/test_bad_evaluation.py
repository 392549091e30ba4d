"""What cannot be measured ends in one line: leaks, models, benchmarks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.spoiled import BAD, NOISE, bomb, cut, empty, garbage, text, truncated


def as_png(pixels: np.ndarray, folder: Path) -> None:
    Image.fromarray(pixels).save(folder / "other.png", compress_level=1)


def as_bmp(pixels: np.ndarray, folder: Path) -> None:
    Image.fromarray(pixels).save(folder / "other.bmp")


def mod_cropped(pixels: np.ndarray, folder: Path) -> None:
    height, width = pixels.shape[:2]
    cropped = pixels[: height - height % 12, : width - width % 12]
    Image.fromarray(cropped).save(folder / "other.tiff")


@pytest.mark.parametrize("copy", [as_png, as_bmp, mod_cropped])
def test_an_evaluation_image_that_trained_is_refused(refused, prepared, tiny, tmp_path, copy):
    folder = tmp_path / "mine"
    folder.mkdir()
    with Image.open(tmp_path / "images" / "b.png") as image:
        copy(np.asarray(image), folder)
    said = refused("eval", "--benchmark", "mine", "--save-images", "sr")
    assert f"other{next(folder.iterdir()).suffix} of mine is also a training image of" in said
    assert "(b.png, the same pixels)" in said
    assert "--allow-leak" in said
    assert not (prepared / "results").exists()


def test_a_leak_is_measured_where_it_is_allowed(cli, prepared):
    printed = cli("eval", "--benchmark", "images", "--allow-leak").stdout
    assert "mean of 4" in printed


def test_a_leak_is_refused_after_it_was_once_allowed(cli, refused, prepared):
    cli("eval", "--benchmark", "images", "--allow-leak")
    assert "also a training image" in refused("eval", "--benchmark", "images")


def test_an_evaluation_image_that_is_too_small_is_named(refused, prepared, tmp_path):
    (tmp_path / "mine").mkdir()
    Image.fromarray(NOISE[:10, :10]).save(tmp_path / "mine" / "tiny.png")
    said = refused("eval", "bicubic", "--benchmark", "mine")
    assert said.startswith("mine/tiny.png: ")
    assert "10" in said
    assert not (prepared / "results").exists()


@pytest.mark.parametrize("spoil", [truncated, text, empty, bomb])
def test_an_evaluation_image_that_is_damaged_is_named(refused, prepared, tmp_path, spoil):
    (tmp_path / "mine").mkdir()
    spoil(tmp_path / "mine" / "bad.png")
    said = refused("eval", "bicubic", "--benchmark", "mine")
    assert said.startswith("mine/bad.png ")
    assert BAD[spoil] in said
    assert not (prepared / "results").exists()


def test_photos_where_a_folder_is_called_so(cli, refused, tmp_path, images):
    shutil.copytree(images, tmp_path / "photos")
    grid = ["--size", "48", "--stride", "24"]
    for words in (["extract", "photos", *grid], ["eval", "bicubic", "--benchmark", "photos"]):
        said = refused(*words)
        assert said.startswith("photos names the photographs inside scikit-image, but there is a ")
        assert "Write ./photos for the folder, or run this in another folder" in said
    said = cli("extract", "./photos", *grid).stdout
    assert f"{len(list(images.iterdir()))} images" in said


def test_a_model_that_is_not_there_is_named(refused, prepared, tiny):
    said = refused("eval", "fsrcn", "--benchmark", "photos")
    assert said.startswith("there is no model 'fsrcn': neither bicubic, nor a weights file, nor")
    assert tiny.run in said


@pytest.mark.parametrize("damage", [cut, garbage])
def test_damaged_weights_are_named(refused, prepared, tiny, damage):
    weights = prepared / "runs" / tiny.run / "weights.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    said = refused("eval", "--benchmark", "photos")
    assert said.startswith(f"workspace/runs/{tiny.run}/weights.safetensors ")


def test_of_two_runs_one_must_be_named(refused, prepared, tiny):
    shutil.copytree(prepared / "runs" / tiny.run, prepared / "runs" / "other")
    said = refused("eval", "--benchmark", "photos")
    assert said.startswith("there are 2 finished runs: ")
    assert f"{tiny.run}, other" in said


def test_a_scale_that_is_not_the_models_is_refused(refused, prepared, tiny):
    said = refused("eval", tiny.run, "--benchmark", "photos", "--scale", "3")
    assert said.endswith("is a model of x2, but --scale is 3.")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "none of Set5, Set14, BSD100, Urban100 was found"),
        (["--benchmark", "set5"], "benchmark Set5 was not found"),
        (["--benchmark", "set51"], "unknown benchmark 'set51'. Did you mean: set5?"),
        (["--benchmark", "no/where"], "there is no folder no/where to evaluate on"),
    ],
)
def test_a_missing_benchmark_is_named(refused, options, said):
    assert said in refused("eval", "bicubic", *options)
