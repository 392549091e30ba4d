"""Images that cannot be used, damage to the bytes of a file, and what stands below a folder."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

NOISE = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
PATCHES = ("--size", "48", "--stride", "24")


def truncated(path: Path) -> None:
    Image.fromarray(NOISE).save(path)
    path.write_bytes(path.read_bytes()[:9000])


def text(path: Path) -> None:
    path.write_text("this is not an image\n")


def empty(path: Path) -> None:
    path.touch()


def small(path: Path) -> None:
    Image.fromarray(NOISE[:40]).save(path)


def bomb(path: Path) -> None:
    """A PNG file of a few bytes that claims 60000x60000 px."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


BAD = {
    truncated: "truncated",
    text: "is not a PNG image",
    empty: "is empty",
    small: "too small for a patch of 48 px",
    bomb: "decompression bomb",
}


def cut(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def garbage(raw: bytes) -> bytes:
    return b"no Parquet file at all" * 50


def turned(raw: bytes) -> bytes:
    """One byte of the pixels of the columns is another one."""
    return raw[:300] + bytes([raw[300] ^ 0xFF]) + raw[301:]


def files(folder: Path) -> list[str]:
    """All files below a folder; none if it is not there."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files(folder)}
