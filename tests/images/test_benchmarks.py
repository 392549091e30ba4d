"""Benchmarks: found in the usual layouts, and never trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srprune.core.errors import InputError, MissingArtifact, UnknownName
from srprune.images.benchmarks import (
    BENCHMARKS,
    PAPER,
    PHOTOS_HELD_OUT,
    PHOTOS_TRAIN,
    find_benchmark,
    photos_folder,
)
from srprune.images.decode import content_of, decode_rgb

FIVE = ("a.png", "b.png", "c.png", "d.png", "e.png")


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(np.zeros((2, 2), dtype=np.uint8)).save(folder / name)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("set5", "Set5/HR"),
        ("set5", "benchmark/Set5/HR"),
        ("SET14", "benchmarks/Set14/GTmod12"),
        ("bsd100", "B100"),
        ("bsd100", "benchmark/BSDS100/HR"),
        ("urban100", "urban100"),
        ("manga109", "Manga109/HR"),
    ],
)
def test_a_benchmark_is_found_in_the_usual_layouts(tmp_path: Path, name: str, layout: str) -> None:
    spec = BENCHMARKS[name.lower()]
    names = tuple(f"img_{i:03d}.png" for i in range(spec.num_images))
    put(tmp_path / "data" / layout, *reversed(names))
    (tmp_path / "other").mkdir()
    found = find_benchmark(name, [tmp_path / "none", tmp_path / "other", tmp_path / "data"])
    assert found.name == name.lower() and found.title == spec.title
    assert found.folder == tmp_path / "data" / layout and found.images == names


def test_a_known_benchmark_must_be_complete(tmp_path: Path) -> None:
    put(tmp_path / "Set5" / "HR", "a.png", "b.png")
    with pytest.raises(InputError, match=r"Set5 has 5 images, but .*HR holds 2\. .*--benchmark"):
        find_benchmark("set5", [tmp_path])
    assert len(find_benchmark(str(tmp_path / "Set5" / "HR"), []).images) == 2


@pytest.mark.parametrize("inner", ["HR", "GTmod12", "."])
def test_a_folder_is_called_as_its_benchmark(tmp_path: Path, inner: str) -> None:
    put(tmp_path / "General100" / inner, "a.png")
    found = find_benchmark(str(tmp_path / "General100" / inner), [])
    assert (found.name, found.title) == ("General100", "General100")


def test_lr_images_beside_hr_images_are_not_measured_with_them(tmp_path: Path) -> None:
    put(tmp_path / "Set5", *FIVE)
    put(tmp_path / "Set5" / "LR_bicubic", "a.png")
    with pytest.raises(InputError, match="holds 6"):
        find_benchmark("set5", [tmp_path])


def test_hr_comes_before_other_folders_and_the_first_root_before_others(tmp_path: Path) -> None:
    for folder in ("one/Set5/HR", "one/Set5/GTmod12", "one/Set5/LR_bicubic/X2", "two/Set5/HR"):
        put(tmp_path / folder, *FIVE)
    found = find_benchmark("set5", [tmp_path / "one", tmp_path / "two"])
    assert found.folder == tmp_path / "one/Set5/HR" and found.images == FIVE


def test_any_folder_of_images_is_a_benchmark(tmp_path: Path) -> None:
    put(tmp_path / "mine", "x.png")
    found = find_benchmark(str(tmp_path / "mine"), [])
    assert (found.name, found.title, found.images) == ("mine", "mine", ("x.png",))


def test_a_known_benchmark_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match=r"Set5 was not found \(searched: .*Set5/HR"):
        find_benchmark("set5", [tmp_path])
    with pytest.raises(MissingArtifact, match="searched: nowhere"):
        find_benchmark("set5", [])


def test_names_that_are_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"'sett5'\. Did you mean: set5\?.*photos"):
        find_benchmark("sett5", [tmp_path])
    with pytest.raises(InputError, match=r"there is no folder .*none to evaluate on"):
        find_benchmark(str(tmp_path / "none"), [])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Set5" / "HR").mkdir(parents=True)
    for name in ("set5", str(tmp_path / "Set5")):
        with pytest.raises(InputError, match="there is no image in"):
            find_benchmark(name, [tmp_path])


def test_the_benchmarks_of_the_papers_are_known() -> None:
    assert {*PAPER, "manga109"} == set(BENCHMARKS)
    assert [BENCHMARKS[name].num_images for name in BENCHMARKS] == [5, 14, 100, 100, 109]


def test_the_photos_are_there_and_no_photo_both_trains_and_is_held_out() -> None:
    found = find_benchmark("photos", [])
    assert found.images == PHOTOS_HELD_OUT and found.folder == photos_folder()
    names = PHOTOS_TRAIN + PHOTOS_HELD_OUT
    contents = {content_of(decode_rgb(photos_folder() / name)) for name in names}
    assert len(contents) == len(names) == 14


def test_a_folder_called_photos_is_not_the_benchmark(tmp_path: Path) -> None:
    for folder in ("mine/photos", "yours/photos/HR"):
        put(tmp_path / folder, "x.png")
    names = [find_benchmark(str(tmp_path / f), []).name for f in ("mine/photos", "yours/photos/HR")]
    assert names == ["mine_photos", "yours_photos"]


def test_the_benchmarks_on_disk_have_as_many_images_as_published(data: Path) -> None:
    for name in PAPER:
        if (data / "benchmark" / BENCHMARKS[name].title).is_dir():
            assert len(find_benchmark(name, [data]).images) == BENCHMARKS[name].num_images
