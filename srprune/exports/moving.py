"""An exported folder that was moved or copied: its dataset blocks name the place it had before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srprune.core.artifact import write_json, write_text
from srprune.core.errors import InputError
from srprune.exports.blocks import blocks_of
from srprune.exports.stamp import NAME


def follow(place: Path, stamp: Mapping[str, Any], size: int) -> list[str]:
    """Have the dataset blocks of an export name the place in which it stands now.

    Args:
        place: absolute path of the folder.
        stamp: what its ``export.json`` says.
        size: side of a patch, HR px.

    Returns:
        The blocks that were written again, also those that were gone.

    Raises:
        InputError: somebody has edited a block, and it names the place that was.
        StorageError: the folder may not be written.
    """
    what, before = stamp["what"], stamp.get("place")
    if before is None:  # written before stamps told
        return []
    about = {"name": stamp["name"], "size": size, "scales": what["scales"]}
    old = blocks_of(what["format"], Path(before), **about)
    new = blocks_of(what["format"], place, **about)
    edited: list[str] = []
    written: list[str] = []
    for file, text in new.items():
        path = place / file
        there = path.read_text("utf-8", "replace") if path.is_file() else old[file]
        if there == old[file] and (before != str(place) or not path.is_file()):
            write_text(path, text)
            written.append(file)
        elif there not in (old[file], text) and before != str(place) and before in there:
            edited.append(file)
    if edited:
        raise InputError(
            f"{place} was moved from {before}, which {', '.join(edited)} still name, and somebody "
            "has edited them. Change the paths there."
        )
    if new and before != str(place):
        write_json(place / NAME, {**stamp, "place": str(place)})
    return written
