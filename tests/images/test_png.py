"""Plain PNG files by libspng: the pixels, refusals and messages are those of Pillow."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srprune.core.errors import ImageError
from srprune.images import png
from srprune.images.decode import decode

pytest.importorskip("imagecodecs", reason="imagecodecs is not installed: only Pillow reads PNG")

RGB = np.random.default_rng(0).integers(-3, 4, (37, 53, 3)).cumsum(axis=0).astype(np.uint8)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def saved(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def chunks(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(raw):
        (size,) = struct.unpack(">I", raw[at : at + 4])
        yield raw[at + 4 : at + 8], raw[at + 8 : at + 8 + size]
        at += 12 + size


GOOD = saved(Image.fromarray(RGB))
HEAD = dict(chunks(GOOD))[b"IHDR"]
STREAM = b"".join(content for kind, content in chunks(GOOD) if kind == b"IDAT")
ROW = 1 + RGB.shape[1] * 3


def packed(*streams: bytes, before: bytes = b"", between: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG with sound checksums around any pixel stream, cut into chunks."""
    pixels = between.join(chunk(b"IDAT", stream) for stream in streams)
    return SIGNATURE + chunk(b"IHDR", HEAD) + before + pixels + after + chunk(b"IEND", b"")


def said(path: Path) -> npt.NDArray[np.uint8] | str:
    try:
        return decode(path)
    except ImageError as error:
        return str(error)


def both(path: Path) -> tuple[npt.NDArray[np.uint8] | str, npt.NDArray[np.uint8] | str]:
    """What ``decode`` gives with and without libspng."""
    fast = said(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "imagecodecs", None)
        png._codecs.cache_clear()
        try:
            return fast, said(path)
        finally:
            png._codecs.cache_clear()


def is_taken(path: Path) -> bool:
    with Image.open(path) as image:
        return png.decode_plain(path, image) is not None


RAW = zlib.decompress(STREAM)
WRONG_FILTER = RAW[: 5 * ROW] + b"\x07" + RAW[5 * ROW + 1 :]
TURNED = Image.Exif()
TURNED[png.ORIENTATION] = 6
EXIF = TURNED.tobytes().removeprefix(b"Exif\0\0")
GREY = RGB[:, :, 0]
RGBA = np.dstack([RGB, GREY])

TAKEN = {
    "plain": GOOD,
    "two chunks": packed(STREAM[:300], STREAM[300:]),
    "gamma, significant bits, background": packed(
        STREAM,
        before=chunk(b"gAMA", struct.pack(">I", 45455))
        + chunk(b"sBIT", b"\5\5\5")
        + chunk(b"bKGD", bytes(6)),
    ),
    "colours suggested": packed(STREAM, before=chunk(b"PLTE", bytes(range(30)))),
    "text": packed(STREAM, before=chunk(b"tEXt", b"Software\0x")),
    "upright": saved(Image.fromarray(RGB), exif=Image.Exif()),
    "stored": saved(Image.fromarray(RGB), compress_level=0),
    # behind the last row neither reader looks
    "checksum of the last chunk": GOOD[:-13] + bytes([GOOD[-13] ^ 1]) + GOOD[-12:],
    "one pixel": saved(Image.fromarray(RGB[:1, :1])),
}
LEFT = {
    "grey": saved(Image.fromarray(GREY)),
    "palette": saved(Image.fromarray(RGB).quantize(16)),
    "alpha": saved(Image.fromarray(RGBA)),
    "16 bit": saved(Image.fromarray(GREY.astype(np.uint16) * 257)),
    "transparent colour": saved(Image.fromarray(RGB), transparency=tuple(RGB[3, 4].tolist())),
    "turned": packed(STREAM, before=chunk(b"eXIf", EXIF)),
    "turned behind the pixels": packed(STREAM, after=chunk(b"eXIf", EXIF)),
    "text between the pixels": packed(STREAM[:300], STREAM[300:], between=chunk(b"tEXt", b"a\0b")),
    "checksum of the pixels": packed(STREAM[:-1] + bytes([STREAM[-1] ^ 1])),
    "stream cut": packed(STREAM[:-40]),
    "stream short": packed(zlib.compress(RAW[:-10])),
    "filter unknown": packed(zlib.compress(WRONG_FILTER)),
    "stream damaged": packed(b"\0\0" + STREAM[2:]),
    "file cut": GOOD[:-200],
    "interlaced": SIGNATURE
    + chunk(b"IHDR", HEAD[:-1] + b"\1")
    + chunk(b"IDAT", STREAM)
    + chunk(b"IEND", b""),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_plain_files_are_taken_with_equal_pixels(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(TAKEN[name])
    assert is_taken(path)
    fast, slow = both(path)
    assert not isinstance(fast, str) and not isinstance(slow, str), (fast, slow)
    assert fast.dtype == np.uint8 and fast.flags.c_contiguous
    np.testing.assert_array_equal(fast, slow)
    np.testing.assert_array_equal(fast, RGB[: len(fast), : fast.shape[1]])


@pytest.mark.parametrize("name", LEFT)
def test_all_else_is_left_to_pillow(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(LEFT[name])
    assert not is_taken(path)
    fast, slow = both(path)
    if isinstance(slow, str):
        assert fast == slow
    else:
        np.testing.assert_array_equal(fast, slow)


def test_the_missing_package_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(GOOD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "imagecodecs", None)
        png._codecs.cache_clear()
        assert not is_taken(path)
    png._codecs.cache_clear()
    assert is_taken(path)


def test_another_kind_of_file_is_left_to_pillow(tmp_path: Path) -> None:
    path = tmp_path / "a.png"  # a BMP by its content
    Image.fromarray(RGB).save(path, "BMP")
    assert not is_taken(path)
    np.testing.assert_array_equal(decode(path), RGB)


@settings(max_examples=300)
@given(
    flips=st.lists(st.tuples(st.integers(0), st.integers(0, 7)), min_size=1, max_size=3),
    end=st.none() | st.integers(1),
    sound=st.booleans(),
    cut=st.integers(0, len(STREAM)),
)
def test_damage_is_what_pillow_makes_of_it(
    tmp_path_factory: pytest.TempPathFactory,
    flips: list[tuple[int, int]],
    end: int | None,
    sound: bool,
    cut: int,
) -> None:
    """Bits turned in the stream below sound checksums, or anywhere behind the header."""
    damaged = bytearray(STREAM if sound else GOOD[33:])
    for place, bit in flips:
        damaged[place % len(damaged)] ^= 1 << bit
    if end is not None:
        del damaged[end % len(damaged) :]
    raw = packed(bytes(damaged[:cut]), bytes(damaged[cut:])) if sound else GOOD[:33] + damaged
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(raw)
    fast, slow = both(path)
    if isinstance(slow, str):
        assert fast == slow
    else:
        np.testing.assert_array_equal(fast, slow)
