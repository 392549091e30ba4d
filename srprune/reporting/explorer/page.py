"""The page: skeleton, style, code and data joined into one file that needs no other."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from srprune.core.artifact import write_text
from srprune.core.progress import Progress, silent
from srprune.core.provenance import version
from srprune.reporting.explorer.content import Content, described, packed
from srprune.reporting.explorer.sprites import (
    COLUMNS,
    PER_SHEET,
    Sheets,
    image_thumbs,
    map_sheets,
    patch_sheets,
)

LIMIT = 24_500_000  # bytes of the file: it can be mailed, and opens at once
IMAGES_SHARE = 0.15  # of the pictures' bytes, for those of whole images
# In this order they make one program; each file says what it is.
SCRIPTS = ("arithmetic.js", "data.js", "state.js", "chart.js", "detail.js", "tiles.js",
           "gallery.js", "images.js", "controls.js", "main.js")  # fmt: skip


def write_explorer(
    path: Path,
    content: Content,
    *,
    limit: int = LIMIT,
    workers: int = 1,
    progress: Progress = silent,
) -> Sheets:
    """Write the page; thumbnails get what is left of the limit.

    Args:
        path: of the HTML file; written whole or not at all.
        content: what it shows.
        limit: bytes of the file.
        workers: threads for thumbnails.
        progress: told after each image.

    Returns:
        The thumbnails of patches: how large and how good they became.

    Raises:
        StorageError: the file cannot be written.
    """
    index, first = content.index, content.tables[0].table
    # neighbours in the order of the first table are on the screen together
    order_N = np.argsort(-first.scores_N, kind="stable")
    place_N = np.empty(len(order_N), dtype=np.uint32)
    place_N[order_N] = np.arange(len(order_N))
    data = described(content, shlex.quote)
    data |= {"srprune": version(), "place_N": packed(place_N), "columns": COLUMNS}
    blocks: list[str] = []
    for number, named in enumerate(content.tables):
        if named.maps is not None:
            sheets, low, high = map_sheets(named.maps.cells_NHW, order_N, workers)
            data["tables"][number]["maps"] = {"low": low, "high": high, "side": sheets.side}
            blocks += _blocks(f"map-{number}", sheets)
    fixed = sum(map(len, blocks)) + len(_json(data)) + 100_000
    budget = max(0, limit - fixed) * 3 // 4  # base64 makes four bytes of three
    images = image_thumbs(
        len(index.images), content.image, int(IMAGES_SHARE * budget), workers=workers
    )
    rest = budget - images.num_bytes
    thumbs = patch_sheets(index, content.image, order_N, rest, workers=workers, progress=progress)
    data |= {"per_sheet": PER_SHEET, "thumb_side": thumbs.side}
    blocks += [*_blocks("image", images), *_blocks("thumb", thumbs)]
    write_text(path, _joined(data, blocks))
    return thumbs


def _joined(data: dict[str, Any], blocks: list[str]) -> str:
    style = _read("style.css")
    code = "".join(_read(name) for name in SCRIPTS)
    code = f'"use strict";\n(() => {{\n{code}}})();\n'
    filling = {
        "POLICY": f"default-src 'none'; img-src blob:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(code)}'",
        "STYLE": style,
        "DATA": _json(data),
        "BLOCKS": "\n".join(blocks),
        "CODE": code,
    }
    # split, not replaced one after the other: the data may hold such a mark itself
    parts = _read("page.html").split("@@")
    return "".join(filling[part] if place % 2 else part for place, part in enumerate(parts))


def _blocks(kind: str, sheets: Sheets) -> list[str]:
    """A script of a type that is not run keeps its text as it is."""
    return [
        f'<script type="text/plain" id="{kind}-{k}">{base64.b64encode(file).decode()}</script>'
        for k, file in enumerate(sheets.files)
    ]


def _json(data: dict[str, Any]) -> str:
    """JSON that cannot end the script it stands in, whatever an image is called."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
