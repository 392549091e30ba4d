"""Columns: text in runs is the text that it stands for, and counts as it does for fingerprints."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srprune.core.artifact import fingerprint, read_columns, read_table, write_table
from srprune.core.columns import BLOCK, RUNS, TIMES, Text, content, run_starts
from srprune.core.errors import ArtifactError

WORDS = st.lists(st.text("ab\u00fc\u4e2d", max_size=3), max_size=40)


def array(words: list[str]) -> np.ndarray:
    return np.array(words, dtype=object)


def raw(column: Text | np.ndarray | range) -> bytes:
    """Bytes of a column, of which the number was told beforehand."""
    _, (num_bytes, pieces) = content(column)
    joined = b"".join(bytes(piece) for piece in pieces)
    assert len(joined) == num_bytes
    return joined


@given(WORDS)
def test_runs_are_the_column(words: list[str]) -> None:
    text = Text.of(array(words))
    assert len(text) == len(words) and text.array().tolist() == words
    assert all(a != b for a, b in zip(text.values, text.values[1:], strict=False))
    assert text.at(np.arange(len(words))) == words
    values, codes_N = text.coded()
    assert [values[code] for code in codes_N] == words
    assert codes_N.dtype == np.int32 and values == list(dict.fromkeys(words))


@given(WORDS, st.integers(0, 40), st.integers(1, 40))
def test_a_part_is_the_rows_between(words: list[str], first: int, size: int) -> None:
    part = Text.of(array(words)).part(first, first + size)
    assert part.array().tolist() == words[first : first + size]
    assert (part.counts_R > 0).all()


@given(WORDS)
def test_text_counts_as_its_values_with_a_zero_between_them(words: list[str]) -> None:
    expected = "\0".join(words).encode()
    assert raw(array(words)) == raw(Text.of(array(words))) == expected
    ones = Text(words, np.ones(len(words), dtype=np.int64))  # runs need not be the longest
    assert raw(ones) == expected


@pytest.mark.parametrize("count", [1, TIMES - 1, TIMES, TIMES + 1, 3 * TIMES + 7])
def test_long_runs_are_whole(count: int) -> None:
    text = Text(["ab", "", "\u00fc" * BLOCK, "c"], np.array([count, count, 1, 2]))
    words = ["ab"] * count + [""] * count + ["\u00fc" * BLOCK, "c", "c"]
    assert raw(text) == "\0".join(words).encode()


@pytest.mark.parametrize("runs", [1, RUNS - 1, RUNS, RUNS + 1, 3 * RUNS + 7])
def test_many_runs_are_whole(runs: int) -> None:
    words = [f"{run}\u00fc" for run in range(runs)]
    assert raw(Text(words, np.full(runs, 2))) == "\0".join(np.repeat(words, 2)).encode()


@pytest.mark.parametrize("first", [0, 5])
def test_a_range_counts_as_its_numbers(first: int) -> None:
    numbers = range(first, first + BLOCK + 3)
    array_N = np.arange(numbers.start, numbers.stop)
    assert raw(numbers) == array_N.tobytes()
    assert content(numbers)[0] == content(array_N)[0] == "<i8"
    assert fingerprint("K", {}, {}, {"x": numbers}) == fingerprint("K", {}, {}, {"x": array_N})


def test_fingerprints_are_those_of_version_0_1() -> None:
    """The definition written out once more: artifacts that people have must stay valid."""
    columns = {"name": array(["a", "a", "\u00fc"]), "x": np.array([1, 2, 3], dtype=np.int32)}
    parts = ["K", "1", "{}", '{"a":1}', "name", "text", "a\0a\0\u00fc", "x", "<i4"]
    h = hashlib.blake2b(digest_size=8)
    for part in [*(part.encode() for part in parts), columns["x"].tobytes()]:
        h.update(len(part).to_bytes(8, "little") + part)
    assert fingerprint("K", {}, {"a": 1}, columns) == h.hexdigest()


def test_run_starts() -> None:
    assert run_starts(np.array([3, 3, 1, 1, 1, 3])).tolist() == [0, 2, 5]
    assert run_starts(np.empty(0)).tolist() == []


# --- in files ---


def write(path: Path, column: Text | np.ndarray) -> None:
    write_table(path, "Thing", {"name": column}, parents={}, params={}, made={})


def test_text_goes_through_a_file_in_either_form(tmp_path: Path) -> None:
    words = ["a", "a", "\u00fc", "", "a"]
    write(tmp_path / "a", array(words))
    write(tmp_path / "b", Text.of(array(words)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    read = read_columns(tmp_path / "a", "Thing")[1]["name"]
    assert isinstance(read, Text) and list(read.values) == ["a", "\u00fc", "", "a"]
    assert read_table(tmp_path / "b", "Thing")[1]["name"].tolist() == words


def test_the_file_is_the_one_that_pyarrow_makes_of_strings(tmp_path: Path) -> None:
    words = ["b", "b", "a", "b", "\u00fc"]
    write(tmp_path / "ours", array(words))
    metadata = pq.read_schema(tmp_path / "ours").metadata
    table = pa.table({"name": pa.array(words, pa.string()).dictionary_encode()})
    pq.write_table(
        table.replace_schema_metadata({b"srprune": metadata[b"srprune"]}),
        tmp_path / "theirs",
        compression="zstd",
    )
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_runs_go_on_from_block_to_block(tmp_path: Path) -> None:
    counts_R = np.array([BLOCK - 1, 3, BLOCK, 5])
    write(tmp_path / "a", Text(["a", "b", "a", "c"], counts_R))
    read = read_columns(tmp_path / "a", "Thing")[1]["name"]
    assert isinstance(read, Text)
    assert list(read.values) == ["a", "b", "a", "c"] and read.counts_R.tolist() == counts_R.tolist()
    with pq.ParquetFile(tmp_path / "a") as file:  # a row group has its own words and no others
        groups = [file.read_row_group(g).column(0).chunk(0) for g in range(file.num_row_groups)]
    assert [len(group) for group in groups] == [BLOCK, BLOCK, 7]
    assert [group.dictionary.to_pylist() for group in groups] == [
        ["a", "b"],
        ["b", "a"],
        ["a", "c"],
    ]


def test_plain_strings_of_another_writer_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a", array(["x", "x", "y"]))
    metadata = pq.read_schema(tmp_path / "a").metadata
    plain = pa.table({"name": pa.array(["x", "x", "y"])}).replace_schema_metadata(metadata)
    pq.write_table(plain, tmp_path / "b")
    assert read_table(tmp_path / "b", "Thing")[1]["name"].tolist() == ["x", "x", "y"]


@pytest.mark.parametrize("cells", [pa.array(["x", None]), pa.array([1, None])])
def test_empty_cells_are_damage(tmp_path: Path, cells: pa.Array) -> None:
    write(tmp_path / "a", array(["x", "y"]))
    metadata = pq.read_schema(tmp_path / "a").metadata
    table = pa.table({"name": cells}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "a")
    with pytest.raises(ArtifactError, match=r"is damaged \(empty cells in column name"):
        read_columns(tmp_path / "a", "Thing")


def test_ids_are_stored_by_their_differences(tmp_path: Path) -> None:
    columns = {
        "patch_id": np.arange(0, 3000, 3),
        "score": np.ones(1000),
        "name": array(["a"] * 1000),
    }
    write_table(tmp_path / "a", "Thing", columns, parents={}, params={}, made={})
    with pq.ParquetFile(tmp_path / "a") as file:
        stored = [file.metadata.row_group(0).column(place) for place in range(3)]
    assert "DELTA_BINARY_PACKED" in stored[0].encodings and not stored[0].has_dictionary_page
    assert stored[0].total_compressed_size < 300 and stored[2].has_dictionary_page
    read = read_table(tmp_path / "a", "Thing")[1]["patch_id"]
    assert read.dtype == np.int64 and np.array_equal(read, columns["patch_id"])


def test_pandas_is_not_loaded(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
import numpy as np
from srprune.core.artifact import read_table, write_table
columns = {"name": np.array(["a", "b"], dtype=object), "x": np.arange(2), "y": np.ones(2)}
write_table(Path("a"), "Thing", columns, parents={}, params={}, made={})
read_table(Path("a"), "Thing")
print("pandas" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"
