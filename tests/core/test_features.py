"""Feature tables: one finite vector a patch, of one patch index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from srprune.core.artifact import write_table
from srprune.core.errors import ArtifactError, ArtifactMismatch, InputError, MissingArtifact
from srprune.core.features import FeatureTable

PATCHES = "00000000000000aa"
OTHER = "00000000000000bb"
PARENTS = {"patches": PATCHES}
PARAMS = {"features": "mine"}
ND = np.arange(6, dtype=np.float32).reshape(3, 2)


def write(path: Path, features_ND: npt.NDArray[Any]) -> FeatureTable:
    return FeatureTable.write(
        path, features_ND, ("b", "a"), parents=PARENTS, params=PARAMS, made={}
    )


def test_round_trip_keeps_the_order_of_columns(tmp_path: Path) -> None:
    written = write(tmp_path / "f", ND)
    read = FeatureTable.read(tmp_path / "f", PATCHES)
    assert np.array_equal(read.features_ND, ND) and read.features_ND.dtype == np.float32
    assert read.names == written.names == ("b", "a") and len(read) == 3
    assert read.fingerprint == written.fingerprint
    table = pq.read_table(tmp_path / "f")
    assert table.schema.types == [pa.int64(), pa.float32(), pa.float32()]
    assert table.to_pydict() == {"patch_id": [0, 1, 2], "b": [0, 2, 4], "a": [1, 3, 5]}


def test_features_of_another_index_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "f", ND)
    with pytest.raises(ArtifactMismatch, match=f"{PATCHES}, but {OTHER} is at hand"):
        FeatureTable.read(tmp_path / "f", OTHER)
    with pytest.raises(MissingArtifact):
        FeatureTable.read(tmp_path / "none")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named_and_not_written(tmp_path: Path, bad: float) -> None:
    broken = ND.copy()
    broken[1, 1] = bad
    said = rf"1 of 6 features are not finite; the first is {bad} of patch 1 .*column a, row 1"
    with pytest.raises(InputError, match=said):
        write(tmp_path / "f", broken)
    assert list(tmp_path.iterdir()) == []
    columns = {"patch_id": np.arange(3), "b": broken[:, 0], "a": broken[:, 1]}
    write_table(tmp_path / "f", "FeatureTable", columns, parents=PARENTS, params={}, made={})
    with pytest.raises(InputError, match=said):
        FeatureTable.read(tmp_path / "f")


@pytest.mark.parametrize(
    "columns",
    [
        {"patch_id": np.arange(2)},
        {"a": np.zeros(2, np.float32)},
        {"patch_id": np.arange(2), "a": np.zeros(2)},
        {"patch_id": np.arange(2)[::-1], "a": np.zeros(2, np.float32)},
    ],
    ids=["no feature", "no id", "float64", "order"],
)
def test_a_file_made_by_hand_is_checked(
    tmp_path: Path, columns: dict[str, npt.NDArray[Any]]
) -> None:
    write_table(tmp_path / "f", "FeatureTable", columns, parents=PARENTS, params={}, made={})
    with pytest.raises(ArtifactError, match="must have the column patch_id"):
        FeatureTable.read(tmp_path / "f")
