"""A table in parts is the table that one process would have written, or says what it lacks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srprune.core.errors import ArtifactError, ArtifactMismatch, InputError, MissingArtifact
from srprune.core.patches import ImageRecord, PatchIndex
from srprune.core.score_parts import part_path, split, write_part
from srprune.core.scores import ScoreTable

PARENTS, PARAMS = {"patches": "00000000000000aa"}, {"method": "mse", "scale": 2}


def index_of(patches_per_image: list[int]) -> PatchIndex:
    image_N = np.repeat(np.arange(len(patches_per_image)), patches_per_image).astype(np.int32)
    images = tuple(
        ImageRecord(f"{i:04d}.png", 48, 48, f"{i:032x}") for i in range(len(patches_per_image))
    )
    return PatchIndex(48, 24, images, image_N, np.zeros_like(image_N), np.zeros_like(image_N))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.data())
def test_parts_are_whole_images_that_together_are_all(
    counts: list[int], data: st.DataObject
) -> None:
    index = index_of(counts)
    number = data.draw(st.integers(1, len(counts)))
    parts = split(index, number)
    assert len(parts) == number
    assert [patch for part in parts for patch in part] == list(range(len(index)))
    for part in parts:
        assert len(part)
        images = index.image_N[part.start : part.stop]
        assert np.isin(index.image_N, images).sum() == len(part)


def test_parts_of_equal_images_are_equal() -> None:
    assert [len(part) for part in split(index_of([40] * 12), 4)] == [120] * 4


@pytest.mark.parametrize("count", [0, 3, -1])
def test_there_are_at_least_as_many_images_as_parts(count: int) -> None:
    with pytest.raises(InputError, match=f"{count} shards are asked for, but there are 2 images"):
        split(index_of([5, 6]), count)


def write(folder: Path, number: int, count: int, scores: Any, **params: Any) -> None:
    size = len(scores) // count
    own = scores[number * size :] if number == count - 1 else scores[number * size :][:size]
    write_part(
        folder, number, count, number * size, own,
        parents=PARENTS, params={**PARAMS, **params}, made={"by": number},
    )  # fmt: skip


@pytest.fixture
def scores() -> Any:
    return np.random.default_rng(0).normal(size=100)


@pytest.mark.parametrize("count", [1, 3, 12])
def test_the_parts_are_the_table(tmp_path: Path, scores: Any, count: int) -> None:
    for number in reversed(range(count)):
        write(tmp_path / "parts", number, count, scores)
    whole = ScoreTable.write(tmp_path / "one", scores, parents=PARENTS, params=PARAMS, made={})
    read = ScoreTable.read(tmp_path / "parts", patches=PARENTS["patches"])
    assert np.array_equal(read.scores_N, scores)
    assert read.fingerprint == whole.fingerprint
    assert (read.header.params, read.header.parents) == (PARAMS, PARENTS)
    assert read.method == "mse"


def test_other_readers_take_the_folder_as_one_table(tmp_path: Path, scores: Any) -> None:
    import pyarrow.parquet as pq

    for number in range(3):
        write(tmp_path / "parts", number, 3, scores)
    assert pq.read_table(tmp_path / "parts")["score"].to_pylist() == scores.tolist()


def test_parts_that_are_missing_are_named(tmp_path: Path, scores: Any) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    with pytest.raises(MissingArtifact, match="all shards are missing"):
        ScoreTable.read(folder)
    for number in range(1, 20, 2):
        write(folder, number, 20, scores)
    with pytest.raises(MissingArtifact) as caught:
        ScoreTable.read(folder)
    assert str(caught.value) == (
        f"{folder} is not whole: shards 0, 2, 4, 6, 8, 10, 12, 14, ... of 20 are missing. "
        "Give the command of 'srprune score' again."
    )


def test_a_part_that_is_being_written_is_not_there(tmp_path: Path, scores: Any) -> None:
    write(tmp_path, 0, 2, scores)
    part_path(tmp_path, 1, 2).with_name(f".{part_path(tmp_path, 1, 2).name}.1.part").touch()
    with pytest.raises(MissingArtifact, match="shards 1 of 2 are missing"):
        ScoreTable.read(tmp_path)


def test_parts_of_two_divisions_are_refused(tmp_path: Path, scores: Any) -> None:
    write(tmp_path, 0, 2, scores)
    write(tmp_path, 0, 4, scores)
    with pytest.raises(ArtifactError, match="holds parts of 2 and of 4 shards"):
        ScoreTable.read(tmp_path)


def test_a_part_that_was_made_otherwise_is_named(tmp_path: Path, scores: Any) -> None:
    write(tmp_path, 0, 2, scores)
    write(tmp_path, 1, 2, scores, scale=3)
    with pytest.raises(ArtifactMismatch) as caught:
        ScoreTable.read(tmp_path)
    assert str(caught.value) == (
        f"{part_path(tmp_path, 1, 2)} was made otherwise than its neighbours: "
        "params.scale 3 there, 2 asked for. Remove it and score again."
    )


def test_a_damaged_part_is_named(tmp_path: Path, scores: Any) -> None:
    for number in range(2):
        write(tmp_path, number, 2, scores)
    os.truncate(part_path(tmp_path, 1, 2), 100)
    with pytest.raises(ArtifactError, match=r"part-00001-of-00002\.parquet is not a readable"):
        ScoreTable.read(tmp_path)


def test_a_strange_file_is_named(tmp_path: Path, scores: Any) -> None:
    write(tmp_path, 0, 1, scores)
    (tmp_path / "part-one.parquet").touch()
    with pytest.raises(ArtifactError, match=r"part-one.parquet is no part of a score table"):
        ScoreTable.read(tmp_path)


def test_parts_with_a_gap_are_no_table(tmp_path: Path, scores: Any) -> None:
    write_part(tmp_path, 0, 2, 0, scores[:40], parents=PARENTS, params=PARAMS, made={})
    write_part(tmp_path, 1, 2, 50, scores[50:], parents=PARENTS, params=PARAMS, made={})
    with pytest.raises(ArtifactError, match="must have the columns patch_id"):
        ScoreTable.read(tmp_path)
