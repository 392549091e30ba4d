"""Descriptors: each patch as if it were cut out and looked at alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from srprune.core.errors import UnknownName
from srprune.images.color import rgb_to_grey8
from srprune.images.descriptors import FEATURES, Descriptor, Sums, gradient, texture
from srprune.images.grid import windows

SIZE = 36
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (84, 120, 3), dtype=np.uint8)
CORNERS = windows(84, 120, SIZE, 24)


def of_all(descriptor: Descriptor, image: npt.NDArray[np.uint8] = IMAGE) -> npt.NDArray[np.float32]:
    return descriptor.compute(image, CORNERS[:, 0], CORNERS[:, 1], SIZE)


def patches(image: npt.NDArray[np.uint8] = IMAGE) -> list[npt.NDArray[np.uint8]]:
    return [image[top : top + SIZE, left : left + SIZE] for top, left in CORNERS]


@pytest.mark.parametrize("name", list(FEATURES))
def test_a_patch_has_the_same_descriptor_wherever_it_is_cut_from(name: str) -> None:
    descriptor: Descriptor = FEATURES.load(name)
    together = of_all(descriptor)
    assert together.dtype == np.float32
    assert together.shape == (len(CORNERS), len(descriptor.names))
    assert len(set(descriptor.names)) == len(descriptor.names) and np.isfinite(together).all()
    zero = np.zeros(1, dtype=int)
    alone = [descriptor.compute(patch, zero, zero, SIZE)[0] for patch in patches()]
    assert np.array_equal(together, np.stack(alone))  # whole numbers inside: equal, not near


def test_gradient_is_mean_and_deviation_of_neighbours() -> None:
    for patch, found in zip(patches(), of_all(gradient), strict=True):
        grey = rgb_to_grey8(patch).astype(float)
        across, down = np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0))
        expected = [across.mean(), across.std(), down.mean(), down.std()]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_texture_is_the_log_of_mean_differences_in_four_directions() -> None:
    for patch, found in zip(patches(), of_all(texture), strict=True):
        grey = rgb_to_grey8(patch).astype(float)
        expected = []
        for scale in (1, 2, 4):
            side = SIZE // scale
            small = grey.reshape(side, scale, side, scale).mean(axis=(1, 3))
            expected += [
                np.abs(small[:, 1:] - small[:, :-1]).mean(),
                np.abs(small[1:] - small[:-1]).mean(),
                np.abs(small[1:, 1:] - small[:-1, :-1]).mean(),
                np.abs(small[1:, :-1] - small[:-1, 1:]).mean(),
            ]
        np.testing.assert_allclose(found, np.log1p(expected), rtol=1e-6)


def test_texture_tells_directions_apart() -> None:
    y, x = np.mgrid[:84, :120]
    for way, values in {"right": x, "down": y, "rising": x - y, "falling": x + y}.items():
        stripes = np.repeat((((values // 2) % 2) * 200).astype(np.uint8)[..., None], 3, axis=2)
        found = dict(zip(texture.names, of_all(texture, stripes)[0], strict=True))
        along = {"right": "down", "down": "right", "rising": "falling", "falling": "rising"}[way]
        across = {"right": "right", "down": "down", "rising": "rising", "falling": "falling"}[way]
        assert found[f"{across}_x1"] > found[f"{along}_x1"], way


def test_a_flat_patch_has_nothing() -> None:
    flat = np.full_like(IMAGE, 77)
    assert not of_all(texture, flat).any() and not of_all(gradient, flat).any()


def test_sums_are_those_of_slices() -> None:
    values = RNG.integers(-9, 9, (20, 30))
    tops, lefts = RNG.integers(0, 10, (2, 50))
    bottoms, rights = tops + RNG.integers(0, 10, 50), lefts + RNG.integers(0, 20, 50)
    expected = [
        values[t:b, left:right].sum()
        for t, left, b, right in zip(tops, lefts, bottoms, rights, strict=True)
    ]
    assert Sums(values).over(tops, lefts, bottoms, rights).tolist() == expected


def test_an_unknown_descriptor_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="Did you mean: texture"):
        FEATURES.load("textur")
