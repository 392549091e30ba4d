"""A contact sheet: what the hardest and the easiest patches look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ImageFont

from srprune.core.errors import InputError
from srprune.reporting.sheet import (
    CAPTION,
    FAINT,
    GAP,
    HEAD,
    INK,
    MARGIN,
    SUBTITLE,
    TITLE,
    Pixels,
    Sheet,
    Text,
    draw_sheet,
)

Shown = list[tuple[int, int]]  # rank and patch id

SMALLEST = 80  # px of a thumbnail: rank and score stand side by side below it


def extremes(
    scores_N: npt.NDArray[np.float64],
    count: int,
    image_N: npt.NDArray[np.integer[Any]] | None = None,
    per_image: int = 2,
) -> tuple[Shown, Shown]:
    """The hardest and the easiest patches, as (rank, patch id), the most extreme first.

    No patch is in both: of few patches each list takes a half. With ``image_N``, each list holds
    at most ``per_image`` patches of one image.
    """
    order_N, rank_N = np.argsort(-scores_N, kind="stable"), np.arange(len(scores_N))
    half = (len(order_N) + 1) // 2
    blocks = []
    for ranks in (rank_N[:half], rank_N[half:][::-1]):
        if image_N is not None:
            ranks = ranks[_earlier_equals(image_N[order_N[ranks]]) < per_image]
        blocks.append([(int(rank), int(order_N[rank])) for rank in ranks[:count]])
    return blocks[0], blocks[1]


def contact_sheet(
    patch: Callable[[int], Pixels],
    scores_N: npt.NDArray[np.float64],
    path: Path,
    *,
    method: str,
    image_N: npt.NDArray[np.integer[Any]] | None = None,
    per_image: int = 2,
    columns: int = 8,
    rows: int = 4,
    thumb: int = 120,
) -> None:
    """Draw the hardest patches and, below, the easiest ones, with rank and score: PNG or PDF.

    Args:
        patch: gives patch i as (H, W, 3) uint8; called for those shown only.
        scores_N: (N,) higher is harder.
        path: of the PNG or ``.pdf``; written whole or not at all.
        method: that made the scores, for the titles.
        image_N: (N,) image of each patch; without it ``per_image`` has no effect.
        per_image: limit a block, since windows of one image overlap and look alike.
        columns: thumbnails side by side.
        rows: of both blocks together; even.
        thumb: side of a thumbnail, px.

    Raises:
        InputError: no patches, or a layout that cannot be drawn.
        MissingDependency: a PDF is asked for, and matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    if rows < 2 or rows % 2 or columns < 1 or thumb < SMALLEST or per_image < 1:
        raise InputError(
            "a contact sheet has an even number of rows, at least one column, one patch an image "
            f"and {SMALLEST} px a thumbnail; not {rows}, {columns}, {per_image} and {thumb}."
        )
    if not len(scores_N):
        raise InputError("there are no patches to show.")
    blocks = extremes(scores_N, columns * rows // 2, image_N, per_image)
    limit = f", at most {per_image} of one image" if image_N is not None else ""
    about = f"of {len(scores_N):,} patches{limit}; rank (0 is the hardest) and score below each"
    titles = [("Hardest patches", f"highest {method} scores {about}")]
    titles += [("Easiest patches", f"lowest {method} scores {about}")] if blocks[1] else []

    small = ImageFont.load_default(SUBTITLE)
    cell = thumb + CAPTION + GAP
    heights = [HEAD + -(-len(block) // columns) * cell + GAP for block in blocks if block]
    width = max(columns * (thumb + GAP) - GAP, *(round(small.getlength(t)) for _, t in titles))
    sheet = Sheet(width + 2 * MARGIN, sum(heights) + 2 * (MARGIN - GAP), thumb, [], [])
    caption = min(13, max(9, thumb // 9))
    top = MARGIN
    for (title, subtitle), block, height in zip(titles, blocks, heights, strict=False):
        sheet.texts.append(Text(MARGIN, top, title, INK, TITLE))
        sheet.texts.append(Text(MARGIN, top + 27, subtitle, FAINT, SUBTITLE))
        for place, (rank, patch_id) in enumerate(block):
            x = MARGIN + place % columns * (thumb + GAP)
            y = top + HEAD + place // columns * cell
            sheet.thumbs.append((x, y, patch_id))
            score = f"{scores_N[patch_id]:#.3g}".rstrip(".")
            sheet.texts.append(Text(x, y + thumb + 3, f"{rank}", INK, caption))
            sheet.texts.append(Text(x + thumb, y + thumb + 3, score, FAINT, caption, True))
        top += height
    draw_sheet(sheet, patch, path)


def _earlier_equals(labels: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """For each position, how many equal labels stand before it."""
    grouped, counts = np.argsort(labels, kind="stable"), np.empty(len(labels), dtype=np.int64)
    ordered = labels[grouped]
    counts[grouped] = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    return counts
