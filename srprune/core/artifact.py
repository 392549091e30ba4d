"""Artifacts: typed files with a header, written whole or not at all.

A table is a Parquet file whose schema metadata holds the header as JSON under the key
``srprune``; pandas, polars and duckdb open it like any other. The *fingerprint* is made from
what the artifact is (kind, parents, parameters, columns), never from when or where it was made,
so that the same inputs give the same fingerprint.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from srprune.core.columns import BLOCK, Array, Columns, Pieces, Text, content, run_starts
from srprune.core.errors import ArtifactError, ArtifactMismatch, MissingArtifact, StorageError

FORMAT = 1  # raised when a file's meaning changes; readers refuse formats they do not know
_KEY = b"srprune"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DAMAGE = (pa.ArrowException, OSError, ValueError, IndexError)  # what bad bytes lead to


@dataclass(frozen=True)
class Header:
    """What an artifact says of itself.

    Attributes:
        kind: name of the type, such as ``ScoreTable``.
        fingerprint: 16 hex digits over kind, parents, params and columns.
        parents: fingerprints of the artifacts that it was made from, by role.
        params: everything that decided the content, as plain JSON values.
        made: who made it (versions, command, start, seconds); not part of the fingerprint.
        info: facts for people (skipped images, folders); not part of the fingerprint.
        format: version of the file format.
    """

    kind: str
    fingerprint: str
    parents: dict[str, str]
    params: dict[str, Any]
    made: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def digest(*parts: bytes | memoryview | str | Pieces) -> str:
    """16 hex digits of BLAKE2b over the parts, each with its length in front."""
    h = hashlib.blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, Pieces):
            h.update(part.num_bytes.to_bytes(8, "little"))
            for piece in part.pieces:
                h.update(piece)
        else:
            raw = part.encode() if isinstance(part, str) else part
            h.update(len(raw).to_bytes(8, "little"))
            h.update(raw)
    return h.hexdigest()


def canonical(value: object) -> str:
    """The one JSON text of a plain value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(
    kind: str, parents: Mapping[str, str], params: Mapping[str, Any], columns: Columns
) -> str:
    """Fingerprint of an artifact's content; column order matters, dtype and bytes count."""
    parts: list[str | Pieces] = [
        kind,
        str(FORMAT),
        canonical(dict(parents)),
        canonical(dict(params)),
    ]
    for name, column in columns.items():
        parts += [name, *content(column)]
    return digest(*parts)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into one clear line about ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageError(
                f"no space left to write {path} ({error.strerror}). Free some space, "
                "or choose another --workspace."
            ) from error
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            raise StorageError(
                f"no permission to write {path}. Choose another --workspace, "
                "or change the folder's permissions."
            ) from error
        if isinstance(error, (NotADirectoryError, FileExistsError)):
            raise StorageError(
                f"cannot write {path}: a file stands where a folder must be. Move it away, "
                "or choose another --workspace."
            ) from error
        if isinstance(error, IsADirectoryError):
            raise StorageError(
                f"cannot write {path}: a folder stands where a file must be. Move it away, "
                "or choose another --workspace."
            ) from error
        raise


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success fsync it and rename it into place.

    On any exception the temporary file is removed and ``path`` stays as it was.

    Raises:
        StorageError: the disk is full, or the folder may not be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            # as readable as the folder: some writers make files that only their owner may read
            os.chmod(temporary, path.parent.stat().st_mode & 0o666)
            os.replace(temporary, path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what killed processes left of earlier attempts at the same file."""
    for leftover in path.parent.glob(f".{path.name}.*.part"):
        try:
            os.kill(int(leftover.name.split(".")[-2]), 0)
        except PermissionError:
            continue  # its writer is alive, and another user's
        except (ValueError, OverflowError, ProcessLookupError):
            leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system can open a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write a JSON file atomically, indented, with a newline at its end."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_table(
    path: Path,
    kind: str,
    columns: Columns,
    *,
    parents: Mapping[str, str],
    params: Mapping[str, Any],
    made: Mapping[str, Any],
    info: Mapping[str, Any] | None = None,
) -> Header:
    """Write columns of equal length as a Parquet artifact, atomically; return its header.

    Raises:
        StorageError: the disk is full, or the folder may not be written.
    """
    header = Header(
        kind=kind,
        fingerprint=fingerprint(kind, parents, params, columns),
        parents=dict(parents),
        params=dict(params),
        made=dict(made),
        info=dict(info or {}),
    )
    table = pa.Table.from_arrays(
        [_arrow(column) for column in columns.values()], names=list(columns)
    ).replace_schema_metadata({_KEY: json.dumps(asdict(header)).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=BLOCK)
    return header


def read_header(path: Path) -> Header:
    """Read the header of any Parquet artifact without its columns.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is not an artifact of srprune, or of a newer format.
    """
    if path.is_dir():
        raise ArtifactError(f"{path} is a folder; a Parquet file of srprune was expected.")
    try:
        metadata = pq.read_schema(path).metadata or {}
    except FileNotFoundError:
        raise MissingArtifact(f"there is no file {path}.") from None
    except PermissionError:
        raise StorageError(f"no permission to read {path}.") from None
    except _DAMAGE as error:
        raise ArtifactError(f"{path} is not a readable Parquet file ({_first(error)}).") from error
    if _KEY not in metadata:
        raise ArtifactError(f"{path} is a Parquet file, but srprune did not write it.")
    try:
        raw = json.loads(metadata[_KEY])
        if raw["format"] != FORMAT:
            raise ArtifactError(
                f"{path} has format {raw['format']}; this srprune reads format {FORMAT}. "
                "Make the file again, or use the srprune that wrote it."
            )
        return Header(**{key: raw[key] for key in Header.__dataclass_fields__})
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"the srprune header of {path} is damaged ({error}).") from error


def read_table(path: Path, kind: str) -> tuple[Header, dict[str, Array]]:
    """Read a Parquet artifact and check that it is whole; text becomes one string a row.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, not ours, or of another kind.
    """
    header, columns = read_columns(path, kind)
    return header, {k: v.array() if isinstance(v, Text) else v for k, v in columns.items()}


def read_columns(path: Path, kind: str) -> tuple[Header, dict[str, Array | Text]]:
    """:func:`read_table` with text in runs, for tables of very many rows.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, not ours, or of another kind.
    """
    header = read_header(path)
    if header.kind != kind:
        raise ArtifactError(f"{path} holds a {header.kind}; a {kind} was expected.")
    columns: dict[str, Array | Text] = {}
    try:
        with pq.ParquetFile(path) as file:  # pq.read_table loads pyarrow.dataset, 0.2 s
            for name in file.schema_arrow.names:
                columns[name] = _column(file, name)
    except _DAMAGE as error:
        raise ArtifactError(f"{path} is damaged ({_first(error)}). Make it again.") from error
    if fingerprint(kind, header.parents, header.params, columns) != header.fingerprint:
        raise ArtifactError(
            f"the content of {path} does not match its fingerprint {header.fingerprint}: "
            "it was changed after it was made. Make it again."
        )
    return header, columns


def _arrow(column: Array | Text | range) -> pa.Array | pa.ChunkedArray:
    """A column for pyarrow, from its memory: ``pa.array`` loads pandas, 0.3 s."""
    if isinstance(column, Text) or (not isinstance(column, range) and column.dtype.kind in "OUT"):
        text = column if isinstance(column, Text) else Text.of(column)
        if len(text) > BLOCK:  # a row group gets all words of its array: each its own ones
            ends = range(BLOCK, len(text) + BLOCK, BLOCK)
            return pa.chunked_array([_arrow(text.part(end - BLOCK, end)) for end in ends])
        words, codes_N = text.coded()
        raw = [word.encode() for word in words]
        offsets = np.cumsum([0, *map(len, raw)], dtype=np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(raw))]
        dictionary = pa.Array.from_buffers(pa.string(), len(words), buffers)
        return pa.DictionaryArray.from_arrays(_arrow(codes_N), dictionary)
    numbers = np.asarray(column, dtype=None if isinstance(column, np.ndarray) else np.int64)
    if numbers.dtype.kind == "b":  # eight to a byte there
        return pa.array(numbers)
    plain = np.ascontiguousarray(numbers, dtype=numbers.dtype.newbyteorder("="))
    kind = pa.from_numpy_dtype(plain.dtype)
    return pa.Array.from_buffers(kind, len(plain), [None, pa.py_buffer(plain)])


def _column(file: pq.ParquetFile, name: str) -> Array | Text:
    """A column of a file, block by block into its own memory: no copy of it stands beside it."""
    kind = file.schema_arrow.field(name).type
    batches = (  # of one row group at a time, else the words of all add up
        batch.column(0)
        for group in range(file.num_row_groups)
        for batch in file.iter_batches(BLOCK, row_groups=[group], columns=[name])
    )
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
        return _text(batches, name)
    whole: Array = np.empty(file.metadata.num_rows, dtype=kind.to_pandas_dtype())
    row = 0
    for batch in batches:
        if batch.null_count:
            raise pa.ArrowInvalid(f"empty cells in column {name}")
        whole[row : row + len(batch)] = _numpy(batch)
        row += len(batch)
    return whole


def _numpy(values: pa.Array) -> Array:
    """Values of an array without empty cells; ``to_numpy`` loads pandas where it is installed."""
    kind = values.type
    if len(values) and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        dtype = np.dtype(kind.to_pandas_dtype())
        first = values.offset * dtype.itemsize
        return np.frombuffer(values.buffers()[1], dtype, len(values), first)
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _text(batches: Iterator[pa.Array], name: str) -> Text:
    values: list[str] = []
    counts: list[Array] = []
    for batch in batches:
        if batch.null_count:
            raise pa.ArrowInvalid(f"empty cells in column {name}")
        coded = batch if isinstance(batch, pa.DictionaryArray) else batch.dictionary_encode()
        codes_B = _numpy(coded.indices)
        starts = run_starts(codes_B)
        words = coded.dictionary.to_pylist()
        own = [words[code] for code in codes_B[starts].tolist()]
        counts_R = np.diff(np.r_[starts, len(codes_B)])
        if values and own and values[-1] == own[0]:  # a run that goes on in the next block
            counts[-1][-1] += counts_R[0]
            own, counts_R = own[1:], counts_R[1:]
        values += own
        if len(counts_R):
            counts.append(counts_R)
    return Text(values, np.concatenate([np.empty(0, dtype=np.int64), *counts]))


def check_parent(path: Path, header: Header, role: str, expected: str, remedy: str) -> None:
    """Refuse an artifact that was made from another parent than the one at hand.

    Args:
        path: file of the artifact, for the message.
        header: its header.
        role: which parent, such as ``patches``.
        expected: fingerprint of the parent at hand.
        remedy: what to do, a sentence.

    Raises:
        ArtifactMismatch: the fingerprints differ; the message names both.
    """
    found = header.parents.get(role)
    if found != expected:
        raise ArtifactMismatch(
            f"{path} was made from {role} {found}, but {expected} is at hand. {remedy}"
        )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result


def first_difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The first key in which two things differ that are known to differ, in words.

    Args:
        there: parameters and parents of what was found, plain values.
        here: those that are asked for.
    """
    theirs, ours = flat(there), flat(here)
    for key in [*ours, *theirs]:
        if theirs.get(key) != ours.get(key):
            return f"{key} {theirs.get(key)!r} there, {ours.get(key)!r} asked for"
    return "written by another version"


def _first(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
