"""Group tables: one label a patch, of one patch index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from srprune.core.artifact import write_table
from srprune.core.errors import ArtifactError, ArtifactMismatch, MissingArtifact
from srprune.core.groups import GroupTable

PATCHES = "00000000000000aa"
OTHER = "00000000000000bb"
PARENTS = {"patches": PATCHES}
PARAMS = {"rule": "clustered", "settings": {"clusters": 3}}


def write(path: Path, labels: list[int]) -> GroupTable:
    return GroupTable.write(path, np.array(labels), parents=PARENTS, params=PARAMS, made={})


def test_round_trip(tmp_path: Path) -> None:
    written = write(tmp_path / "g", [0, -1, 2, 0, 2, 2])
    read = GroupTable.read(tmp_path / "g", PATCHES)
    assert read.labels_N.tolist() == [0, -1, 2, 0, 2, 2] and read.labels_N.dtype == np.int32
    assert len(read) == 6 and read.sizes.tolist() == [2, 0, 3]
    assert read.fingerprint == written.fingerprint
    assert (read.header.parents, read.header.params) == (PARENTS, PARAMS)
    assert pq.read_table(tmp_path / "g").to_pydict() == {
        "patch_id": [0, 1, 2, 3, 4, 5],
        "group": [0, -1, 2, 0, 2, 2],
    }


def test_other_labels_have_another_fingerprint(tmp_path: Path) -> None:
    one, same, other = (
        write(tmp_path / str(number), labels)
        for number, labels in enumerate(([0, 1], [0, 1], [1, 0]))
    )
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_groups_of_another_index_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "g", [0, 1])
    with pytest.raises(ArtifactMismatch, match=f"{PATCHES}, but {OTHER} is at hand.*select"):
        GroupTable.read(tmp_path / "g", OTHER)
    with pytest.raises(MissingArtifact):
        GroupTable.read(tmp_path / "none")


@pytest.mark.parametrize(
    "columns",
    [
        {"patch_id": np.arange(2)},
        {"group": np.zeros(2, np.int32)},
        {"patch_id": np.arange(2), "group": np.zeros(2)},
        {"patch_id": np.arange(2)[::-1], "group": np.zeros(2, np.int32)},
        {"patch_id": np.arange(2), "group": np.full(2, -2, np.int32)},
    ],
    ids=["no group", "no id", "float", "order", "below -1"],
)
def test_a_file_made_by_hand_is_checked(
    tmp_path: Path, columns: dict[str, npt.NDArray[Any]]
) -> None:
    write_table(tmp_path / "g", "GroupTable", columns, parents=PARENTS, params={}, made={})
    with pytest.raises(ArtifactError, match=r"must have the columns patch_id \(0, 1, 2, ...\)"):
        GroupTable.read(tmp_path / "g")
