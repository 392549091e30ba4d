"""A score table in parts: a folder of Parquet files, written by any number of processes.

A part holds the scores of whole images, one after the other. It is finished when its file has its
name, so nobody keeps a list of what is done, and a killed process costs the part that it was at.
The folder is read as the table that one process would have written, with the same fingerprint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import (
    Header,
    fingerprint,
    first_difference,
    read_table,
    write_table,
)
from srprune.core.columns import BLOCK, Array, Columns
from srprune.core.errors import ArtifactError, ArtifactMismatch, InputError, MissingArtifact
from srprune.core.patches import PatchIndex

Scores = npt.NDArray[np.float64]

KIND = "ScorePart"
SHOWN = 8  # missing parts that a message names


def split(index: PatchIndex, count: int) -> list[range]:
    """Patch ids of each of ``count`` parts: whole images, about as many patches in each.

    Raises:
        InputError: more parts than images.
    """
    if not 1 <= count <= len(index.images):
        raise InputError(
            f"{count} shards are asked for, but there are {len(index.images)} images. Choose 1 to "
            f"{len(index.images)}."
        )
    ends = np.cumsum(index.patches_per_image)
    # the image at whose end a part ends: nearest to an equal share, at least one image a part
    cuts = np.searchsorted(ends, len(index) * np.arange(1, count) / count)
    cuts = np.maximum.accumulate(cuts - np.arange(count - 1)) + np.arange(count - 1)
    cuts = np.minimum(cuts, len(ends) - count + np.arange(count - 1))
    borders = [0, *ends[cuts].tolist(), len(index)]
    return [range(first, end) for first, end in pairwise(borders)]


def part_path(folder: Path, number: int, count: int) -> Path:
    """File of a part, counted from 0."""
    return folder / f"part-{number:05d}-of-{count:05d}.parquet"


def write_part(
    folder: Path,
    number: int,
    count: int,
    first: int,
    scores_P: Scores,
    *,
    parents: Mapping[str, str],
    params: Mapping[str, Any],
    made: Mapping[str, Any],
) -> None:
    """Write one part atomically.

    Args:
        folder: of the table.
        number: of the part, from 0.
        count: of all parts.
        first: patch id of the first score.
        scores_P: (P,) float64.
        parents: of the whole table.
        params: of the whole table.
        made: who made this part.

    Raises:
        StorageError: the disk is full, or the folder may not be written.
    """
    ids_P = np.arange(first, first + len(scores_P), dtype=np.int64)
    write_table(
        part_path(folder, number, count),
        KIND,
        {"patch_id": ids_P, "score": np.ascontiguousarray(scores_P, dtype=np.float64)},
        parents=parents,
        params={**params, "part": number, "parts": count},
        made=made,
    )


def read_parts(folder: Path) -> tuple[Header, Scores]:
    """Header and (N,) scores of the whole table.

    Raises:
        MissingArtifact: some parts are not there yet; the message names them.
        ArtifactError: a part is damaged or not where it belongs, or parts of two divisions stand
            side by side.
        ArtifactMismatch: a part was made otherwise than the first one.
    """
    numbers = {path: _numbers(path) for path in folder.glob("part-*.parquet")}
    found = dict(sorted(numbers.items(), key=lambda each: each[1]))
    counts = {count for _, count in found.values()}
    if len(counts) > 1:
        raise ArtifactError(
            f"{folder} holds parts of {' and of '.join(map(str, sorted(counts)))} shards. Remove "
            "the folder and score again."
        )
    count = counts.pop() if counts else 0
    if len(found) < count or not count:
        there = {number for number, _ in found.values()}
        missing = [str(number) for number in range(count) if number not in there]
        names = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        what = f"shards {names} of {count} are" if count else "all shards are"
        raise MissingArtifact(
            f"{folder} is not whole: {what} missing. Give the command of 'srprune score' again."
        )
    headers: list[Header] = []
    scores: list[Scores] = []
    row = 0
    for path in found:
        header, columns = read_table(path, KIND)
        headers.append(header)
        if of_the_whole(header) != of_the_whole(headers[0]):
            raise ArtifactMismatch(
                f"{path} was made otherwise than its neighbours: "
                f"{first_difference(of_the_whole(header), of_the_whole(headers[0]))}. "
                "Remove it and score again."
            )
        scores.append(scores_of(path, columns, row))  # the ids are not kept: half of the memory
        row += len(scores[-1])
    scores_N = np.concatenate(scores)
    parents, params = headers[0].parents, dict(of_the_whole(headers[0])["params"])
    whole: Columns = {"patch_id": range(row), "score": scores_N}
    header = Header(
        kind="ScoreTable",
        fingerprint=fingerprint("ScoreTable", parents, params, whole),
        parents=parents,
        params=params,
        made={**headers[0].made, "parts": [header.fingerprint for header in headers]},
    )
    return header, scores_N


def scores_of(path: Path, columns: Mapping[str, Array], first: int = 0) -> Scores:
    """The scores of a table or part whose patch ids are ``first``, ``first + 1``, ...

    Raises:
        ArtifactError: the ids are others, or a column is missing or of another type.
    """
    ids_N, scores_N = columns.get("patch_id"), columns.get("score")
    if scores_N is None or scores_N.dtype != np.float64 or not _counts_from(first, ids_N):
        raise ArtifactError(
            f"{path} must have the columns patch_id ({first}, {first + 1}, {first + 2}, ...) and "
            "score."
        )
    return scores_N


def _counts_from(first: int, ids_N: Array | None) -> bool:
    """Whether ids are ``first``, ``first + 1``, ...; block by block, as they may be very many."""
    if ids_N is None or ids_N.dtype != np.int64:
        return False
    blocks = (ids_N[at : at + BLOCK] for at in range(0, len(ids_N), BLOCK))
    starts = range(first, first + len(ids_N), BLOCK)
    return all(
        np.array_equal(block, np.arange(start, start + len(block)))
        for start, block in zip(starts, blocks, strict=True)
    )


def _numbers(path: Path) -> tuple[int, int]:
    """Number and count that a file's name says."""
    match = re.fullmatch(r"part-(\d+)-of-(\d+)\.parquet", path.name)
    if not match:
        raise ArtifactError(f"{path} is no part of a score table. Move it away.")
    return int(match[1]), int(match[2])


def of_the_whole(header: Header) -> dict[str, Any]:
    """What all parts of a table share."""
    params = {k: v for k, v in header.params.items() if k not in ("part", "parts")}
    return {"parents": header.parents, "params": params}
