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
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from srprune.core.arrow_columns import read_column, to_arrow
from srprune.core.columns import BLOCK, Array, Column, Columns, Pieces, Text, content
from srprune.core.errors import ArtifactError, ArtifactMismatch, MissingArtifact, StorageError
from srprune.core.leftovers import sweep, temporary_beside
from srprune.core.out_of_memory import NO_ROOM_TO_READ, memory_errors

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
    _add(h, parts)
    return h.hexdigest()


def _add(h: hashlib.blake2b, parts: Iterable[bytes | memoryview | str | Pieces]) -> None:
    for part in parts:
        if isinstance(part, Pieces):
            h.update(part.num_bytes.to_bytes(8, "little"))
            for piece in part.pieces:
                h.update(piece)
        else:
            raw = part.encode() if isinstance(part, str) else part
            h.update(len(raw).to_bytes(8, "little"))
            h.update(raw)


def canonical(value: object) -> str:
    """The one JSON text of a plain value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


class Fingerprint:
    """Fingerprint of an artifact's content; column order matters, dtype and bytes count.

    Args:
        kind: of the artifact.
        parents: of its header.
        params: of its header.
    """

    def __init__(self, kind: str, parents: Mapping[str, str], params: Mapping[str, Any]) -> None:
        self._hash = hashlib.blake2b(digest_size=8)
        _add(self._hash, [kind, str(FORMAT), canonical(dict(parents)), canonical(dict(params))])

    def add(self, name: str, column: Column) -> None:
        """The next column; hashing lets go of the interpreter lock."""
        _add(self._hash, [name, *content(column)])

    def hexdigest(self) -> str:
        """16 hex digits over all columns so far."""
        return self._hash.hexdigest()


def fingerprint(
    kind: str, parents: Mapping[str, str], params: Mapping[str, Any], columns: Columns
) -> str:
    """:class:`Fingerprint` of columns that are all at hand."""
    whole = Fingerprint(kind, parents, params)
    for name, column in columns.items():
        whole.add(name, column)
    return whole.hexdigest()


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
        if isinstance(error, FileNotFoundError):  # made with its parents, so the system refuses it
            raise StorageError(
                f"cannot write {path}: no folder can be made there. Choose another --workspace."
            ) from error
        if isinstance(error, IsADirectoryError):
            raise StorageError(
                f"cannot write {path}: a folder stands where a file must be. Move it away, "
                "or choose another --workspace."
            ) from error
        raise


@contextlib.contextmanager
def atomic_path(path: Path, *, swept: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success fsync it and rename it into place.

    On any exception the temporary file is removed and ``path`` stays as it was.

    Args:
        path: where the file is to be.
        swept: whoever writes a great many files into one folder has swept it once himself.

    Raises:
        StorageError: the disk is full, or the folder may not be written.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not swept:
            sweep(path.parent, path.name)
        temporary = temporary_beside(path)
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
        [to_arrow(column) for column in columns.values()], names=list(columns)
    ).replace_schema_metadata({_KEY: json.dumps(asdict(header)).encode()})
    # whole numbers that differ from row to row: a dictionary of them takes ten times as long
    ids = [field.name for field in table.schema if field.type == pa.int64()]
    with atomic_path(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            row_group_size=BLOCK,
            use_dictionary=[name for name in table.column_names if name not in ids],
            column_encoding=dict.fromkeys(ids, "DELTA_BINARY_PACKED"),
        )
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
        InputError: there is not enough memory.
    """
    header = read_header(path)
    if header.kind != kind:
        raise ArtifactError(f"{path} holds a {header.kind}; a {kind} was expected.")
    columns: dict[str, Array | Text] = {}
    content_digest = Fingerprint(kind, header.parents, header.params)
    hashed: list[Future[None]] = []
    try:
        # pq.read_table loads pyarrow.dataset, 0.2 s; one column is hashed while the next is read
        with (
            memory_errors(NO_ROOM_TO_READ.format(path)),
            pq.ParquetFile(path) as file,
            ThreadPoolExecutor(1) as beside,
        ):
            for name in file.schema_arrow.names:
                columns[name] = read_column(file, name)
                hashed.append(beside.submit(content_digest.add, name, columns[name]))
    except _DAMAGE as error:
        raise ArtifactError(f"{path} is damaged ({_first(error)}). Make it again.") from error
    for each in hashed:
        each.result()
    if content_digest.hexdigest() != header.fingerprint:
        raise ArtifactError(
            f"the content of {path} does not match its fingerprint {header.fingerprint}: "
            "it was changed after it was made. Make it again."
        )
    return header, columns


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
