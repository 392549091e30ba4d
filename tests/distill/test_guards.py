"""Blank images, and images that the generator has seen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from srprune.distill.guards import Copies, blank
from tests.conftest import picture

SIZE = 48


def scene(seed: int) -> np.ndarray:
    """A picture of large shapes, another one for each seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), dtype=np.uint8))


PATCHES = np.stack([scene(seed) for seed in range(40)])
PATCHES[7] = 90  # a flat patch must disturb nobody
IDS = np.arange(100, 140, dtype=np.int64)


@pytest.fixture(scope="module")
def copies() -> Copies:
    return Copies(lambda i: PATCHES[i - 100], IDS, SIZE)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (np.zeros((SIZE, SIZE, 3)), "black"),
        (np.full((SIZE, SIZE, 3), 3), "black"),
        (np.full((SIZE, SIZE, 3), 90), "constant"),
        (np.full((SIZE, SIZE, 3), 255), "constant"),
        (90 + np.arange(SIZE * SIZE * 3).reshape(SIZE, SIZE, 3) % 3, "constant"),
        (picture(SIZE, SIZE), None),
        (np.kron([[0, 40], [40, 0]], np.ones((24, 24)))[..., None].repeat(3, axis=2), None),
    ],
)
def test_images_that_show_nothing_are_told(image: np.ndarray, why: str | None) -> None:
    assert blank(image.astype(np.uint8)) == why


def test_a_copy_is_found_by_its_pixels(copies: Copies) -> None:
    for row in (3, 12, 25):
        found = copies.nearest(PATCHES[row]).by_pixels
        assert (found.patch_id, found.mirrored, found.psnr_db) == (100 + row, False, math.inf)
        assert found.correlation == pytest.approx(1)
        assert found.near_copy


def test_a_mirrored_copy_is_found(copies: Copies) -> None:
    found = copies.nearest(PATCHES[3][:, ::-1]).by_pixels
    assert (found.patch_id, found.mirrored, found.psnr_db) == (103, True, math.inf)


def test_noise_does_not_hide_a_copy(copies: Copies) -> None:
    noise = np.random.default_rng(1).normal(0, 15, (SIZE, SIZE, 3))
    found = copies.nearest(np.clip(PATCHES[11] + noise, 0, 255).astype(np.uint8)).by_pixels
    assert found.patch_id == 111
    assert 22 < found.psnr_db < 27  # noise of 15 has 24.6 dB; clipping takes some away
    assert found.near_copy


def test_an_image_of_its_own_is_no_copy(copies: Copies) -> None:
    for seed in range(100, 110):
        found = copies.nearest(scene(seed)).by_pixels
        assert not found.near_copy
        image = scene(seed)[:, :: -1 if found.mirrored else 1].astype(float)
        error = image - PATCHES[found.patch_id - 100]
        assert found.psnr_db == pytest.approx(10 * np.log10(255**2 / (error**2).mean()))


def test_the_correlation_is_that_of_block_means() -> None:
    one, other = picture(SIZE, SIZE, 1), picture(SIZE, SIZE, 2)
    found = Copies(lambda i: other, np.array([5]), SIZE).nearest(one).by_pixels

    def cells(image: np.ndarray) -> np.ndarray:
        grey = np.rint(image @ np.array([0.299, 0.587, 0.114]))
        return grey.reshape(16, 3, 16, 3).mean(axis=(1, 3)).ravel()

    seen = one[:, ::-1] if found.mirrored else one
    expected = np.corrcoef(cells(seen), cells(other))[0, 1]
    assert found.correlation == pytest.approx(expected, abs=1e-3)  # grey rounds halves up


@pytest.mark.parametrize("size", [12, 36, 60])
def test_sides_that_sixteen_does_not_divide(size: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    found = Copies(lambda i: images[i], np.arange(5), size).nearest(images[4]).by_pixels
    assert (found.patch_id, found.psnr_db) == (4, math.inf)


def test_of_patches_that_are_nearly_alike_the_copy_is_found() -> None:
    rng = np.random.default_rng(5)
    seen = np.full((40, SIZE, SIZE, 3), 60, dtype=np.uint8)
    seen[:, 24:] = 200  # all alike but for a little texture
    seen += rng.integers(0, 12, (40, 6, 6, 1), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    copies = Copies(lambda i: seen[i], np.arange(40), SIZE)
    assert [copies.nearest(seen[i]).by_pixels.patch_id for i in range(40)] == list(range(40))


def test_the_same_shapes_in_other_light_are_no_copy() -> None:
    """The thumbnail correlates whatever the contrast; the pixels decide."""
    image = scene(3)
    found = Copies(lambda i: image // 4, np.array([0]), SIZE).nearest(image).by_pixels
    assert found.correlation > 0.99
    assert found.psnr_db < 10
    assert not found.near_copy


def test_the_nearest_by_thumbnail_need_not_be_the_nearest_by_pixels(copies: Copies) -> None:
    """A patch in other light has the same shapes and other pixels."""
    rng = np.random.default_rng(2)
    image = np.clip(scene(0).astype(float) + rng.normal(0, 60, (SIZE, SIZE, 3)), 0, 255)
    image = image.astype(np.uint8)
    seen = np.stack([image // 4, scene(0), *PATCHES[10:20]])
    found = Copies(lambda i: seen[i - 5], np.arange(5, 17), SIZE).nearest(image)
    assert (found.by_thumbnail.patch_id, found.by_pixels.patch_id) == (5, 6)
    assert found.by_thumbnail.correlation > found.by_pixels.correlation
    assert found.by_thumbnail.psnr_db < found.by_pixels.psnr_db


def test_the_nearest_by_thumbnail_is_so_among_all(copies: Copies) -> None:
    for seed in range(100, 105):
        found = copies.nearest(scene(seed)).by_thumbnail
        each = [
            Copies(lambda i: PATCHES[i - 100], np.array([i]), SIZE)
            .nearest(scene(seed))
            .by_thumbnail.correlation
            for i in IDS
        ]
        assert found.patch_id == IDS[np.argmax(each)]
        assert found.correlation == pytest.approx(max(each), abs=1e-6)
