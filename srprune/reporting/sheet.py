"""A sheet of patches with words between them, as a picture for screens or for papers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, ImageOps

from srprune.core.artifact import atomic_path
from srprune.reporting.canvas import canvas

Pixels = npt.NDArray[np.uint8]

MARGIN, GAP, HEAD, CAPTION = 20, 10, 54, 19  # px; HEAD and CAPTION are heights of text
TITLE, SUBTITLE = 20, 13  # px
PDF_TEXT = 0.86  # the font of the PDF is as much wider
INK, FAINT = "#222222", "#666666"


class Text(NamedTuple):
    """Words at a place, px from the upper left corner."""

    x: int
    y: int
    text: str
    color: str
    size: int
    right: bool = False  # x is where it ends


class Sheet(NamedTuple):
    """Where everything stands, px from the upper left corner.

    Attributes:
        width: of the sheet.
        height: of the sheet.
        thumb: side of a thumbnail.
        thumbs: x, y and patch id of each.
        texts: the words.
    """

    width: int
    height: int
    thumb: int
    thumbs: list[tuple[int, int, int]]
    texts: list[Text]


def draw_sheet(sheet: Sheet, patch: Callable[[int], Pixels], path: Path) -> None:
    """Draw it: PNG or PDF.

    Args:
        sheet: where everything stands.
        patch: gives patch i as (H, W, 3) uint8; called for those shown only.
        path: of the PNG or ``.pdf``; written whole or not at all.

    Raises:
        MissingDependency: a PDF is asked for, and matplotlib is not installed.
        StorageError: the file cannot be written.
    """
    (_draw_pdf if path.suffix == ".pdf" else _draw_png)(sheet, patch, path)


def _draw_png(sheet: Sheet, patch: Callable[[int], Pixels], path: Path) -> None:
    picture = Image.new("RGB", (sheet.width, sheet.height), "white")
    draw = ImageDraw.Draw(picture)
    for x, y, patch_id in sheet.thumbs:
        picture.paste(_thumbnail(patch(patch_id), sheet.thumb), (x, y))
    for text in sheet.texts:
        font = ImageFont.load_default(text.size)
        draw.text((text.x, text.y), text.text, text.color, font, "ra" if text.right else None)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def _draw_pdf(sheet: Sheet, patch: Callable[[int], Pixels], path: Path) -> None:
    """Text stays text; thumbnails are twice as fine as in the PNG."""
    with canvas(path, sheet.width / 100, sheet.height / 100) as figure:
        figure.set_layout_engine("none")  # every place is known
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        for x, y, patch_id in sheet.thumbs:
            pixels = _thumbnail(patch(patch_id), 2 * sheet.thumb)
            extent = (x, x + sheet.thumb, y + sheet.thumb, y)
            axes.imshow(np.asarray(pixels), extent=extent, interpolation="none")
        for text in sheet.texts:
            side = "right" if text.right else "left"
            points = 72 * PDF_TEXT * text.size / 100
            axes.text(
                text.x, text.y, text.text, color=text.color, fontsize=points, ha=side, va="top"
            )
        axes.set(xlim=(0, sheet.width), ylim=(sheet.height, 0), aspect="auto")


def _thumbnail(pixels: Pixels, side: int) -> Image.Image:
    """Fit a patch into a square; a smaller one is enlarged without inventing detail."""
    filter_ = Image.Resampling.LANCZOS if max(pixels.shape) > side else Image.Resampling.NEAREST
    return ImageOps.pad(Image.fromarray(pixels), (side, side), filter_, color="white")
