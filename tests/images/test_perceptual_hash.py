"""dHash: brighter or less bright than the neighbour, and little else."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from srprune.images.color import rgb_to_grey8
from srprune.images.perceptual_hash import dhash

SIZE = 48
RNG = np.random.default_rng(0)
ZERO = np.zeros(1, dtype=int)


def bits_of(patch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return dhash.compute(patch, ZERO, ZERO, len(patch))[0]


def smooth(seed: int) -> npt.NDArray[np.uint8]:
    """A patch with forms of some pixels' width."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def by_hand(patch: npt.NDArray[np.uint8]) -> list[bool]:
    grey = rgb_to_grey8(patch).astype(float)
    rows = np.array_split(np.arange(len(grey)), 8)
    edges = [c * len(grey) // 9 for c in range(10)]
    cells = [[grey[row][:, a:b].mean() for a, b in pairwise(edges)]
             for row in rows]  # fmt: skip
    return [left < right for row in cells for left, right in pairwise(row)]


@pytest.mark.parametrize("seed", range(5))
def test_bits_compare_means_of_neighbouring_cells(seed: int) -> None:
    bits = bits_of(smooth(seed))
    assert bits.shape == (64,) and set(bits.tolist()) == {0.0, 1.0}
    assert bits.astype(bool).tolist() == by_hand(smooth(seed))


@pytest.mark.parametrize("seed", range(5))
def test_it_hardly_notices_noise_or_light(seed: int) -> None:
    patch = smooth(seed)
    noisy = (patch + RNG.normal(0, 4, patch.shape)).clip(0, 255).astype(np.uint8)
    darker = (patch // 2 + 20).astype(np.uint8)
    for changed in (noisy, darker):
        assert np.abs(bits_of(patch) - bits_of(changed)).sum() <= 4
    far = [np.abs(bits_of(patch) - bits_of(smooth(other))).sum() for other in range(100, 110)]
    assert min(far) > 10


def test_a_flat_patch_and_a_ramp() -> None:
    assert not bits_of(np.full((SIZE, SIZE, 3), 9, np.uint8)).any()
    ramp = np.broadcast_to(np.arange(SIZE, dtype=np.uint8)[None, :, None], (SIZE, SIZE, 3))
    assert bits_of(ramp).all()
    assert not bits_of(ramp[:, ::-1]).any()


def test_names_are_row_and_column() -> None:
    assert dhash.names[0] == "bit_00" and dhash.names[8] == "bit_10" and len(dhash.names) == 64
