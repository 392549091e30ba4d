"""Tables of measurements: one protocol, and means as they are published."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srprune.core.artifact import write_table
from srprune.core.errors import ArtifactError, InputError
from srprune.core.results import EvalRow, EvalTable, benchmark_means, check_one_protocol

ROW = EvalRow("fsrcnn", "des50", 0, 2, "set5", "baby.png", "psnr_y", 36.5, "rgb8@1")
ROWS = (
    ROW,
    replace(ROW, metric="ssim_y", value=0.95),
    replace(ROW, image="b\u00e9b\u00e9.png", value=math.inf),
    replace(ROW, model="bicubic", train_set="none", seed=-1, value=-1.25),
)


def write(path: Path, rows: tuple[EvalRow, ...]) -> EvalTable:
    return EvalTable.write(path, rows, parents={}, params={"protocol": "rgb8@1"}, made={})


def test_round_trip(tmp_path: Path) -> None:
    written = write(tmp_path / "e", ROWS)
    read = EvalTable.read(tmp_path / "e")
    assert read.rows == written.rows == ROWS
    assert read.header == written.header and read.protocol == "rgb8@1"
    assert [type(value) for value in asdict(read.rows[0]).values()] == [
        type(value) for value in asdict(ROW).values()
    ]


def test_columns_are_as_documented(tmp_path: Path) -> None:
    table = write(tmp_path / "e", ROWS)
    assert pq.read_table(tmp_path / "e").to_pylist() == [asdict(row) for row in table.rows]
    assert list(asdict(ROW)) == [
        *("model", "train_set", "seed", "scale", "benchmark"),
        *("image", "metric", "value", "protocol"),
    ]


def test_two_protocols_are_not_written(tmp_path: Path) -> None:
    mixed = (ROW, replace(ROW, protocol="y@1"))
    with pytest.raises(InputError, match="the protocols rgb8@1 and y@1 do not compare"):
        write(tmp_path / "e", mixed)
    assert list(tmp_path.iterdir()) == []


def test_one_protocol_and_no_rows_are_fine() -> None:
    check_one_protocol(ROWS)
    check_one_protocol([])


def test_a_file_made_by_hand_with_other_columns_is_refused(tmp_path: Path) -> None:
    columns = {"model": np.array(["a"], dtype=object), "value": np.ones(1)}
    write_table(tmp_path / "e", "EvalTable", columns, parents={}, params={}, made={})
    with pytest.raises(ArtifactError, match="must have the columns model, train_set"):
        EvalTable.read(tmp_path / "e")


VALUES = st.lists(st.floats(0, 100), min_size=1, max_size=20)


@given(st.dictionaries(st.sampled_from(["set5", "set14", "bsd100"]), VALUES, min_size=1))
def test_means_are_those_of_the_values_of_the_images(figures: dict[str, list[float]]) -> None:
    rows = [
        replace(ROW, benchmark=benchmark, image=f"{i}.png", value=value)
        for benchmark, values in figures.items()
        for i, value in enumerate(values)
    ]
    means = benchmark_means(sorted(rows, key=lambda row: row.image))
    assert set(means) == {(benchmark, "psnr_y") for benchmark in figures}
    for benchmark, values in figures.items():
        exact = float(sum(map(Fraction, values)) / len(values))
        assert means[benchmark, "psnr_y"] == pytest.approx(exact, rel=1e-12, abs=1e-12)


def test_metrics_have_means_of_their_own() -> None:
    rows = [ROW, replace(ROW, value=30.5), replace(ROW, metric="ssim_y", value=0.5)]
    assert benchmark_means(rows) == {("set5", "psnr_y"): 33.5, ("set5", "ssim_y"): 0.5}
