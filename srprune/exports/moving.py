"""An exported folder that was moved or copied: its dataset blocks name the place it had before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srprune.core.artifact import storage_errors, write_json, write_text
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
        The blocks that were written again; none where they were right.

    Raises:
        InputError: somebody has edited a block, and it names the place that was.
        StorageError: the folder may not be written.
    """
    before, what = stamp.get("place"), stamp["what"]
    if before is None or before == str(place):
        return []
    about = {"name": stamp["name"], "size": size, "scales": what["scales"]}
    old = blocks_of(what["format"], Path(before), **about)
    new = blocks_of(what["format"], place, **about)
    if not new:
        return []
    edited: list[str] = []
    changed: list[str] = []
    with storage_errors(place):
        for file, text in new.items():
            path = place / file
            there = path.read_text("utf-8", "replace") if path.is_file() else old[file]
            if there == old[file]:
                write_text(path, text)
                changed.append(file)
            elif before in there:
                edited.append(file)
        grown = sum(len(new[file].encode()) - len(old[file].encode()) for file in changed)
        num_bytes = stamp["num_bytes"] + grown
        still = {} if edited else {"place": str(place)}  # told again until they are mended
        write_json(place / NAME, {**stamp, "num_bytes": num_bytes, **still})
    if edited:
        raise InputError(
            f"{place} was moved from {before}, which {', '.join(edited)} still name, and somebody "
            "has edited them. Change the paths there."
        )
    return changed
