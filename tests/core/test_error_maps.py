"""Error maps: written, read back, and refused where they do not belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.artifact import write_table
from srprune.core.error_maps import SIDE, ErrorMaps
from srprune.core.errors import ArtifactError, ArtifactMismatch, InputError, MissingArtifact

PARENTS = {"scores": "0123456789abcdef", "patches": "fedcba9876543210"}


def write(path: Path, cells: np.ndarray) -> ErrorMaps:
    return ErrorMaps.write(path, cells, parents=PARENTS, params={"method": "mse"}, made={})


@given(seed=st.integers(0, 99), exponent=st.integers(-12, 3))
@settings(max_examples=10, deadline=None)
def test_maps_keep_three_digits_however_small(
    tmp_path_factory: pytest.TempPathFactory, seed: int, exponent: int
) -> None:
    path = tmp_path_factory.mktemp("maps") / "mse_x2.parquet"
    rng = np.random.default_rng(seed)
    cells = (rng.standard_normal((3, SIDE, SIDE)) * 10.0**exponent).astype(np.float32)
    cells[1] = 0  # a patch without any error
    written = write(path, cells)
    there = ErrorMaps.read(path, PARENTS["scores"])
    assert np.array_equal(there.cells_NHW, written.cells_NHW)
    assert there.header == written.header
    assert there.cells_NHW.dtype == np.float32
    peak = np.abs(cells).max(axis=(1, 2), keepdims=True)
    assert (np.abs(there.cells_NHW - cells) <= peak / 1000).all()
    assert not there.cells_NHW[1].any()


def test_same_maps_same_bytes(tmp_path: Path) -> None:
    cells = np.random.default_rng(0).random((4, SIDE, SIDE), np.float32)
    for name in ("one", "other"):
        write(tmp_path / name, cells)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_maps_of_another_table_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "maps.parquet", np.ones((1, SIDE, SIDE), np.float32))
    with pytest.raises(ArtifactMismatch, match=r"Run 'srprune score --maps' again"):
        ErrorMaps.read(tmp_path / "maps.parquet", "another")
    with pytest.raises(MissingArtifact):
        ErrorMaps.read(tmp_path / "none.parquet", PARENTS["scores"])


def test_a_table_without_all_cells_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "maps.parquet"
    columns = {"peak": np.ones(2, np.float32), "cell_000": np.ones(2, np.float16)}
    write_table(path, "ErrorMaps", columns, parents=PARENTS, params={}, made={})
    with pytest.raises(ArtifactError, match="must have the columns peak and cell_000 to cell_255"):
        ErrorMaps.read(path, PARENTS["scores"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    cells = np.ones((3, SIDE, SIDE), np.float32)
    cells[2, 4, 4] = value
    with pytest.raises(InputError, match=r"1 of 3 patches are not finite.*patch 2"):
        write(tmp_path / "maps.parquet", cells)
    assert list(tmp_path.iterdir()) == []
