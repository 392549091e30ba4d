"""A map of dynamic inference: which subnet each tile of an image got."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from srprune.core.artifact import atomic_path
from srprune.core.errors import InputError
from srprune.core.tile_map import TileMap, Whole

Pixels = npt.NDArray[np.uint8]

MARGIN, TITLE, ROW, SWATCH = 20, 40, 22, 14  # px; TITLE and ROW are heights
TEXT, HEAD = 13, 16  # px of a font
INK, FAINT = "#222222", "#666666"
SMALLEST = 480  # px of the longer side of the picture; LR images are enlarged to it
DIM, TINT = 0.45, 0.55  # of the image's contrast that is left; of a tile's colour

# viridis, from the cheapest to the dearest: its lightness rises evenly, so the order shows
# without colours too
RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


def colours(count: int) -> list[tuple[int, int, int]]:
    """One colour a subnet, dark for cheap to light for dear."""
    stops = np.linspace(0, 1, len(RAMP))
    places = np.linspace(0, 1, count) if count > 1 else np.array([1.0])
    channels = [np.interp(places, stops, channel).round() for channel in zip(*RAMP, strict=True)]
    return [(int(r), int(g), int(b)) for r, g, b in zip(*channels, strict=True)]


def routing_map(lr: Pixels, routing: TileMap, path: Path, *, title: str) -> None:
    """Draw the tiles of an image in the colours of their subnets, over the image in grey: PNG.

    Where tiles overlap, the border is in the middle of what they share.

    Args:
        lr: (h, w, 3) or (h, w) uint8.
        routing: tiles and subnets.
        path: of the PNG; written whole or not at all.
        title: such as the name of the image.

    Raises:
        InputError: tiles that are not those of the image, or a subnet without a label.
        StorageError: the file cannot be written.
    """
    tints = np.array(colours(len(routing.labels)), dtype=np.float64)
    sheet = _legend(routing, painted(lr, routing), tints, title)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


def painted(lr: Pixels, routing: TileMap) -> Pixels:
    """(H, W, 3) uint8: the image in grey under its tiles in colour, enlarged if it is small.

    Args:
        lr: (h, w, 3) or (h, w) uint8.
        routing: tiles and subnets.

    Raises:
        InputError: tiles that are not those of the image, or a subnet without a label.
    """
    high, wide = lr.shape[:2]
    _check(routing, high, wide)
    zoom = max(1, -(-SMALLEST // max(high, wide)))
    tints = np.array(colours(len(routing.labels)), dtype=np.float64)
    grey = np.asarray(Image.fromarray(lr).convert("L"), dtype=np.float64)
    picture = np.repeat(np.repeat(255 * (1 - DIM) / 2 + DIM * grey, zoom, 0), zoom, 1)
    tops, lefts = np.unique(routing.tops_T), np.unique(routing.lefts_T)
    rows = zoom * _borders(tops, routing.height, high)
    columns = zoom * _borders(lefts, routing.width, wide)
    number = np.empty((len(tops), len(lefts)), dtype=np.int64)
    number[np.searchsorted(tops, routing.tops_T), np.searchsorted(lefts, routing.lefts_T)] = (
        routing.subnet_T
    )
    painted = tints[np.repeat(np.repeat(number, np.diff(rows), 0), np.diff(columns), 1)]
    mixed = (1 - TINT) * picture[:, :, None] + TINT * painted
    mixed[rows[1:-1]] = 255  # thin white lines between tiles
    mixed[:, columns[1:-1]] = 255
    return mixed.round().astype(np.uint8)


def _legend(
    routing: TileMap, picture: Pixels, tints: npt.NDArray[np.float64], title: str
) -> Image.Image:
    """The picture with a title above and the subnets below."""
    counts = np.bincount(routing.subnet_T, minlength=len(routing.labels))
    total = len(routing.subnet_T)
    texts = [
        f"{label}: {count} of {total} tiles ({100 * count / total:.0f}%)"
        for label, count in zip(routing.labels, counts, strict=True)
    ]
    head = f"{title}: {100 * routing.flops_share:.0f}% of the FLOPs of the largest subnet"
    font, big = ImageFont.load_default(TEXT), ImageFont.load_default(HEAD)
    column = MARGIN + SWATCH + 8 + max(round(font.getlength(text)) for text in texts)
    high, wide = picture.shape[:2]
    width = max(wide, round(big.getlength(head)), column)
    across = max(1, width // column)
    lines = -(-len(texts) // across)
    size = (width + 2 * MARGIN, high + 2 * MARGIN + TITLE + 10 + lines * ROW)
    sheet = Image.new("RGB", size, "white")
    sheet.paste(Image.fromarray(picture), (MARGIN, MARGIN + TITLE - 10))
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), head, INK, big)
    for place, (text, tint) in enumerate(zip(texts, tints, strict=True)):
        # the order runs down the columns
        x = MARGIN + place // lines * column
        y = MARGIN + TITLE + high + place % lines * ROW
        colour = (int(tint[0]), int(tint[1]), int(tint[2]))
        draw.rectangle((x, y, x + SWATCH, y + SWATCH), colour)
        ink = INK if counts[place] else FAINT
        draw.text((x + SWATCH + 8, y - 1), text, ink, font)
    return sheet


def _borders(begins: Whole, side: int, length: int) -> npt.NDArray[np.int64]:
    """Where tiles end and the next begin, px: 0, the middle of each shared strip, ``length``."""
    middles = (begins[1:] + begins[:-1] + side) // 2
    return np.concatenate([[0], middles, [length]]).astype(np.int64)


def _check(routing: TileMap, high: int, wide: int) -> None:
    ends = [
        (int(begins.max()) + side if len(begins) else 0)
        for begins, side in ((routing.tops_T, routing.height), (routing.lefts_T, routing.width))
    ]
    if ends != [high, wide]:
        raise InputError(
            f"the tiles cover {ends[1]}x{ends[0]} px, but the LR image has {wide}x{high}; these "
            "are the tiles of another image."
        )
    if routing.subnet_T.max() >= len(routing.labels) or routing.subnet_T.min() < 0:
        raise InputError(
            f"a tile has subnet {int(routing.subnet_T.max())}, but there are "
            f"{len(routing.labels)} labels; give one for each subnet."
        )
