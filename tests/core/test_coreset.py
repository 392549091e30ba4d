"""Core-sets: sorted, unique ids within one patch index."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.artifact import write_table
from srprune.core.coreset import CoreSet
from srprune.core.errors import ArtifactError, ArtifactMismatch, InputError

PATCHES = "00000000000000aa"
OTHER = "00000000000000bb"
PARENTS = {"patches": PATCHES}
PARAMS: dict[str, Any] = {"rule": "des", "num_patches": 10, "num_skipped": 0}


@settings(deadline=None)  # it writes and syncs files
@given(st.sets(st.integers(0, 9), min_size=1), st.randoms())
def test_round_trip_sorts(
    tmp_path_factory: pytest.TempPathFactory, ids: set[int], r: Random
) -> None:
    path = tmp_path_factory.getbasetemp() / "coreset.parquet"
    shuffled = r.sample(sorted(ids), len(ids))
    written = CoreSet.write(path, np.array(shuffled), parents=PARENTS, params=PARAMS, made={})
    read = CoreSet.read(path, PATCHES)
    assert read.patch_ids.tolist() == written.patch_ids.tolist() == sorted(ids)
    assert read.header.params == {**PARAMS, "num_kept": len(ids)}
    assert read.fingerprint == written.fingerprint and len(read) == len(ids)


def test_the_column_is_as_documented(tmp_path: Path) -> None:
    CoreSet.write(tmp_path / "c", np.array([7, 2]), parents=PARENTS, params=PARAMS, made={})
    table = pq.read_table(tmp_path / "c")
    assert table.to_pydict() == {"patch_id": [2, 7]}
    assert table.schema.types == [pa.int64()]


def test_a_coreset_of_another_index_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    CoreSet.write(tmp_path / "c", np.arange(3), parents=PARENTS, params=PARAMS, made={})
    with pytest.raises(ArtifactMismatch, match=f"{PATCHES}, but {OTHER} is at hand.*select"):
        CoreSet.read(tmp_path / "c", OTHER)


@pytest.mark.parametrize(
    "ids",
    [
        np.array([2, 1]),
        np.array([1, 1]),
        np.array([-1, 1]),
        np.array([9, 10]),
        np.array([], dtype=np.int64),
        np.array([0.0, 1.5]),
        np.array(["0", "1"], dtype=object),
    ],
)
def test_wrong_ids_in_a_file_made_by_hand_are_refused(
    tmp_path: Path, ids: npt.NDArray[Any]
) -> None:
    columns = {"patch_id": ids}
    write_table(tmp_path / "c", "CoreSet", columns, parents=PARENTS, params=PARAMS, made={})
    with pytest.raises(ArtifactError, match="sorted, unique patch ids from 0 to 9"):
        CoreSet.read(tmp_path / "c")


def test_a_file_without_ids_is_refused(tmp_path: Path) -> None:
    columns = {"id": np.arange(3)}
    write_table(tmp_path / "c", "CoreSet", columns, parents=PARENTS, params=PARAMS, made={})
    with pytest.raises(ArtifactError, match="sorted, unique patch ids"):
        CoreSet.read(tmp_path / "c")


@pytest.mark.parametrize("total", [None, "10", 10.0])
def test_a_file_that_does_not_tell_of_how_many_patches_is_refused(
    tmp_path: Path, total: Any
) -> None:
    params = {} if total is None else {"num_patches": total}
    columns = {"patch_id": np.arange(3)}
    write_table(tmp_path / "c", "CoreSet", columns, parents=PARENTS, params=params, made={})
    with pytest.raises(ArtifactError, match=f"num_patches, .* must stand in .* and is {total!r}"):
        CoreSet.read(tmp_path / "c")


@pytest.mark.parametrize("ids", [[1, 1], [9, 10], [-1, 3], []])
def test_ids_that_cannot_be_are_not_written(tmp_path: Path, ids: list[int]) -> None:
    with pytest.raises(InputError, match="unique patch ids from 0 to 9"):
        write(tmp_path / "c", ids, None)
    with pytest.raises(InputError, match="num_patches"):
        CoreSet.write(tmp_path / "c", np.arange(3), parents=PARENTS, params={}, made={})
    assert not (tmp_path / "c").exists()


# --- weights ---


def write(path: Path, ids: list[int], weights: Any) -> CoreSet:
    weights = None if weights is None else np.array(weights)
    return CoreSet.write(
        path, np.array(ids), parents=PARENTS, params=PARAMS, made={}, weights=weights
    )


def test_weights_go_with_their_ids_and_count_in_the_fingerprint(tmp_path: Path) -> None:
    written = write(tmp_path / "c", [7, 2, 5], [0.5, 1.0, 1.5])
    read = CoreSet.read(tmp_path / "c", PATCHES)
    assert read.weights is not None and read.weights.dtype == np.float64
    assert dict(zip(read.patch_ids, read.weights, strict=True)) == {7: 0.5, 2: 1.0, 5: 1.5}
    assert pq.read_table(tmp_path / "c").column_names == ["patch_id", "weight"]
    plain = write(tmp_path / "d", [7, 2, 5], None)
    assert written.fingerprint == read.fingerprint != plain.fingerprint
    assert plain.weights is None and CoreSet.read(tmp_path / "d").weights is None


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0, 0.0, 2.0], "is 0.0, and a weight is positive"),
        ([1.0, float("nan"), 1.0], "is nan"),
        ([1.0, float("inf"), 1.0], "is inf"),
        ([1.0, 1.0, 2.0], "their mean is 1.33333, and it must be 1"),
    ],
)
def test_weights_that_cannot_be_are_refused(tmp_path: Path, weights: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        write(tmp_path / "c", [1, 2, 3], weights)
    assert list(tmp_path.iterdir()) == []
    columns = {"patch_id": np.arange(3), "weight": np.array(weights)}
    write_table(tmp_path / "c", "CoreSet", columns, parents=PARENTS, params=PARAMS, made={})
    with pytest.raises(ArtifactError, match=f"column weight .*{said}"):
        CoreSet.read(tmp_path / "c")


def test_weights_of_another_type_are_refused(tmp_path: Path) -> None:
    columns = {"patch_id": np.arange(3), "weight": np.ones(3, dtype=np.float32)}
    write_table(tmp_path / "c", "CoreSet", columns, parents=PARENTS, params=PARAMS, made={})
    with pytest.raises(ArtifactError, match="weights are float64, these are float32"):
        CoreSet.read(tmp_path / "c")
