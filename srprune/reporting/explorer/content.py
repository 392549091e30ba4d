"""What the explorer shows, and the form in which the page reads it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.error_maps import ErrorMaps
from srprune.core.patches import PatchIndex
from srprune.core.scores import ScoreTable
from srprune.reporting.figures import LOSSES
from srprune.reporting.overlap import rank_correlation

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NamedScores:
    """A score table under its name in the workspace; ``maps`` are its error maps, if there are."""

    name: str
    table: ScoreTable
    maps: ErrorMaps | None = None


@dataclass(frozen=True)
class Preset:
    """A core-set that the page can show.

    Attributes:
        name: of the core-set.
        patch_ids: (kept,) sorted.
        fingerprint: of the core-set.
        command: that made it.
        scores: name of the score table; None where it is not a window of ranks of one.
        rule: ``des`` or ``asc`` of a window, any other name else.
        first: first rank of a window.
    """

    name: str
    patch_ids: npt.NDArray[np.int64]
    fingerprint: str
    command: str
    scores: str | None
    rule: str
    first: int


@dataclass(frozen=True)
class Content:
    """Everything on the page.

    Attributes:
        index: the patches.
        tables: at least one; the first is shown first.
        presets: core-sets.
        image: gives image i as (H, W, 3) uint8.
        options: words that every command needs besides, such as ``--workspace here``, quoted.
    """

    index: PatchIndex
    tables: Sequence[NamedScores]
    presets: Sequence[Preset]
    image: Callable[[int], npt.NDArray[np.uint8]]
    options: str = ""


def packed(array: npt.NDArray[Any]) -> str:
    """The bytes of an array, little end first, as base64."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode("ascii")


def described(content: Content, quoted: Callable[[str], str]) -> dict[str, Any]:
    """All but the pictures, as plain values for JSON; arrays are base64.

    Args:
        content: what is shown.
        quoted: makes a name safe for a shell.
    """
    index, names = content.index, [named.name for named in content.tables]
    return {
        "num_patches": len(index),
        "size": index.size,
        "stride": index.stride,
        "patches": index.fingerprint,
        "options": content.options,
        "images": [{"path": i.path, "height": i.height, "width": i.width} for i in index.images],
        "image_N": packed(index.image_N.astype(np.uint32)),
        "top_N": packed(index.top_N.astype(np.uint32)),
        "left_N": packed(index.left_N.astype(np.uint32)),
        "tables": [
            {
                "name": named.name,
                "quoted": quoted(named.name),
                "method": named.table.method,
                "noun": "loss" if named.table.method in LOSSES else "score",
                "fingerprint": named.table.fingerprint,
                "scores_N": packed(named.table.scores_N),
            }
            for named in content.tables
        ],
        "correlation": rank_correlation([named.table.scores_N for named in content.tables]),
        "presets": [
            {
                "name": preset.name,
                "rule": preset.rule,
                "table": names.index(preset.scores) if preset.scores in names else None,
                "first": preset.first,
                "size": len(preset.patch_ids),
                "command": preset.command,
                "fingerprint": preset.fingerprint,
                "kept_bits": packed(_bits(preset.patch_ids, len(index))),
            }
            for preset in content.presets
        ],
    }


def _bits(patch_ids: npt.NDArray[np.int64], num_patches: int) -> npt.NDArray[np.uint8]:
    """One bit a patch, the lowest bit of a byte first."""
    kept_N = np.zeros(num_patches, dtype=bool)
    kept_N[patch_ids] = True
    return np.packbits(kept_N, bitorder="little")
