"""Files that cannot be decoded: one kind of error for all of them."""

from __future__ import annotations

import errno
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from srprune.core.errors import ImageError
from srprune.images.decode import decode, read_shape
from tests.images.image_files import (
    GREY,
    HIGH,
    RGB,
    Put,
    chunk,
    encoded,
    exif,
    png,
    png16,
    refused,
    tiff,
)


@pytest.mark.parametrize("name", ["a.tif", "a.webp", "a.png"])
def test_several_frames_are_refused(put: Put, name: str) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    path = put(name, frames[0], save_all=True, append_images=frames[1:])
    assert refused(path) == "holds 2 frames; a still image was expected"
    with pytest.raises(ImageError, match="2 frames"):
        read_shape(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_truncated_file_is_refused(put: Put, kind: str, share: float) -> None:
    whole = encoded(kind)
    path = put("a.tif" if kind == "TIFF" else "a.png", whole[: int(share * len(whole))])
    refused(path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="Linux's /proc gives such a file")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Pillow's open file
@pytest.mark.parametrize("read", [read_shape, decode])
def test_a_disk_that_does_not_give_the_bytes_is_named(read: Callable, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.symlink_to("/proc/self/mem")  # reading its first bytes is an input/output error
    with pytest.raises(ImageError, match=re.escape(f"cannot be read ({os.strerror(errno.EIO)})")):
        read(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_webp_is_called_cut_off(put: Put, share: float) -> None:
    whole = encoded("WEBP")
    path = put("a.webp", whole[: int(share * len(whole))])
    assert refused(path) == "is cut off or damaged"


def test_the_shape_of_a_truncated_png_is_that_of_its_header(put: Put) -> None:
    assert read_shape(put("a.png", encoded("PNG")[:300])) == (64, 64)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.png", b"", "is empty (0 bytes)"),
        ("a.png", b"just some text\n", "is not a PNG image"),
        ("a.JPEG", b"<html></html>", "is not a JPEG image"),
        ("a.webp", b"RIFF\0\0\0\0WAVE" + bytes(20), "is not a WEBP image"),
        ("a.tif", b"II*\0" + bytes(20), "is not a TIFF image"),
        ("a.png", b"GIF89a" + bytes(30), "is not a PNG image"),
    ],
)
def test_a_file_that_is_no_image(put: Put, name: str, content: bytes, said: str) -> None:
    path = put(name, content)
    assert refused(path) == said
    with pytest.raises(ImageError, match="is "):
        read_shape(path)


def test_a_gif_in_disguise_is_refused(put: Put) -> None:
    assert refused(put("a.png", GREY, format="GIF")) == "is not a PNG image"


@pytest.mark.parametrize("side", [60_000, 13_378])
def test_a_decompression_bomb_is_refused_by_its_header(put: Put, side: int) -> None:
    path = put("a.png", png((side, side), 8, 2, [b""]))
    assert "(a decompression bomb?)" in refused(path)
    with pytest.raises(ImageError, match="bomb"):
        read_shape(path)


def test_a_large_image_below_the_limit_is_no_bomb(put: Put) -> None:
    assert read_shape(put("a.png", png((13_377, 13_377), 8, 2, [b""]))) == (13_377, 13_377)


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_bomb_in_a_text_chunk_is_refused(put: Put, where: str) -> None:
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(20_000_000)))
    before, after = ([bomb], b"") if where == "before" else ([], bomb)
    path = put("a.png", png((1, 1), 8, 0, [b"\0"], *before, after=after))
    refused(path)
    with pytest.raises(ImageError):
        read_shape(path)


def test_damaged_exif_is_an_image_error(put: Put) -> None:
    path = put("a.png", png((1, 1), 8, 0, [b"\0"], chunk(b"eXIf", b"garbage")))
    for read in (decode, read_shape):
        with pytest.raises(ImageError, match="damaged"):
            read(path)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    assert refused(tmp_path / "a.png") == "is not there"


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission(put: Put) -> None:
    path = put("a.png", RGB)
    path.chmod(0)
    assert refused(path) == "may not be read (permission denied)"


def sound_or_refused(path: Path) -> None:
    """Decode what is left of a file: pixels or ImageError, and nothing else."""
    try:
        shape: tuple[int, ...] | None = read_shape(path)
    except ImageError:
        shape = None
    try:
        pixels = decode(path)
    except ImageError as error:
        assert str(error)
    else:
        assert pixels.dtype == np.uint8 and pixels.shape[:2] == shape
        assert pixels.ndim == 2 or pixels.shape[2] == 3


FUZZ = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
STARTS = (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0\x08\0\0\0", b"MM\0*", b"BM")
SOUND = [encoded(kind, 16) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP")]
SOUND += [png16(HIGH, 0), png16(np.dstack([HIGH] * 3), 2), tiff(HIGH)]
SOUND += [png((1, 3), 8, 3, [bytes([2, 0, 1])], chunk(b"PLTE", bytes(9)), chunk(b"tRNS", b"\1"))]
SOUND += [png((1, 1), 8, 0, [b"\7"], after=chunk(b"eXIf", exif(6).tobytes()[6:]))]


@FUZZ
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=300))
def test_random_bytes_are_refused_or_pixels(put: Put, start: bytes, rest: bytes) -> None:
    sound_or_refused(put("a.png", start + rest))


@FUZZ
@given(data=st.data())
def test_corrupted_files_are_refused_or_pixels(put: Put, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SOUND)))
    for _ in range(data.draw(st.integers(1, 4))):
        near_head = data.draw(st.booleans())
        place = data.draw(st.integers(0, min(len(content), 80 if near_head else 10**6) - 1))
        content[place] = data.draw(st.integers(0, 255))
    sound_or_refused(put("a.png", bytes(content)))


@FUZZ
@given(data=st.data())
def test_corrupted_png_with_sound_checksums_is_refused_or_pixels(
    put: Put, data: st.DataObject
) -> None:
    bits = data.draw(st.sampled_from([1, 2, 4, 8, 16, 3]))
    colour = data.draw(st.sampled_from([0, 2, 3, 4, 6, 1]))
    names = st.sampled_from(
        [b"PLTE", b"tRNS", b"eXIf", b"zTXt", b"iCCP", b"gAMA", b"acTL", b"iTXt"]
    )
    chunks = st.lists(st.builds(chunk, names, st.binary(max_size=12)), max_size=3)
    rows = data.draw(st.lists(st.binary(max_size=20), max_size=4))
    content = png((2, 3), bits, colour, rows, *data.draw(chunks), after=b"".join(data.draw(chunks)))
    sound_or_refused(put("a.png", content))
