"""export.json: what an exported folder holds; and folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from srprune.core.artifact import first_difference, storage_errors
from srprune.core.errors import ArtifactError, InputError
from srprune.core.leftovers import sweep, temporary_beside
from srprune.core.parallel import in_threads

NAME = "export.json"
FORM = 1  # raised when what an export writes changes
WAITING = 8  # threads that wait for the disk
_KEYS = {"what": dict, "folders": dict, "num_files": int, "num_bytes": int}


def read_stamp(folder: Path) -> dict[str, Any] | None:
    """The stamp of an exported folder; None where there is none, or none that can be read."""
    try:
        stamp = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    sound = isinstance(stamp, dict) and all(
        isinstance(stamp.get(key), kind) for key, kind in _KEYS.items()
    )
    return stamp if sound else None


def write_stamp(folder: Path, stamp: Mapping[str, Any]) -> None:
    """Write the stamp as the last file of a folder that is not in its place yet."""
    text = json.dumps(stamp, indent=1) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8")


def already_there(place: Path, what: Mapping[str, Any]) -> dict[str, Any] | None:
    """The stamp of an export that was made before; None where nothing stands in its place.

    Args:
        place: the folder.
        what: everything that decides its content, as plain values.

    Raises:
        InputError: the folder holds something else.
        ArtifactError: it holds this export, but not all of it any more.
    """
    if not place.exists() and not place.is_symlink():
        return None
    if not place.is_dir():
        raise InputError(f"{place} is a file; the export needs a folder. Name another --out.")
    stamp = read_stamp(place)
    if stamp is None:
        if not any(place.iterdir()):
            return None
        raise InputError(
            f"{place} holds files that no export of srprune wrote. Name another --out, or move "
            "them away."
        )
    if stamp["what"] != what:
        raise InputError(
            f"{place} holds another export ({first_difference(stamp['what'], what)}). Name "
            "another --out, or delete the folder."
        )
    blocks = stamp.get("blocks", {})  # people change these to their recipes
    num_files, num_bytes, _ = measure(place, without=blocks)
    least_files = stamp["num_files"] - len(blocks)
    least_bytes = stamp["num_bytes"] - sum(blocks.values())
    # more is no fault: people put files beside these
    if num_files < least_files or num_bytes < least_bytes:
        raise ArtifactError(
            f"{place} has {num_files} files of {num_bytes} bytes; {least_files} of "
            f"{least_bytes} were written. Delete the folder and export again."
        )
    return stamp


def measure(folder: Path, without: Collection[str] = ()) -> tuple[int, int, int]:
    """Files and bytes below a folder, and the bytes of hard links; without the stamp.

    Args:
        folder: the exported folder.
        without: files right in it that do not count.
    """
    files = num_bytes = linked = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if (name == NAME or name in without) and Path(parent) == folder:
                continue
            try:
                found = os.stat(os.path.join(parent, name))
            except OSError:  # a link to nothing, or to itself
                continue
            files += 1
            num_bytes += found.st_size
            linked += found.st_size if found.st_nlink > 1 else 0
    return files, num_bytes, linked


@contextlib.contextmanager
def whole_folder(place: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``place``; on success it is renamed to ``place``.

    On any exception it is removed. What killed processes left of earlier attempts is removed, too.

    Raises:
        StorageError: the disk is full, or the folder may not be written.
        InputError: something appeared at ``place`` meanwhile.
    """
    with storage_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        sweep(place.parent, place.name)
        temporary = temporary_beside(place)
        temporary.mkdir()
        try:
            yield temporary
            _sync(temporary)  # the name must not outlive the content
            try:
                os.rename(temporary, place)  # takes the place of an empty folder, of nothing else
            except OSError as error:
                if not place.exists():
                    raise
                raise InputError(
                    f"{place} was written by something else meanwhile. Name another --out."
                ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Have the disk take all files and folders; several at a time, since it is mostly waiting."""

    def one(path: str) -> None:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    paths = [
        os.path.join(parent, name)
        for parent, folders, names in os.walk(folder)
        for name in [*names, *folders]
    ]
    for _, future in in_threads(one, [*paths, str(folder)], WAITING):
        future.result()
