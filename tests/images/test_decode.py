"""Decoding: one real file for every row of the table, and one kind of error for all others."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from srprune.core.errors import ImageError, InputError, StorageError
from srprune.images.decode import (
    as_rgb,
    content_of,
    decode,
    decode_rgb,
    list_images,
    read_shape,
)

Pixels = npt.NDArray[Any]
Put = Callable[..., Path]

RGB = np.random.default_rng(0).integers(256, size=(5, 7, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]
ORIENTATION = 0x0112


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Write bytes, or an image as Pillow saves it, and give the path."""

    def write(name: str, what: bytes | Pixels | Image.Image, **options: Any) -> Path:
        path = tmp_path / name
        if isinstance(what, bytes):
            path.write_bytes(what)
        else:
            image = what if isinstance(what, Image.Image) else Image.fromarray(what)
            image.save(path, **options)
        return path

    return write


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


# --- plain files ---


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.PNG", {"format": "PNG"}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("a.tiff", {"compression": "tiff_lzw"}),
        ("a.webp", {"lossless": True}),
    ],
)
def test_rgb_is_itself(put: Put, name: str, options: dict[str, Any]) -> None:
    np.testing.assert_array_equal(decoded(put(name, RGB, **options)), RGB)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_lossy_files_are_what_pillow_decodes(put: Put, name: str) -> None:
    path = put(name, RGB)
    np.testing.assert_array_equal(decoded(path), np.asarray(Image.open(path)))


def test_the_content_counts_not_the_ending(put: Put) -> None:
    np.testing.assert_array_equal(decoded(put("a.jpg", RGB, format="PNG")), RGB)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_grey_is_one_channel_and_three_where_rgb_is_asked_for(put: Put, name: str) -> None:
    path = put(name, GREY)
    np.testing.assert_array_equal(decoded(path), GREY)
    np.testing.assert_array_equal(decode_rgb(path), np.stack([GREY] * 3, axis=2))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_one_bit_is_black_and_white(put: Put, name: str) -> None:
    bits = GREY > 127
    np.testing.assert_array_equal(decoded(put(name, Image.fromarray(bits))), bits * np.uint8(255))


@pytest.mark.parametrize(("bits", "step"), [(1, 255), (2, 85), (4, 17)])
def test_few_bits_of_grey_spread_over_the_whole_range(put: Put, bits: int, step: int) -> None:
    path = put("a.png", png((1, 8 // bits), bits, 0, [bytes([0b00011011])]))
    values = [0b00011011 >> shift & (1 << bits) - 1 for shift in range(8 - bits, -1, -bits)]
    np.testing.assert_array_equal(decoded(path), [[value * step for value in values]])


def test_a_palette_gives_its_colours(put: Put) -> None:
    colours = np.array([[1, 2, 3], [200, 100, 50], [9, 9, 9]], dtype=np.uint8)
    palette = chunk(b"PLTE", colours.tobytes())
    path = put("a.png", png((1, 3), 8, 3, [bytes([2, 0, 1])], palette))
    np.testing.assert_array_equal(decoded(path), colours[[2, 0, 1]][None])


def test_a_palette_of_greys_is_rgb(put: Put) -> None:
    palette = chunk(b"PLTE", bytes([7, 7, 7, 250, 250, 250]))
    path = put("a.png", png((1, 2), 8, 3, [bytes([1, 0])], palette))
    assert decoded(path).tolist() == [[[250] * 3, [7] * 3]]


# --- transparency ---


def test_a_transparent_colour_of_a_palette_is_white(put: Put) -> None:
    palette = chunk(b"PLTE", bytes([1, 2, 3, 200, 100, 50])) + chunk(b"tRNS", bytes([0]))
    path = put("a.png", png((1, 2), 8, 3, [bytes([1, 0])], palette))
    assert decoded(path).tolist() == [[[200, 100, 50], [255, 255, 255]]]


def test_a_half_transparent_colour_of_a_palette_is_half_white(put: Put) -> None:
    palette = chunk(b"PLTE", bytes([1, 2, 3, 200, 100, 50])) + chunk(b"tRNS", bytes([255, 128]))
    path = put("a.png", png((1, 2), 8, 3, [bytes([1, 0])], palette))
    np.testing.assert_allclose(decoded(path), [[[227, 177, 152], [1, 2, 3]]], atol=1)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_alpha_stands_on_white(put: Put, name: str) -> None:
    alpha = np.random.default_rng(1).integers(256, size=GREY.shape, dtype=np.uint8)
    options = {"lossless": True, "exact": True} if name == "a.webp" else {}
    path = put(name, np.dstack([RGB, alpha]), **options)
    share = alpha[:, :, None] / 255
    np.testing.assert_allclose(decoded(path), RGB * share + 255 * (1 - share), atol=1)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_an_opaque_alpha_is_dropped(put: Put, name: str) -> None:
    opaque = np.full_like(GREY, 255)
    np.testing.assert_array_equal(decoded(put(name, np.dstack([RGB, opaque]))), RGB)
    np.testing.assert_array_equal(decoded(put(name, np.dstack([GREY, opaque]))), GREY)


def test_grey_with_alpha_stays_grey(put: Put) -> None:
    path = put("a.png", np.dstack([GREY, np.full_like(GREY, 128)]))
    np.testing.assert_allclose(decoded(path), GREY * 0.502 + 255 * 0.498, atol=1)


def test_grey_of_16_bit_with_alpha_stays_grey(put: Put) -> None:
    pixels = np.array([[[0x1234, 0xFFFF], [0xABCD, 0]]])
    assert decoded(put("a.png", png16(pixels, 4))).tolist() == [[0x12, 255]]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_is_white_at_every_depth(put: Put, bits: int) -> None:
    values = [0, 1, 255, 256, 513] if bits == 16 else list(range(min(1 << bits, 8)))
    rows = [(value << max(8 - bits, 0)).to_bytes(2 if bits == 16 else 1, "big") for value in values]
    opaque = decode(put("o.png", png((len(rows), 1), bits, 0, rows))).ravel().tolist()
    for i, value in enumerate(values):
        clear = chunk(b"tRNS", struct.pack(">H", value))
        path = put("a.png", png((len(rows), 1), bits, 0, rows, clear))
        assert decoded(path).ravel().tolist() == [*opaque[:i], 255, *opaque[i + 1 :]]


def test_a_transparent_colour_is_white(put: Put) -> None:
    clear = chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))
    path = put("a.png", png((1, 2), 8, 2, [bytes([1, 2, 3, 1, 2, 4])], clear))
    assert decoded(path).tolist() == [[[255, 255, 255], [1, 2, 4]]]


def test_a_transparent_colour_of_16_bit_is_refused(put: Put) -> None:
    clear = chunk(b"tRNS", struct.pack(">3H", 0xAB12, 0x12FE, 0x1200))
    path = put("a.png", png16(np.array([[[0x1234, 0xFEDC, 1]]]), 2, clear))
    assert "transparent colour in 16 bit" in refused(path)


# --- 16 bit and more ---

HIGH = np.array([[0, 1, 255, 256], [0x1234, 0xFEDC, 0xFF00, 0xFFFF]], dtype=np.uint16)


def test_16_bit_gives_the_high_byte(put: Put) -> None:
    expected = HIGH >> 8
    rgb, high = np.dstack([HIGH, HIGH[::-1], HIGH]), np.dstack([expected, expected[::-1], expected])
    np.testing.assert_array_equal(decoded(put("grey.png", png16(HIGH, 0))), expected)
    np.testing.assert_array_equal(decoded(put("rgb.png", png16(rgb, 2))), high)
    np.testing.assert_array_equal(decoded(put("grey.tif", tiff(HIGH))), expected)
    np.testing.assert_array_equal(decoded(put("rgb.tif", tiff(rgb))), high)
    np.testing.assert_array_equal(
        decoded(put("pillow.tif", HIGH, compression="tiff_lzw")), expected
    )


def test_widened_8_bit_comes_back_exactly(put: Put) -> None:
    wide = RGB.astype(np.uint16) * 257
    np.testing.assert_array_equal(decoded(put("a.png", png16(wide, 2))), RGB)
    np.testing.assert_array_equal(decoded(put("a.tif", tiff(wide))), RGB)


def test_16_bit_rgb_with_alpha(put: Put) -> None:
    pixels = np.array([[[0x1234, 0xFEDC, 0xFF, 0xFFFF], [1, 2, 3, 0]]])
    assert decoded(put("a.png", png16(pixels, 6))).tolist() == [[[0x12, 0xFE, 0], [255] * 3]]


@pytest.mark.parametrize(
    ("pixels", "tags", "said"),
    [
        (HIGH.astype(np.uint32), {}, "32-bit"),
        (HIGH.astype(np.int32), {}, "32-bit"),
        (HIGH.astype(np.float32), {}, "32-bit"),
        (HIGH.astype(np.int16), {}, "signed"),
        (GREY.astype(np.int8), {}, "signed"),
        (HIGH, {"t262": 0}, "white as zero"),
        (np.dstack([HIGH] * 3), {"t284": 2}, "planes"),
    ],
)
def test_other_values_in_tiff_are_refused(
    put: Put, pixels: Pixels, tags: dict[str, int], said: str
) -> None:
    path = put("a.tif", tiff(pixels, **tags))
    assert said in refused(path)
    with pytest.raises(ImageError, match=said):
        read_shape(path)


def test_what_pillow_calls_mode_f_and_lab_is_refused(put: Put) -> None:
    assert "bit values" in refused(put("f.tif", Image.new("F", (2, 2))))
    assert "mode LAB" in refused(put("lab.tif", Image.new("LAB", (2, 2))))


def test_12_bit_is_refused(put: Put) -> None:
    packed = np.arange(6, dtype=np.uint8).reshape(1, 6)  # four values of 12 bit
    path = put("a.tif", tiff(packed, t256=4, t258=12))
    assert "12-bit" in refused(path)


def test_white_is_zero_of_8_bit_is_turned(put: Put) -> None:
    np.testing.assert_array_equal(decoded(put("a.tif", tiff(GREY, t262=0))), 255 - GREY)


# --- CMYK ---

INK = Image.new("CMYK", (4, 3), (200, 20, 30, 40))


@pytest.mark.parametrize(("name", "options"), [("a.jpg", {"quality": 100}), ("a.tif", {})])
def test_cmyk_without_a_profile_is_converted_plainly(
    put: Put, name: str, options: dict[str, Any]
) -> None:
    plain = np.asarray(INK.convert("RGB"))
    np.testing.assert_allclose(decoded(put(name, INK, **options)), plain, atol=3)


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
@pytest.mark.parametrize(("level", "srgb"), [(0, 0), (50, 119), (100, 255)])
def test_cmyk_goes_through_its_profile(put: Put, name: str, level: int, srgb: int) -> None:
    without_k = Image.new("CMYK", (4, 3), (200, 20, 30, 0))
    path = put(name, without_k, icc_profile=cmyk_profile(level))
    np.testing.assert_allclose(decoded(path), np.full((3, 4, 3), srgb), atol=3)


@pytest.mark.parametrize("what", ["garbage", "of RGB"])
def test_cmyk_with_a_useless_profile_is_converted_plainly(put: Put, what: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = srgb if what == "of RGB" else b"garbage" * 50
    path = put("a.tif", INK, icc_profile=profile)
    np.testing.assert_array_equal(decoded(path), np.asarray(INK.convert("RGB")))


def test_profiles_of_rgb_are_ignored(put: Put) -> None:
    path = put("a.png", RGB, icc_profile=b"garbage" * 50)
    np.testing.assert_array_equal(decoded(path), RGB)


# --- orientation ---

UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: np.rot90(p, 2).swapaxes(0, 1),
    8: lambda p: np.rot90(p),
}


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[ORIENTATION] = orientation
    return made


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.tif", {}),
        ("a.tiff", {"compression": "tiff_lzw"}),
        ("a.webp", {"lossless": True}),
    ],
)
def test_images_are_turned_upright(
    put: Put, name: str, options: dict[str, Any], orientation: int
) -> None:
    path = put(name, RGB, exif=exif(orientation), **options)
    np.testing.assert_array_equal(decoded(path), UPRIGHT[orientation](RGB))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_jpeg_is_turned_upright(put: Put, orientation: int) -> None:
    lying = decode(put("lying.jpg", RGB))
    path = put("a.jpg", RGB, exif=exif(orientation))
    np.testing.assert_array_equal(decoded(path), UPRIGHT[orientation](lying))


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_turns_nothing(put: Put, orientation: int) -> None:
    np.testing.assert_array_equal(decoded(put("a.png", RGB, exif=exif(orientation))), RGB)


@pytest.mark.parametrize("where", ["before", "after"])
def test_exif_counts_before_and_behind_the_pixels_of_a_png(put: Put, where: str) -> None:
    block = chunk(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0"))
    rows = [bytes([1, 2, 3]), bytes([4, 5, 6])]
    before, after = ([block], b"") if where == "before" else ([], block)
    path = put("a.png", png((2, 3), 8, 0, rows, *before, after=after))
    assert decoded(path).tolist() == [[4, 1], [5, 2], [6, 3]]


def test_16_bit_is_turned_too(put: Put) -> None:
    block = chunk(b"eXIf", exif(8).tobytes().removeprefix(b"Exif\0\0"))
    path = put("a.png", png16(HIGH, 0, block))
    np.testing.assert_array_equal(decoded(path), np.rot90(HIGH >> 8))


# --- what cannot be used ---


@pytest.mark.parametrize("name", ["a.tif", "a.webp", "a.png"])
def test_several_frames_are_refused(put: Put, name: str) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    path = put(name, frames[0], save_all=True, append_images=frames[1:])
    assert refused(path) == "holds 2 frames; a still image was expected"
    with pytest.raises(ImageError, match="2 frames"):
        read_shape(path)


def encoded(kind: str, size: int = 64) -> bytes:
    noise = np.random.default_rng(2).integers(256, size=(size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


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


# --- shape and content ---


def test_as_rgb_and_content() -> None:
    assert as_rgb(RGB) is RGB
    assert content_of(as_rgb(GREY)) == content_of(np.stack([GREY] * 3, axis=2))
    assert content_of(RGB) == content_of(RGB.copy(order="F")) and len(content_of(RGB)) == 32
    assert content_of(RGB) != content_of(RGB.reshape(7, 5, 3))
    assert content_of(RGB) != content_of(RGB[::-1])


# --- listing ---


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_images_are_listed_by_name_with_those_of_folders_inside(tmp_path: Path) -> None:
    touch(tmp_path, "img10.png", "img2.png", "b/z.JPG", "b/c/d.tiff", "a.WebP", "B.bmp", "x.jpeg")
    touch(tmp_path, "notes.txt", "Thumbs.db", ".hidden.png", ".cache/x.png", "b/.x/y.png", "png")
    listed = list_images(tmp_path)
    assert listed == sorted(listed) == [
        *("B.bmp", "a.WebP", "b/c/d.tiff", "b/z.JPG", "img10.png", "img2.png", "x.jpeg")
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["x.gif", "deep/x.GIF", "x.jp2", "x.ppm", "x.svg"])
def test_other_kinds_of_images_are_refused(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "a.png", name)
    with pytest.raises(InputError, match=f"holds 1 image files of kinds .* such as {name}"):
        list_images(tmp_path)


def test_hidden_images_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", ".x.gif")
    assert list_images(tmp_path) == ["a.png"]


def test_folders_without_images(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(InputError, match=r"there is no image in .*; files ending in \.png, "):
        list_images(tmp_path)
    with pytest.raises(InputError, match="is a file; a folder of images was expected"):
        list_images(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="there is no folder"):
        list_images(tmp_path / "none")


def test_links_are_followed_but_never_in_a_circle(tmp_path: Path) -> None:
    touch(tmp_path, "one/a.png", "elsewhere/b.png")
    (tmp_path / "one" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "one" / "c.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "one" / "loop").symlink_to(tmp_path / "one")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "elsewhere")
    assert list_images(tmp_path / "one") == ["a.png", "c.png", "linked/b.png"]


def test_a_broken_link_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"1 names in .* such as 'b\.png'"):
        list_images(tmp_path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "gr\u00fcn.png")
    assert list_images(tmp_path) == ["gr\u00fcn.png"]
    try:
        (tmp_path / os.fsdecode(b"gr\xfcn.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(InputError, match="not UTF-8") as caught:
        list_images(tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser may list every folder")
def test_a_folder_that_may_not_be_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "locked/b.png")
    (tmp_path / "locked").chmod(0)
    try:
        with pytest.raises(StorageError, match=r"no permission to list the folder .*locked"):
            list_images(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)
