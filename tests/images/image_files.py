"""Image files by hand, of kinds that no library writes, and what decoding makes of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from srprune.core.errors import ImageError
from srprune.images.decode import (
    decode,
    read_shape,
)

Pixels = npt.NDArray[Any]
Put = Callable[..., Path]

RGB = np.random.default_rng(0).integers(256, size=(5, 7, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]
HIGH = np.array([[0, 1, 255, 256], [0x1234, 0xFEDC, 0xFF00, 0xFFFF]], dtype=np.uint16)
ORIENTATION = 0x0112


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png(
    shape: tuple[int, int],
    bits: int,
    colour: int,
    rows: list[bytes],
    *before: bytes,
    after: bytes = b"",
) -> bytes:
    """A PNG by hand: ``rows`` are packed, ``before`` and ``after`` are chunks around the pixels."""
    head = struct.pack(">IIBBBBB", shape[1], shape[0], bits, colour, 0, 0, 0)
    content = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    parts = [chunk(b"IHDR", head), *before, content, after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png16(pixels: Pixels, colour: int, *before: bytes) -> bytes:
    rows = [row.astype(">u2").tobytes() for row in pixels]
    return png(pixels.shape[:2], 16, colour, rows, *before)


def tiff(pixels: Pixels, **tags: int) -> bytes:
    """A plain TIFF by hand, little-endian, one strip, of any type of values."""
    height, width, channels = (*pixels.shape, 1)[:3]
    bits = pixels.dtype.itemsize * 8
    formats = {"u": 1, "i": 2, "f": 3}
    entries: dict[int, list[int]] = {
        256: [width],
        257: [height],
        258: [bits] * channels,
        259: [1],
        262: [2 if channels == 3 else 1],
        273: [0],
        277: [channels],
        278: [height],
        279: [pixels.nbytes],
        339: [formats[pixels.dtype.kind]] * channels,
    }
    entries |= {int(tag[1:]): [value] for tag, value in tags.items()}
    extra = b""
    at = 8 + 2 + 12 * len(entries) + 4
    size = sum(2 * len(values) for values in entries.values() if len(values) > 2)
    entries[273] = [at + size]
    table = b""
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            extra, packed = extra + packed, struct.pack("<I", at + len(extra))
        table += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    directory = struct.pack("<H", len(entries)) + table + b"\0\0\0\0"
    return b"II*\0" + struct.pack("<I", 8) + directory + extra + pixels.tobytes()


def cmyk_profile(level: int) -> bytes:
    """A smallest ICC profile of a press on which K is black and all else grey of L* ``level``."""
    grey_and_black = bytes([round(level * 2.55), 128, 128, 0, 128, 128])  # Lab of 8 bit
    line = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table = (
        b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + line * 4 + grey_and_black * 8 + line * 3
    )
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = [(b"A2B0", table), (b"wtpt", white)]
    at = 128 + 4 + 12 * len(tags)
    index, body = struct.pack(">I", len(tags)), b""
    for name, content in tags:
        index += name + struct.pack(">II", at + len(body), len(content))
        body += content
    head = struct.pack(
        ">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab "
    )
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + index + body


def decoded(path: Path) -> Pixels:
    """Pixels of a file, of which the header told the shape."""
    pixels = decode(path)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert read_shape(path) == pixels.shape[:2]
    return pixels


def refused(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        decode(path)
    assert str(path) not in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def encoded(kind: str, size: int = 64) -> bytes:
    noise = np.random.default_rng(2).integers(256, size=(size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[ORIENTATION] = orientation
    return made
