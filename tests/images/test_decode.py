"""Decoding: one real file for every row of the table."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from srprune.core.errors import ImageError
from srprune.images.decode import (
    as_rgb,
    content_of,
    decode,
    decode_rgb,
    read_shape,
)
from tests.images.image_files import (
    GREY,
    HIGH,
    RGB,
    Pixels,
    Put,
    chunk,
    cmyk_profile,
    decoded,
    exif,
    png,
    png16,
    refused,
    tiff,
)

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


def test_as_rgb_and_content() -> None:
    assert as_rgb(RGB) is RGB
    assert content_of(as_rgb(GREY)) == content_of(np.stack([GREY] * 3, axis=2))
    assert content_of(RGB) == content_of(RGB.copy(order="F")) and len(content_of(RGB)) == 32
    assert content_of(RGB) != content_of(RGB.reshape(7, 5, 3))
    assert content_of(RGB) != content_of(RGB[::-1])
