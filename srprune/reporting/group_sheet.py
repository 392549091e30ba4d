"""What the groups of patches look like: a row of each, such as classes from easy to hard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError
from srprune.core.groups import NO_GROUP
from srprune.core.seeding import generator
from srprune.reporting.sheet import (
    CAPTION,
    FAINT,
    GAP,
    INK,
    MARGIN,
    SUBTITLE,
    TITLE,
    Pixels,
    Sheet,
    Text,
    draw_sheet,
)

LINE = 24  # px between the baselines of a group's name and its patches
MOST = 40  # groups on a sheet


def group_sheet(
    patch: Callable[[int], Pixels],
    labels_N: npt.NDArray[np.int32],
    path: Path,
    *,
    title: str,
    columns: int = 10,
    thumb: int = 90,
) -> None:
    """Draw patches of each group, drawn at random, with the size of the group: PNG or PDF.

    Args:
        patch: gives patch i as (H, W, 3) uint8; called for those shown only.
        labels_N: (N,) group of each patch; -1 belongs to none.
        path: of the PNG or ``.pdf``; written whole or not at all.
        title: what the groups are.
        columns: patches a group.
        thumb: side of a thumbnail, px.

    Raises:
        InputError: no patch belongs to a group.
        MissingDependency: a PDF is asked for, and matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    groups, sizes = np.unique(labels_N[labels_N != NO_GROUP], return_counts=True)
    if not len(groups):
        raise InputError("there are no groups to show: no patch belongs to one.")
    total, shown = int(sizes.sum()), groups[:MOST]
    row = LINE + thumb + CAPTION + GAP
    width = columns * (thumb + GAP) - GAP + 2 * MARGIN
    sheet = Sheet(width, 2 * MARGIN + 2 * LINE + GAP + len(shown) * row, thumb, [], [])
    about = f"{total:,} patches in {len(groups):,} groups; {columns} of each, drawn at random"
    if len(shown) < len(groups):
        about += f"; the first {MOST} groups"
    sheet.texts.append(Text(MARGIN, MARGIN, title, INK, TITLE))
    sheet.texts.append(Text(MARGIN, MARGIN + LINE + 3, about, FAINT, SUBTITLE))
    top = MARGIN + 2 * LINE + GAP
    for group, size in zip(shown.tolist(), sizes.tolist(), strict=False):
        words = f"group {group}: {size:,} patches, {100 * size / total:.1f}%"
        sheet.texts.append(Text(MARGIN, top, words, INK, SUBTITLE))
        own = np.flatnonzero(labels_N == group)
        drawn = generator(0, "reporting.group_sheet", group).permutation(len(own))[:columns]
        for place, patch_id in enumerate(np.sort(own[drawn]).tolist()):
            sheet.thumbs.append((MARGIN + place * (thumb + GAP), top + LINE, patch_id))
        top += row
    draw_sheet(sheet, patch, path)
