"""What is in a workspace, and whether it belongs together. Headers alone are read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from srprune.core.artifact import FORMAT, Header, read_header
from srprune.core.errors import ArtifactError, MissingArtifact, UserError
from srprune.core.names import near
from srprune.core.score_parts import read_parts
from srprune.core.weights import KIND, read_tensors_header, read_weights_header
from srprune.core.workspace import Workspace

WEIGHTS = "weights.safetensors"
BEST = "best.safetensors"

# Folders of a workspace in the order of the pipeline; what else is there comes behind.
TABLES = ("scores", "error_maps", "features", "groups", "coresets", "results")
MODELS = ("scorers", "runs")
ORDER = ("patches", "pixels", "scorers", "scores", "error_maps", "features", "groups", "coresets",
         "runs", "results", "reports")  # fmt: skip
# Where a bare name is looked for; error maps have the name of their score table.
NAMED = ("coresets", "scores", "runs", "scorers", "results", "features", "groups", "error_maps")

_HEX = set("0123456789abcdef")


@dataclass(frozen=True)
class Entry:
    """One thing in a workspace.

    Attributes:
        section: such as ``scores``; the folder it stands in.
        name: without the ending.
        path: file or folder.
        num_bytes: of the file, or of all files of the folder.
        modified: when it was last written, seconds since 1970.
        header: of an artifact; None for everything else, and where it cannot be read.
        rows: of an artifact that is a table.
        state: of a model: ``finished``, ``unfinished after N steps`` or ``without weights``.
        missing: parents that are not in the workspace, by role.
        problem: why an artifact cannot be read; empty where it can.
    """

    section: str
    name: str
    path: Path
    num_bytes: int
    modified: float
    header: Header | None = None
    rows: int | None = None
    state: str = ""
    missing: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def belongs(self) -> bool:
        """True if it can be read, and all that it was made from is in the workspace."""
        return not self.problem and not self.missing


def take_inventory(workspace: Workspace) -> list[Entry]:
    """List everything in a workspace, in the order of the pipeline.

    Raises:
        MissingArtifact: there is no such folder.
    """
    if not workspace.root.is_dir():
        raise MissingArtifact(
            f"there is no workspace {workspace.root}. Run 'srprune extract' first, "
            "or name another --workspace."
        )
    entries = list(_entries(workspace))
    known = {entry.header.fingerprint for entry in entries if entry.header}
    known |= {mark for entry in entries for mark in _best(entry)}
    entries = [replace(entry, missing=missing_parents(entry.header, known)) for entry in entries]
    place = {section: number for number, section in enumerate(ORDER)}
    return sorted(entries, key=lambda e: (place.get(e.section, len(ORDER)), e.section, e.name))


def is_workspace(folder: Path) -> bool:
    """Whether a folder holds anything that stages write."""
    return any((folder / name).is_dir() for name in ORDER) or Workspace(folder).patches.is_file()


def missing_parents(header: Header | None, known: set[str]) -> dict[str, str]:
    """Parents of an artifact that are not among the known fingerprints, by role.

    ``init`` is left out, the digest of a file from anywhere, and ``bicubic``, which is no file.
    """
    parents = header.parents if header else {}
    return {
        role: mark
        for role, mark in parents.items()
        if role != "init" and set(mark) <= _HEX and mark not in known
    }


def find_artifact(name: str, workspace: Workspace) -> Path:
    """A file or folder by its path, or by its name in the workspace.

    Raises:
        MissingArtifact: there is nothing of that name; the message has the nearest.
    """
    if Path(name).exists():
        return Path(name)
    known: dict[str, Path] = {}
    for section in reversed(NAMED):  # the first sections win
        folder = workspace.root / section
        if section in MODELS:
            known |= {path.name: path for path in folder.glob("*/") if path.is_dir()}
        else:
            known |= {path.stem: path for path in folder.glob("*.parquet")}
    if name in known:
        return known[name]
    meant = near(name, known)
    hint = f" Did you mean: {meant}?" if meant else ""
    raise MissingArtifact(
        f"there is no file {name}, and nothing of that name in {workspace.root}.{hint} "
        "Run 'srprune inspect' to see what is there."
    )


def read_any_header(path: Path) -> Header:
    """The header of a table, also of one in parts, of weights or of one in JSON.

    Raises:
        MissingArtifact: there is no such file, or not all of its parts.
        ArtifactError: srprune did not write it, or it is damaged.
    """
    if path.is_dir():
        return read_parts(path)[0]
    if path.suffix == ".json":
        return _read_json_header(path)
    if path.suffix != ".safetensors":
        return read_header(path)
    header = read_tensors_header(path)
    return read_weights_header(path) if header.kind == KIND else header


def _read_json_header(path: Path) -> Header:
    """What a JSON file says of itself; what stands beside a header is of ``params``."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        raw = raw.pop("header", raw)  # of an advice, where it stands beside the answer
        known = {key: raw.pop(key) for key in Header.__dataclass_fields__ if key in raw}
        header = Header(**{"parents": {}, "params": {}, **known})
        header.params.update(raw)
    except FileNotFoundError:
        raise MissingArtifact(f"there is no file {path}.") from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{path} has no header of srprune; of JSON files routers, mixtures and advice have "
            "one. Name "
            "another file."
        ) from error
    if header.format != FORMAT:
        raise ArtifactError(f"{path} has format {header.format}; this srprune reads {FORMAT}.")
    return header


def shape_of(path: Path) -> tuple[int, list[str]]:
    """Rows and column names of a Parquet file, or of a folder of parts, from the footers.

    Raises:
        ArtifactError: it is no readable Parquet file.
    """
    if path.is_dir():
        shapes = [shape_of(part) for part in sorted(path.glob("part-*.parquet"))]
        return sum(rows for rows, _ in shapes), shapes[0][1] if shapes else []
    try:
        with pq.ParquetFile(path) as file:
            return int(file.metadata.num_rows), list(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(f"{path} is not a readable Parquet file.") from error


def size_of(path: Path) -> tuple[int, float]:
    """Bytes of a file, or of all files below a folder, and when the last was written."""
    num_bytes, last = 0, path.stat().st_mtime
    for file in path.rglob("*") if path.is_dir() else [path]:
        with contextlib.suppress(FileNotFoundError):  # a running command has just renamed it
            if file.is_file():
                facts = file.stat()
                num_bytes, last = num_bytes + facts.st_size, max(last, facts.st_mtime)
    return num_bytes, last


def state_of(folder: Path) -> str:
    """How far the training in a folder has come."""
    if (folder / WEIGHTS).is_file():
        return "finished"
    steps = [file.stem for file in (folder / "checkpoints").glob("*.pt") if file.stem.isdigit()]
    return f"unfinished after {int(max(steps)):,} steps" if steps else "without weights"


def _entries(workspace: Workspace) -> Iterator[Entry]:
    for path in sorted(workspace.root.iterdir()):
        if path.name.startswith("."):
            continue
        if path == workspace.patches:
            yield _artifact("patches", path.stem, path, path)
        elif path.is_dir() and path.name in TABLES:
            for file in sorted(path.glob("*.parquet")):
                yield _artifact(path.name, file.stem, file, file)
        elif path.is_dir() and path.name in MODELS:
            for folder in sorted(each for each in path.iterdir() if each.is_dir()):
                entry = _artifact(path.name, folder.name, folder, folder / WEIGHTS)
                yield replace(entry, state=state_of(folder))
        else:
            yield Entry(path.name, path.name, path, *size_of(path))


def _artifact(section: str, name: str, path: Path, file: Path) -> Entry:
    """An entry with the header of ``file``, where there is one."""
    entry = Entry(section, name, path, *size_of(path))
    if not file.exists():
        return entry
    try:
        rows = None if file.suffix == ".safetensors" else shape_of(file)[0]
        return replace(entry, header=read_any_header(file), rows=rows)
    except UserError as error:
        return replace(entry, problem=str(error))


def _best(entry: Entry) -> list[str]:
    """Fingerprint of the best weights on the way, which measurements may have used."""
    best = entry.path / BEST
    if entry.section not in MODELS or not best.is_file():
        return []
    try:
        return [read_weights_header(best).fingerprint]
    except UserError:
        return []


def facts_of(entry: Entry) -> dict[str, Any]:
    """An entry as plain values."""
    header = entry.header
    return {
        "section": entry.section,
        "name": entry.name,
        "path": str(entry.path),
        "bytes": entry.num_bytes,
        "modified": round(entry.modified, 3),
        "kind": header.kind if header else None,
        "fingerprint": header.fingerprint if header else None,
        "rows": entry.rows,
        "state": entry.state or None,
        "belongs": entry.belongs,
        "missing": entry.missing,
        "problem": entry.problem or None,
    }
