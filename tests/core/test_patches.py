"""The patch index: one row a patch, and everything about its image beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from srprune.core.artifact import write_table
from srprune.core.errors import ArtifactError
from srprune.core.patches import ImageRecord, PatchIndex
from srprune.images.grid import grid

IMAGES = (
    ImageRecord("a.png", 48, 72, "0" * 32),
    ImageRecord("b/c.png", 48, 48, "1" * 32),
    ImageRecord("d.png", 60, 48, "0" * 32),
)


def an_index() -> PatchIndex:
    shapes = [(image.height, image.width) for image in IMAGES]
    return PatchIndex(48, 24, IMAGES, *grid(shapes, 48, 24))


def test_round_trip(tmp_path: Path) -> None:
    written = an_index().write(tmp_path / "p.parquet", made={}, info={"folder": "x"})
    read = PatchIndex.read(tmp_path / "p.parquet")
    assert read.images == IMAGES and (read.size, read.stride) == (48, 24)
    assert read.fingerprint == written.fingerprint and read.pixels == written.pixels
    for name in ("image_N", "top_N", "left_N"):
        column = getattr(read, name)
        assert column.dtype == np.int32
        np.testing.assert_array_equal(column, getattr(written, name))
    assert read.header is not None and read.header.info == {"folder": "x"}


def test_columns_are_as_documented(tmp_path: Path) -> None:
    an_index().write(tmp_path / "p.parquet", made={})
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert len(rows) == 5
    assert rows[1] == {
        "image": "a.png",
        "top": 0,
        "left": 24,
        "image_height": 48,
        "image_width": 72,
        "image_content": "0" * 32,
    }
    assert [row["image"] for row in rows] == ["a.png"] * 2 + ["b/c.png"] + ["d.png"] * 2


def test_patches_per_image_and_contents() -> None:
    index = an_index()
    assert len(index) == 5
    assert index.patches_per_image.tolist() == [2, 1, 2]
    assert index.contents == {"0" * 32: "d.png", "1" * 32: "b/c.png"}


@pytest.mark.parametrize("size", [48, 36])
def test_the_fingerprint_of_the_pixels_is_not_that_of_the_grid(tmp_path: Path, size: int) -> None:
    shapes = [(image.height, image.width) for image in IMAGES]
    index = PatchIndex(size, 12, IMAGES, *grid(shapes, size, 12)).write(tmp_path / "p", made={})
    other = an_index().write(tmp_path / "q", made={})
    assert index.pixels == other.pixels and index.fingerprint != other.fingerprint


def test_other_contents_are_other_pixels() -> None:
    index = an_index()
    images = (*IMAGES[:2], ImageRecord("d.png", 60, 48, "2" * 32))
    other = PatchIndex(48, 24, images, index.image_N, index.top_N, index.left_N)
    assert index.pixels != other.pixels


def test_an_index_made_by_hand_must_have_all_columns_and_a_row(tmp_path: Path) -> None:
    an_index().write(tmp_path / "p", made={})
    table = pq.read_table(tmp_path / "p")
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    params = {"size": 48, "stride": 24}
    without = {name: column for name, column in columns.items() if name != "left"}
    empty = {name: column[:0] for name, column in columns.items()}
    for wrong in (without, empty):
        write_table(tmp_path / "x", "PatchIndex", wrong, parents={}, params=params, made={})
        with pytest.raises(ArtifactError, match="must have the columns image, top, left"):
            PatchIndex.read(tmp_path / "x")
