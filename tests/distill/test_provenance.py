"""What a synthesised set says of its images, and that an edited one is refused."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from srprune.core.artifact import read_table, write_table
from srprune.core.config import ExtractConfig
from srprune.core.errors import ArtifactError, ArtifactMismatch, MissingArtifact
from srprune.core.workspace import Workspace
from srprune.distill.provenance import IMAGES, KIND, TABLE, DistilledSet, Sample, check_folder
from srprune.images.decode import content_of
from srprune.stages.extract import ImageSource, extract
from tests.conftest import picture

SIZE = 36
PARENTS = {"patches": "feedfeedfeedfeed", "generator": "beefbeefbeefbeef"}
PARAMS = {"per_category": 2, "seed": 0, "size": SIZE, "rejected": {"constant": 1}}


def index(folder: Path) -> None:
    source = ImageSource.find(str(folder / IMAGES))
    extract(source, ExtractConfig(size=SIZE, stride=SIZE), Workspace(folder))


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "set"
    (folder / IMAGES).mkdir(parents=True)
    samples = []
    for place in range(4):
        image = picture(SIZE, SIZE, place)
        name = f"{place:05d}_c{place % 2}.png"
        Image.fromarray(image).save(folder / IMAGES / name)
        psnr = math.inf if place == 3 else 12.5
        nearest = (40 + place, place == 2, 0.5, psnr, place == 3, 50 + place, True, 0.75)
        samples.append(Sample(name, place % 2, place // 2, content_of(image), *nearest))
    DistilledSet.write(folder, samples[::-1], parents=PARENTS, params=PARAMS, made={})
    index(folder)
    return folder


@pytest.fixture
def made(made_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made_once, tmp_path / "set")


def refused(folder: Path, kind: type[ArtifactError] = ArtifactError) -> str:
    with pytest.raises(kind) as caught:
        check_folder(folder)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    return said


def test_what_was_written_is_read_again(made: Path) -> None:
    distilled = check_folder(made)
    assert distilled == DistilledSet.read(made)
    assert [sample.image for sample in distilled.samples] == sorted(
        path.name for path in (made / IMAGES).iterdir()
    )
    last = distilled.samples[3]
    assert (last.category, last.number, last.patch_id, last.mirrored) == (1, 1, 43, False)
    assert (last.correlation, last.psnr_db, last.near_copy) == (0.5, math.inf, True)
    assert type(last.category) is int
    assert distilled.near_copies == [last]
    assert distilled.categories.tolist() == [0, 1, 0, 1]
    assert distilled.header.parents == PARENTS
    assert distilled.header.params == PARAMS
    assert pq.read_table(made / TABLE).num_rows == 4  # as pandas and duckdb open it


def test_a_table_without_the_nearest_by_thumbnail_is_read(made: Path) -> None:
    _, columns = read_table(made / TABLE, KIND)
    whole = DistilledSet.read(made)
    assert {sample.highest_correlation for sample in whole.samples} == {0.75}
    old = {name: column for name, column in columns.items() if not name.startswith("thumb_")}
    write_table(made / TABLE, KIND, old, parents=PARENTS, params=PARAMS, made={})
    distilled = check_folder(made)
    assert [sample[:9] for sample in distilled.samples] == [sample[:9] for sample in whole.samples]
    assert {sample.thumb_id for sample in distilled.samples} == {None}
    assert {sample.highest_correlation for sample in distilled.samples} == {0.5}
    del columns["thumb_id"]
    write_table(made / TABLE, KIND, columns, parents=PARENTS, params=PARAMS, made={})
    assert "must have the columns image, " in refused(made)


def test_the_order_of_writing_does_not_count(made: Path, tmp_path: Path) -> None:
    distilled = DistilledSet.read(made)
    (tmp_path / "other").mkdir()
    again = DistilledSet.write(
        tmp_path / "other", distilled.samples, parents=PARENTS, params=PARAMS, made={"a": 1}
    )
    assert again.fingerprint == distilled.fingerprint
    assert again.samples == distilled.samples


def test_a_missing_image_is_named(made: Path) -> None:
    (made / IMAGES / "00002_c0.png").unlink()
    said = refused(made)
    assert said.startswith(f"the synthesised image {made / IMAGES / '00002_c0.png'} is not there.")
    assert "--restart" in said


def test_no_images_at_all(made: Path) -> None:
    shutil.rmtree(made / IMAGES)
    assert "00000_c0.png is not there" in refused(made)


def test_a_changed_image_is_named(made: Path) -> None:
    path = made / IMAGES / "00001_c1.png"
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    assert f"{path} was changed after it was made" in refused(made)


def test_a_damaged_image_is_named(made: Path) -> None:
    path = made / IMAGES / "00001_c1.png"
    path.write_bytes(path.read_bytes()[:200])
    assert refused(made).startswith(f"the synthesised image {path} is damaged")


def test_the_same_pixels_in_another_compression_are_the_same_image(made: Path) -> None:
    path = made / IMAGES / "00001_c1.png"
    Image.open(path).copy().save(path, compress_level=0)
    check_folder(made)


def test_an_added_image_is_named(made: Path) -> None:
    shutil.copy(made / IMAGES / "00001_c1.png", made / IMAGES / "mine.png")
    said = refused(made)
    assert said.startswith(f"{made / IMAGES / 'mine.png'} was not synthesised; of such images")
    assert "there is 1." in said


def test_an_image_of_another_kind_is_refused_too(made: Path) -> None:
    (made / IMAGES / "mine.gif").write_bytes(b"GIF89a")
    assert "mine.gif" in refused(made)


def test_the_index_of_other_images(made: Path) -> None:
    extra = made / IMAGES / "extra.png"
    shutil.copy(made / IMAGES / "00001_c1.png", extra)
    index(made)
    extra.unlink()
    said = refused(made, ArtifactMismatch)
    assert said.startswith(f"{made / 'patches.parquet'} is not the index of the images beside it.")


@pytest.mark.parametrize("gone", ["patches.parquet", "pixels/hr.u8"])
def test_no_index_or_no_pixels(made: Path, gone: str) -> None:
    (made / gone).unlink()
    with pytest.raises(MissingArtifact, match=rf"pixels of the .* {made} .* Give the command that"):
        check_folder(made)


def test_a_table_of_nothing(made: Path) -> None:
    (made / TABLE).write_bytes(b"")
    said = refused(made)
    assert f"{made / TABLE} is not a readable Parquet file" in said
    assert "with --restart" in said


def test_no_set(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact):
        check_folder(tmp_path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda columns: columns.pop("near_copy"), "must have the columns image, "),
        (lambda columns: columns.update(number=np.zeros(2)), "must have the columns image, "),
        (lambda columns: columns.update(image=np.array(["a.png", "a.png"])), "each image once"),
        (lambda columns: columns.update(image=np.array(["b.png", "a.png"])), "each image once"),
    ],
)
def test_tables_that_are_none(change, why: str, tmp_path: Path) -> None:
    columns = {
        "image": np.array(["a.png", "b.png"]),
        "category": np.zeros(2, dtype=np.int32),
        "number": np.zeros(2, dtype=np.int64),
        "content": np.array(["0", "1"]),
        "patch_id": np.zeros(2, dtype=np.int64),
        "mirrored": np.zeros(2, dtype=bool),
        "correlation": np.zeros(2),
        "psnr_db": np.zeros(2),
        "near_copy": np.zeros(2, dtype=bool),
    }
    write_table(tmp_path / TABLE, KIND, columns, parents={}, params={}, made={})
    DistilledSet.read(tmp_path)
    change(columns)
    write_table(tmp_path / TABLE, KIND, columns, parents={}, params={}, made={})
    with pytest.raises(ArtifactError, match=why):
        DistilledSet.read(tmp_path)
