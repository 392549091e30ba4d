"""extract --from: files that somebody else has cut, each of them one patch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srprune.core.config import ExtractConfig
from srprune.core.errors import ImageError, InputError
from srprune.core.patches import PatchIndex
from srprune.core.workspace import Workspace
from srprune.images.subimages import SubImages, sub_images_of_folder, sub_images_of_meta_info
from srprune.stages.extract import ImageSource, extract, open_hr, sub_image_names

RNG = np.random.default_rng(0)
NAMES = ("0001_s001.png", "0001_s002.png", "0002_s001.png", "0010_s001.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four sub-images of 48 px."""
    folder = tmp_path / "sub"
    folder.mkdir()
    for name in NAMES:
        write(folder / name, (48, 48))
    return folder


def write(path: Path, shape: tuple[int, int]) -> None:
    Image.fromarray(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(path)


def listed(folder: Path, *lines: str) -> Path:
    file = folder.parent / "meta_info.txt"
    file.write_text("".join(line + "\n" for line in lines))
    return file


def cut(folder: Path, found: SubImages) -> tuple[PatchIndex, Workspace]:
    workspace = Workspace(folder.parent / "workspace")
    config = ExtractConfig(size=found.size, stride=found.size)
    return extract(ImageSource(folder, found.names), config, workspace), workspace


def test_each_file_of_a_folder_is_one_patch(folder):
    found = sub_images_of_folder(folder, workers=2)
    assert found == SubImages(list(NAMES), 48)
    index, workspace = cut(folder, found)
    assert (index.size, index.stride, len(index)) == (48, 48, 4)
    assert index.patches_per_image.tolist() == [1, 1, 1, 1]
    assert not index.top_N.any() and not index.left_N.any()
    assert PatchIndex.read(workspace.patches).fingerprint == index.fingerprint
    for i, name in enumerate(NAMES):
        with Image.open(folder / name) as image:
            assert np.array_equal(open_hr(workspace, index).image(i), np.asarray(image))


def test_patches_keep_the_names_of_their_files(folder):
    index, _ = cut(folder, sub_images_of_folder(folder))
    assert sub_image_names(index) == list(NAMES)


def test_a_meta_info_chooses_and_orders_the_files(folder):
    file = listed(folder, f"{NAMES[2]} (48,48,3)", f"{NAMES[0]} (48, 48, 3)", NAMES[3])
    found = sub_images_of_meta_info(folder, file)
    assert found == SubImages([NAMES[2], NAMES[0], NAMES[3]], 48)
    index, workspace = cut(folder, found)
    assert [image.path for image in index.images] == list(found.names)
    assert PatchIndex.read(workspace.patches).images == index.images
    with Image.open(folder / NAMES[0]) as image:
        assert np.array_equal(open_hr(workspace, index).image(1), np.asarray(image))


def test_files_that_the_meta_info_leaves_out_may_have_any_size(folder):
    write(folder / "other.png", (50, 70))
    assert sub_images_of_meta_info(folder, listed(folder, NAMES[1])).size == 48


FAULTS = {
    "there is no such file": (["nowhere.png (48,48,3)"], r"line 1: nowhere.png is no image in"),
    "a name with a space": (["a b.png (48,48,3)"], r"line 1: a is no image in .* first space"),
    "a way out": (["../sub/0001_s001.png"], r"line 1: \.\./sub/0001_s001.png is no image in"),
    "twice": (
        [NAMES[0], NAMES[1], NAMES[0]],
        r"line 3: 0001_s001.png is in line 1 already",
    ),
    "an empty line": ([NAMES[0], "", NAMES[1]], "line 2: there is no file name"),
    "nothing": ([], "lists no file"),
    "another size": (
        [NAMES[0], f"{NAMES[1]} (480,240,3)"],
        r"line 2: 0001_s002.png should have 240x480 px, but the file has 48x48",
    ),
}


@pytest.mark.parametrize(("lines", "said"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_meta_info_is_one_line(folder, lines, said):
    with pytest.raises(InputError, match=said) as caught:
        sub_images_of_meta_info(folder, listed(folder, *lines))
    assert len(str(caught.value).splitlines()) == 1


def test_a_meta_info_that_is_none_is_named(folder, tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        sub_images_of_meta_info(folder, tmp_path / "nowhere.txt")
    with pytest.raises(InputError, match="is a folder; a meta_info file was expected"):
        sub_images_of_meta_info(folder, folder)
    with pytest.raises(InputError, match="is no text file"):
        sub_images_of_meta_info(folder, folder / NAMES[0])


def test_files_of_two_sizes_are_refused_by_name(folder):
    write(folder / "0003_s001.png", (48, 60))
    with pytest.raises(InputError, match=r"2 sizes: 4 of 48x48 px, but 0003_s001.png has 60x48"):
        sub_images_of_folder(folder)


@pytest.mark.parametrize(("shape", "said"), [((50, 50), "50x50 px"), ((48, 96), "96x48 px")])
def test_a_side_that_does_not_fit_is_refused(tmp_path, shape, said):
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "a.png", shape)
    with pytest.raises(InputError, match=f"have {said}; sub-images are square, with a side"):
        sub_images_of_folder(tmp_path / "sub")


def test_files_that_cannot_be_read_are_listed_by_extract(folder):
    (folder / NAMES[1]).write_text("no image")
    found = sub_images_of_folder(folder)
    assert found.size == 48
    with pytest.raises(ImageError, match=r"1 image of 4 cannot be used:\n.*0001_s002.png is not"):
        cut(folder, found)
    for name in NAMES:
        (folder / name).write_text("no image")
    with pytest.raises(ImageError, match="4 images of 4 cannot be used"):
        cut(folder, sub_images_of_folder(folder))
