"""Score tables: one finite number a patch, bound to one patch index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srprune.core.artifact import write_table
from srprune.core.errors import ArtifactError, ArtifactMismatch, InputError
from srprune.core.scores import ScoreTable

PATCHES = "00000000000000aa"
OTHER = "00000000000000bb"


def write(path: Path, scores: Any) -> ScoreTable:
    return ScoreTable.write(
        path, scores, parents={"patches": PATCHES}, params={"method": "mse"}, made={}
    )


def by_hand(path: Path, columns: dict[str, npt.NDArray[Any]]) -> None:
    """A file with a sound header over any columns."""
    write_table(
        path,
        "ScoreTable",
        columns,
        parents={"patches": PATCHES},
        params={"method": "mse"},
        made={},
    )


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, scores: list[float]) -> None:
    path = tmp_path_factory.getbasetemp() / "scores.parquet"
    written = write(path, np.array(scores))
    read = ScoreTable.read(path, PATCHES)
    assert read.scores_N.tobytes() == np.array(scores, dtype=np.float64).tobytes()
    assert read.fingerprint == written.fingerprint
    assert read.method == "mse" and len(read) == len(scores)


def test_columns_are_as_documented(tmp_path: Path) -> None:
    write(tmp_path / "s", np.array([3, 1], dtype=np.float32))
    table = pq.read_table(tmp_path / "s")
    assert table.to_pydict() == {"patch_id": [0, 1], "score": [3.0, 1.0]}
    assert table.schema.types == [pa.int64(), pa.float64()]


def test_scores_of_another_index_are_refused_with_both_fingerprints(tmp_path: Path) -> None:
    write(tmp_path / "s", np.ones(2))
    with pytest.raises(ArtifactMismatch, match=f"{PATCHES}, but {OTHER} is at hand.*score"):
        ScoreTable.read(tmp_path / "s", OTHER)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_not_written(tmp_path: Path, bad: float) -> None:
    with pytest.raises(InputError, match=f"1 of 3 scores .* the first is {bad} of patch 1 "):
        write(tmp_path / "s", np.array([0.0, bad, 1.0]))
    assert list(tmp_path.iterdir()) == []


def test_nan_in_a_file_made_by_hand_is_refused(tmp_path: Path) -> None:
    scores = np.array([0.0, 1.0, np.nan, np.nan])
    by_hand(tmp_path / "s", {"patch_id": np.arange(4), "score": scores})
    with pytest.raises(InputError, match=r"2 of 4 scores .* nan of patch 2 .*row 2"):
        ScoreTable.read(tmp_path / "s")


@pytest.mark.parametrize(
    "columns",
    [
        {"patch_id": np.array([1, 0]), "score": np.ones(2)},
        {"patch_id": np.array([1, 2]), "score": np.ones(2)},
        {"patch_id": np.array([0, 0]), "score": np.ones(2)},
        {"score": np.ones(2)},
        {"patch_id": np.arange(2)},
        {"patch_id": np.arange(2), "score": np.array(["a", "b"], dtype=object)},
    ],
)
def test_other_columns_are_refused(tmp_path: Path, columns: dict[str, npt.NDArray[Any]]) -> None:
    by_hand(tmp_path / "s", columns)
    with pytest.raises(ArtifactError, match="must have the columns patch_id"):
        ScoreTable.read(tmp_path / "s")
