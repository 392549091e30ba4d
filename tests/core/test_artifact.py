"""Artifacts: whole or not at all, and known by their content alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.artifact import (
    FORMAT,
    Header,
    atomic_path,
    canonical,
    check_parent,
    digest,
    fingerprint,
    flat,
    read_header,
    read_table,
    write_json,
    write_table,
    write_text,
)
from srprune.core.errors import (
    ArtifactError,
    ArtifactMismatch,
    MissingArtifact,
    StorageError,
    UserError,
)

COLUMNS = {
    "patch_id": np.arange(4, dtype=np.int64),
    "score": np.array([0.5, -1.0, 2.0, np.pi]),
    "name": np.array(["a", "b", "a", "\u00fc"], dtype=object),
}


def write(path: Path, **changes: Any) -> Header:
    given: dict[str, Any] = {
        "kind": "Thing",
        "columns": COLUMNS,
        "parents": {"patches": "0" * 16},
        "params": {"scale": 2, "method": "mse"},
        "made": {"seconds": 1.0},
        "info": {"folder": "x"},
        **changes,
    }
    return write_table(path, **given)


def change_header(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite a file with another header over the same columns."""
    table = pq.read_table(path)
    header = json.loads(table.schema.metadata[b"srprune"])
    header = change(header) or header
    pq.write_table(table.replace_schema_metadata({b"srprune": json.dumps(header)}), path)


# --- fingerprint ---


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path) -> None:
    one = write(tmp_path / "one.parquet")
    two = write(tmp_path / "two.parquet", made={"seconds": 9.0}, info={})
    assert one.fingerprint == two.fingerprint
    assert len(one.fingerprint) == 16 and int(one.fingerprint, 16) >= 0


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "Other"},
        {"parents": {"patches": "1" * 16}},
        {"parents": {"scores": "0" * 16}},
        {"params": {"scale": 3, "method": "mse"}},
        {"params": {"scale": 2.0, "method": "mse"}},
        {"columns": {**COLUMNS, "patch_id": COLUMNS["patch_id"].astype(np.int32)}},
        {"columns": dict(reversed(COLUMNS.items()))},
        {"columns": {**COLUMNS, "score": -COLUMNS["score"]}},
        {"columns": {**COLUMNS, "name": np.array(["a", "b", "a", "u"], dtype=object)}},
        {"columns": {k if k != "score" else "loss": v for k, v in COLUMNS.items()}},
    ],
)
def test_the_fingerprint_changes_with(tmp_path: Path, change: dict[str, Any]) -> None:
    assert write(tmp_path / "a").fingerprint != write(tmp_path / "b", **change).fingerprint


def test_the_order_of_params_and_the_byte_order_do_not_count() -> None:
    big = {"x": np.arange(3, dtype=">i4")}
    little = {"x": np.arange(3, dtype="<i4")}
    assert fingerprint("K", {}, {"a": 1, "b": 2}, big) == fingerprint(
        "K", {}, {"b": 2, "a": 1}, little
    )


def test_strided_columns_count_as_their_values() -> None:
    every_other = np.arange(6, dtype=np.int64)[::2]
    assert fingerprint("K", {}, {}, {"x": every_other}) == fingerprint(
        "K", {}, {}, {"x": every_other.copy()}
    )


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_digest_keeps_parts_apart(one: list[bytes], two: list[bytes]) -> None:
    assert (digest(*one) == digest(*two)) == (one == two)


def test_canonical_json_has_no_nan() -> None:
    assert canonical({"b": [1, 2.5], "a": None}) == '{"a":null,"b":[1,2.5]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("nan")})


# --- round trip ---


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "thing.parquet"
    written = write(path)
    header, columns = read_table(path, "Thing")
    assert header == written == read_header(path)
    assert header.made == {"seconds": 1.0} and header.info == {"folder": "x"}
    assert list(columns) == list(COLUMNS)
    for name, column in columns.items():
        assert column.dtype == COLUMNS[name].dtype
        np.testing.assert_array_equal(column, COLUMNS[name])


def test_columns_open_as_any_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "thing.parquet"
    write(path)
    table = pq.read_table(path)
    assert table.column("name").to_pylist() == ["a", "b", "a", "\u00fc"]
    assert table.schema.field("score").type == pa.float64()


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_text_and_json_files(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "gr\u00fcn\n")
    write_json(tmp_path / "a.json", {"a": [1]})
    assert (tmp_path / "a.txt").read_bytes() == "gr\u00fcn\n".encode()
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1]}
    assert (tmp_path / "a.json").read_text().endswith("}\n")


# --- damage ---


def refused(path: Path, kind: str = "Thing") -> str:
    with pytest.raises(ArtifactError) as caught:
        read_table(path, kind)
    assert type(caught.value) is ArtifactError
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match=r"there is no file .*none\.parquet"):
        read_table(tmp_path / "none.parquet", "Thing")


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"nonsense " * 99])
def test_a_file_that_is_no_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thing.parquet"
    path.write_bytes(content)
    assert "not a readable Parquet file" in refused(path)


def test_a_foreign_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "thing.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    assert "srprune did not write it" in refused(path)


def test_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "thing.parquet"
    write(path, kind="CoreSet")
    assert "holds a CoreSet; a Thing was expected" in refused(path)


@pytest.mark.parametrize("header", ["{", "[]", "3", "{}", f'{{"format": {FORMAT}}}', "null"])
def test_a_damaged_header(tmp_path: Path, header: str) -> None:
    path = tmp_path / "thing.parquet"
    write(path)
    table = pq.read_table(path).replace_schema_metadata({b"srprune": header})
    pq.write_table(table, path)
    assert "header of" in refused(path)


def test_a_newer_format(tmp_path: Path) -> None:
    path = tmp_path / "thing.parquet"
    write(path)
    change_header(path, lambda header: {"format": FORMAT + 1, "by": header["kind"]})
    assert f"has format {FORMAT + 1}; this srprune reads format {FORMAT}" in refused(path)


def test_a_changed_column(tmp_path: Path) -> None:
    path = tmp_path / "thing.parquet"
    header = write(path)
    table = pq.read_table(path)
    changed = table.set_column(1, "score", pa.array([0.5, -1.0, 2.0, 3.0]))
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)
    assert f"does not match its fingerprint {header.fingerprint}" in refused(path)


def test_a_changed_param(tmp_path: Path) -> None:
    path = tmp_path / "thing.parquet"
    write(path)
    change_header(path, lambda header: header["params"].update(scale=4))
    assert "was changed after it was made" in refused(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_flipped_and_lost_bytes_give_the_content_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    write(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, 5 * len(content)))])
    try:
        columns = read_table(path, "Thing")[1]
    except UserError as error:
        assert str(path) in str(error)
    else:
        for name, column in COLUMNS.items():
            np.testing.assert_array_equal(columns[name], column)


def test_another_parent_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    header = write(tmp_path / "a")
    check_parent(tmp_path / "a", header, "patches", "0" * 16, "Again.")
    with pytest.raises(ArtifactMismatch, match=r"from patches 0{16}, but 1{16} is .*Again\."):
        check_parent(tmp_path / "a", header, "patches", "1" * 16, "Again.")
    with pytest.raises(ArtifactMismatch, match="from scorer None"):
        check_parent(tmp_path / "a", header, "scorer", "1" * 16, "Again.")


# --- atomic writing ---


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "old" and files(tmp_path) == ["a.txt"]


def test_nothing_is_at_the_path_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path and not path.exists()
    assert path.read_text() == "new" and files(tmp_path) == ["a.txt"]


def test_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a", tmp_path / "file" / "b" / "a"):
        with pytest.raises(StorageError, match="a file stands where a folder must be"):
            write_text(path, "x")


def test_a_folder_where_a_file_must_be(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(StorageError, match="a folder stands where a file must be"):
        write_text(tmp_path / "a.txt", "x")
    assert files(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="no permission to write"):
        write_text(tmp_path / "locked" / "a.txt", "x")


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from srprune.core.artifact import write_table, write_text
from srprune.core.errors import StorageError

resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # as if the disk were full after 2,000
path = Path(sys.argv[2])
noise = np.random.default_rng(0).normal(size=5000)
try:
    if sys.argv[1] == "table":
        write_table(path, "Thing", {"x": noise}, parents={}, params={}, made={})
    else:
        write_text(path, "x" * 5000)
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize("what", ["table", "text"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, what, path], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"no space left to write {path}"), done.stderr
    assert path.read_text() == "old" and files(tmp_path) == ["a"]


words = st.text("abc", min_size=1, max_size=3)
plain = st.integers() | st.lists(st.integers(), max_size=2) | st.none()
trees = st.recursive(plain, lambda inner: st.dictionaries(words, inner, max_size=3), max_leaves=9)


@given(st.dictionaries(words, trees))
def test_flat_has_every_leaf_under_its_path(tree: dict[str, Any]) -> None:
    def paths(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
        if isinstance(value, dict) and value:
            return [leaf for key in value for leaf in paths(value[key], (*path, key))]
        return [(path, value)]

    expected = {".".join(path): value for path, value in paths(tree) if path}
    assert flat(tree) == expected
    assert list(flat(tree)) == list(expected)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc")
def test_where_the_system_makes_no_folders_it_is_one_clear_line():
    with pytest.raises(StorageError, match=r"cannot write /proc/nowhere/a.txt: no folder can be"):
        write_text(Path("/proc/nowhere/a.txt"), "text")
