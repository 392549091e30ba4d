"""A core-set without pixels, and its rebuilding elsewhere, hash by hash."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srprune.core.artifact import canonical, digest
from srprune.core.coreset import CoreSet
from srprune.core.errors import (
    ArtifactError,
    ArtifactMismatch,
    ImageError,
    InputError,
    MissingArtifact,
)
from srprune.core.patches import PatchIndex
from srprune.core.workspace import Workspace
from srprune.exports.listing import read_list
from srprune.stages.export import export
from srprune.stages.extract import open_hr, read_index
from srprune.stages.import_list import import_list


@pytest.fixture
def file(workspace: Workspace) -> Path:
    """The list of the core-set ``weighted``."""
    return export(workspace, "weighted", to="list").place


@pytest.fixture
def elsewhere(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "elsewhere")


def resigned(file: Path, change: object) -> Path:
    """The list after a change, with a fingerprint that fits."""
    content = json.loads(file.read_text())
    made = content.pop("made")
    content.pop("fingerprint")
    change(content)
    mark = digest(canonical(content))
    file.write_text(json.dumps({**content, "fingerprint": mark, "made": made}))
    return file


def rename(images: Path, names: dict[str, str]) -> None:
    """Give files new names, also each other's."""
    for old in names:
        (images / old).rename(images / (Path(old).name + ".away"))
    for old, new in names.items():
        (images / new).parent.mkdir(exist_ok=True)
        (images / (Path(old).name + ".away")).rename(images / new)


def test_a_list_says_all_and_holds_no_pixels(workspace, file):
    coreset, index = CoreSet.read(workspace.coreset("weighted")), read_index(workspace)
    content = json.loads(file.read_text())
    assert file == workspace.root / "exports" / "weighted.json"
    assert content["params"] == coreset.header.params
    assert content["coreset"] == coreset.fingerprint
    assert content["patches"] == {"fingerprint": index.fingerprint, "size": 48, "stride": 24}
    assert [i["content"] for i in content["images"]] == [i.content for i in index.images]
    rows = [
        (entry["image"], patch, top, left, weight)
        for entry in content["kept"]
        for patch, top, left, weight in zip(
            entry["patch_ids"], entry["top"], entry["left"], entry["weights"], strict=True
        )
    ]
    expected = [
        (index.image_N[i], i, index.top_N[i], index.left_N[i], weight)
        for i, weight in zip(coreset.patch_ids, coreset.weights, strict=True)
    ]
    assert rows == expected
    assert content["made"]["command"]


@pytest.mark.parametrize("name", ["half", "weighted"])
def test_the_core_set_comes_back_with_its_fingerprints(workspace, elsewhere, place, name):
    file = export(workspace, name, to="list").place
    done = import_list(file, place / "images", elsewhere)
    before, after = CoreSet.read(workspace.coreset(name)), CoreSet.read(elsewhere.coreset(name))
    assert done.index.fingerprint == read_index(workspace).fingerprint
    assert done.coreset.fingerprint == after.fingerprint == before.fingerprint
    assert after.patch_ids.tolist() == before.patch_ids.tolist()
    assert (after.weights is None) == (before.weights is None) == (name == "half")
    if before.weights is not None:
        assert after.weights.tolist() == before.weights.tolist()
    assert after.header.parents == before.header.parents
    assert done.renamed == {}
    ours, theirs = open_hr(elsewhere, done.index), open_hr(workspace, read_index(workspace))
    assert all(np.array_equal(ours.image(i), theirs.image(i)) for i in range(len(ours)))


def test_images_are_found_by_content_whatever_they_are_called(workspace, file, elsewhere, place):
    names = {"img2.png": "img10.png", "img10.png": "img2.png", "a b.png": "new/zz.png"}
    rename(place / "images", names)
    done = import_list(file, place / "images", elsewhere)
    assert done.renamed == names
    assert done.index.fingerprint == read_index(workspace).fingerprint
    assert done.coreset.fingerprint == CoreSet.read(workspace.coreset("weighted")).fingerprint
    # what stands under the old name is the picture of that name
    found = [image.path for image in done.index.images].index("img2.png")
    with Image.open(place / "images" / "img10.png") as image:
        pixels = np.asarray(image)
    stored = open_hr(elsewhere, done.index).image(found)
    assert np.array_equal(stored, pixels[: stored.shape[0], : stored.shape[1]])


def test_other_files_in_the_folder_do_not_matter(file, elsewhere, place):
    (place / "images" / "broken.png").write_text("no image")
    Image.new("RGB", (300, 200)).save(place / "images" / "other.png")
    shutil.copy(place / "images" / "img2.png", place / "images" / "0 copy.png")
    assert import_list(file, place / "images", elsewhere).renamed == {}


def test_what_is_missing_or_differs_is_refused_by_name(file, elsewhere, place):
    images = place / "images"
    (images / "img2.png").unlink()
    with Image.open(images / "img10.png") as image:
        pixels = np.array(image)
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(images / "img10.png")
    Image.new("RGB", (100, 50)).save(images / "a_b.png")
    (images / "Ünter.png").write_text("no image")
    with pytest.raises(ImageError) as caught:
        import_list(file, images, elsewhere)
    said = str(caught.value).splitlines()
    assert said[0] == "4 images of 6 cannot be found by the hash of their pixels:"
    assert f"  {images / 'img2.png'} is not there, and no other file has its pixels" in said
    assert any(f"{images / 'img10.png'} has other pixels (" in line for line in said)
    assert any(f"{images / 'a_b.png'} has 100x50 px; 84x84 px are" in line for line in said)
    assert any(f"{images / 'Ünter.png'} is not a PNG image" in line for line in said)
    assert not elsewhere.patches.exists()


def test_a_second_import_does_nothing_and_another_list_adds_to_it(
    workspace, file, elsewhere, place
):
    import_list(file, place / "images", elsewhere)
    before = elsewhere.patches.stat().st_mtime_ns
    shutil.rmtree(place / "images")  # not needed any more
    import_list(file, place / "images", elsewhere)
    other = export(workspace, "half", to="list").place
    assert import_list(other, place / "images", elsewhere).name == "half"
    assert elsewhere.patches.stat().st_mtime_ns == before
    assert elsewhere.coreset("half").exists()


def test_a_workspace_with_something_else_is_left_alone(workspace, file, elsewhere, place):
    index = read_index(workspace)
    other = PatchIndex(48, 48, index.images, index.image_N, index.top_N, index.left_N)
    other.write(elsewhere.patches, made={})
    with pytest.raises(InputError, match=r"elsewhere holds patches .* Name another --workspace"):
        import_list(file, place / "images", elsewhere)
    elsewhere.patches.unlink()
    half = workspace.coreset("half")
    elsewhere.coreset("weighted").parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(half, elsewhere.coreset("weighted"))
    with pytest.raises(InputError, match=r"weighted.parquet is another core-set \("):
        import_list(file, place / "images", elsewhere)
    assert not elsewhere.patches.exists()


def test_a_second_list_is_the_same_and_another_is_not_written_over(workspace, tmp_path):
    out = tmp_path / "my.json"
    first = export(workspace, "half", to="list", out=out)
    text = out.read_text()
    second = export(workspace, "half", to="list", out=out)
    assert (first.again, second.again) == (False, True)
    with pytest.raises(InputError, match="is there already, and no list of this core-set"):
        export(workspace, "weighted", to="list", out=out)
    assert out.read_text() == text
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="is there already"):
        export(workspace, "half", to="list", out=tmp_path / "folder")


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"kind": "x"}', "[" * 100_000])
def test_what_is_no_list_is_refused(tmp_path, text):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"list.json is no core-set list"):
        read_list(tmp_path / "list.json")


def test_a_missing_list_and_a_newer_form_are_named(tmp_path, file):
    with pytest.raises(MissingArtifact, match="there is no file"):
        read_list(tmp_path / "nowhere.json")
    with pytest.raises(ArtifactError, match="has form 2; this srprune reads form 1"):
        read_list(resigned(file, lambda content: content.update(form=2)))


def test_a_changed_list_is_refused(file):
    file.write_text(file.read_text().replace('"ratio": 0.5', '"ratio": 0.6'))
    with pytest.raises(ArtifactError, match=r"does not match its fingerprint .*changed"):
        read_list(file)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(file, number):
    file.write_text(file.read_text().replace('"ratio": 0.5', f'"ratio": {number}'))
    with pytest.raises(ArtifactError, match=r"is no sound core-set list .ValueError"):
        read_list(file)


CHANGES = {
    "a window beside the grid": lambda c: c["kept"][0]["top"].__setitem__(0, 12),
    "an id that there is not": lambda c: c["kept"][0]["patch_ids"].__setitem__(0, 10**6),
    "an id beyond 64 bits": lambda c: c["kept"][0]["patch_ids"].__setitem__(0, 10**30),
    "ids that fall": lambda c: c["kept"].reverse(),
    "a negative id": lambda c: c["kept"][-1]["patch_ids"].__setitem__(-1, -1),
    "a name with a folder": lambda c: c.update(name="../../weights"),
    "a hidden name": lambda c: c.update(name=".lock"),
    "no images": lambda c: c.update(images=[]),
    "nothing kept": lambda c: c.update(kept=[]),
    "no size": lambda c: c["patches"].pop("size"),
    "images of another type": lambda c: c.update(images=3),
    "images smaller than a patch": lambda c: c["images"][0].update(height=24),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_list_that_makes_no_sense_is_refused(file, change):
    with pytest.raises(ArtifactError, match="is no sound core-set list"):
        read_list(resigned(file, change))


def test_a_list_whose_fingerprints_cannot_be_reached_is_refused(file, elsewhere, place):
    resigned(file, lambda content: content["params"].update(ratio=0.25))
    with pytest.raises(ArtifactMismatch, match=r"is of core-set .* came out"):
        import_list(file, place / "images", elsewhere)
    assert not elsewhere.coreset("weighted").exists()
