"""Packing gives back every pixel of any image, and tells when bytes have changed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.images.packing import BAND, NUMBERS, DamagedPixels, num_bands, pack, unpack


def noise(height: int, width: int, seed: int = 0, low: int = 0, high: int = 256) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, (height, width, 3), dtype=np.uint8)


def as_bytes(packed: bytes) -> np.ndarray:
    return np.frombuffer(packed, dtype=np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 3 * BAND),
    width=st.integers(1, 70),
    seed=st.integers(0, 9),
    bounds=st.sampled_from([(0, 256), (0, 1), (255, 256), (0, 3), (250, 256)]),
)
def test_every_pixel_comes_back(height, width, seed, bounds):
    image = noise(height, width, seed, *bounds)
    packed = pack(image)
    np.testing.assert_array_equal(image, noise(height, width, seed, *bounds))  # untouched
    np.testing.assert_array_equal(unpack(as_bytes(packed), height, width), image)


@pytest.mark.parametrize("height", [1, 2, BAND - 1, BAND, BAND + 1, 2 * BAND])
def test_bands_meet_without_a_seam(height):
    image = noise(height, 5)
    np.testing.assert_array_equal(unpack(as_bytes(pack(image)), height, 5), image)


def test_the_form_is_the_one_that_the_docs_say():
    image = noise(BAND + 1, 40)
    packed = as_bytes(pack(image))
    head = packed[: 2 * NUMBERS.itemsize].view("<u4").reshape(2, 2)
    assert packed.size == 2 * NUMBERS.itemsize + head[:, 0].sum()
    start, rows = 2 * NUMBERS.itemsize, []
    for size, height in zip(head[:, 0].tolist(), (BAND, 1), strict=True):
        frame = packed[start : start + size].tobytes()
        plain = pa.decompress(frame, height * 40 * 3, codec="zstd")
        planes = np.frombuffer(plain, dtype=np.uint8).reshape(3, height, 40)
        planes = planes.cumsum(1, dtype=np.uint8).cumsum(2, dtype=np.uint8)
        planes[[0, 2]] += planes[1]
        rows.append(planes.transpose(1, 2, 0))
        start += size
    np.testing.assert_array_equal(np.concatenate(rows), image)


def test_smooth_images_become_small_and_noise_hardly_grows():
    y, x = np.mgrid[:200, :300]
    smooth = np.repeat((y // 3 + x // 2)[..., None], 3, axis=2).astype(np.uint8)
    assert len(pack(smooth)) < smooth.size / 20
    assert len(pack(noise(200, 300))) < 1.01 * 3 * 200 * 300


def test_the_same_image_gives_the_same_bytes():
    assert pack(noise(70, 30)) == pack(noise(70, 30)) != pack(noise(70, 30, seed=1))


def test_a_view_is_packed_as_its_pixels():
    image = noise(80, 60)
    assert pack(image[10:75, 3:41]) == pack(image[10:75, 3:41].copy())


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_no_changed_byte_goes_unseen(place, flip):
    packed = as_bytes(pack(noise(BAND + 9, 20))).copy()
    packed[place % packed.size] ^= flip
    with pytest.raises(DamagedPixels):
        unpack(packed, BAND + 9, 20)


@pytest.mark.parametrize("length", [0, 3, 15, 16, 100, -1])
def test_nor_do_lost_bytes(length):
    with pytest.raises(DamagedPixels):
        unpack(as_bytes(pack(noise(BAND + 9, 20)))[:length], BAND + 9, 20)


def test_a_whole_frame_of_other_pixels_is_refused():
    with pytest.raises(DamagedPixels):
        unpack(as_bytes(pack(noise(BAND, 21))), BAND, 20)
    with pytest.raises(DamagedPixels):
        unpack(as_bytes(pack(noise(BAND, 19))), BAND, 20)


def test_the_number_of_bands():
    assert [num_bands(height) for height in (1, BAND, BAND + 1, 5 * BAND)] == [1, 1, 2, 5]
