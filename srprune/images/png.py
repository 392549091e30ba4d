"""Plain PNG files by libspng, where imagecodecs is installed (the extra ``fast``).

Pillow undoes a PNG's row filters byte by byte; libspng does it in vector registers, and inflates by
zlib-ng: the same pixels in about half the time. It is asked only for what SR data sets are made of
(RGB of 8 bit, in one pass, with nothing beside the pixels that could change them), and what it
refuses is left to Pillow, so that the rule for every other file, and every message, is Pillow's.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

ORIENTATION = 0x0112  # EXIF


def decode_plain(path: Path, image: ImageFile.ImageFile) -> npt.NDArray[np.uint8] | None:
    """(H, W, 3) uint8 pixels of a PNG, if it is plain and sound and libspng is at hand; else None.

    Args:
        path: the file.
        image: the same, opened by Pillow and not loaded.
    """
    spng = _codecs()
    if spng is None or not _is_plain(path, image):
        return None
    try:
        pixels = spng.spng_decode(path.read_bytes())
    except Exception:  # whatever is wrong with the file, Pillow says it
        return None
    same = pixels.dtype == np.uint8 and pixels.shape == (image.height, image.width, 3)
    return np.ascontiguousarray(pixels) if same else None


@cache
def _codecs() -> Any:
    """The package, or None where it is not installed or was built without libspng."""
    try:
        codecs = import_module("imagecodecs")
    except ImportError:
        return None
    return codecs if codecs.SPNG.available else None


def _is_plain(path: Path, image: ImageFile.ImageFile) -> bool:
    if image.format != "PNG" or image.mode != "RGB" or len(image.tile) != 1:
        return False
    if image.tile[0][3] != "RGB" or image.info.keys() & {"interlace", "transparency"}:
        return False
    if has_late_chunks(path):
        return False
    # Pillow's getexif of a PNG would decode the pixels, to reach chunks behind them
    return bool(Image.Image.getexif(image).get(ORIENTATION, 1) == 1)


def has_late_chunks(path: Path) -> bool:
    """Whether a PNG has chunks behind its pixels, such as EXIF; found without decoding."""
    with open(path, "rb") as file:
        file.seek(8)
        last = b""
        while len(head := file.read(8)) == 8:
            if last == b"IDAT" and head[4:] not in (b"IDAT", b"IEND"):
                return True
            last = head[4:]
            file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False
