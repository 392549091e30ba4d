"""Gradient scores against loops over pixels, and against closed forms on ramps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
from srprune.core.config import ExtractConfig  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.data.patches import PatchPool  # noqa: E402
from srprune.scoring.gradient import Laplacian, Sobel, greys  # noqa: E402
from srprune.stages.extract import ImageSource, extract  # noqa: E402
from srprune.stages.pool import open_pool  # noqa: E402

SIZE = 24
SLOPE = 7  # grey levels a px
RAMP = np.repeat(SLOPE * np.arange(SIZE)[None], SIZE, axis=0)  # 0 to 161, rising to the right


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[:, :, None], 3, axis=2).astype(np.uint8)


@pytest.fixture
def pool(tmp_path: Path) -> PatchPool:
    """One patch an image, in the order of their names."""
    rng = np.random.default_rng(0)
    checks = 255 * (np.add.outer(np.arange(SIZE), np.arange(SIZE)) % 2)
    pictures = {
        "a_flat": grey(np.full((SIZE, SIZE), 200)),
        "b_ramp": grey(RAMP),
        "c_ramp_down": grey(RAMP.T[::-1]),
        "d_checks": grey(checks),
        "e_noise": rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8),
        "f_noise": rng.integers(90, 140, (SIZE, SIZE, 3), dtype=np.uint8),
    }
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(folder)), ExtractConfig(size=SIZE, stride=SIZE), workspace)
    return open_pool(workspace, 2)


def reflect_101(i: int) -> int:
    """gfedcb|abcdefgh|gfedcba: the rim pixel itself is not repeated."""
    return -i if i < 0 else 2 * (SIZE - 1) - i if i >= SIZE else i


def filtered(patch: np.ndarray, kernel: list[list[int]]) -> np.ndarray:
    """A 3x3 correlation, pixel by pixel."""
    result = np.zeros((SIZE, SIZE))
    for y in range(SIZE):
        for x in range(SIZE):
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    value = patch[reflect_101(y + dy), reflect_101(x + dx)]
                    result[y, x] += kernel[dy + 1][dx + 1] * value
    return result


def grey_of(rgb: np.ndarray) -> np.ndarray:
    """As OpenCV's RGB2GRAY: eight bit, rounded."""
    red, green, blue = rgb.astype(np.float64).transpose(2, 0, 1)
    return np.floor(0.299 * red + 0.587 * green + 0.114 * blue + 0.5)


SOBEL_X = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
SOBEL_Y = [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
LAPLACE = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]


def test_sobel_equals_the_loop(pool: PatchPool) -> None:
    ids = np.arange(len(pool))
    expected = []
    for patch in pool.hr_patches(ids):
        gx, gy = (filtered(grey_of(patch), kernel) for kernel in (SOBEL_X, SOBEL_Y))
        expected.append(np.mean(0.5 * np.abs(gx) + 0.5 * np.abs(gy)))
    np.testing.assert_allclose(Sobel()(ids, pool), expected, rtol=1e-12, atol=1e-12)


def test_laplacian_equals_the_loop(pool: PatchPool) -> None:
    ids = np.arange(len(pool))
    expected = [np.abs(filtered(grey_of(patch), LAPLACE)).mean() for patch in pool.hr_patches(ids)]
    np.testing.assert_allclose(Laplacian()(ids, pool), expected, rtol=1e-12, atol=1e-12)


def test_greys_are_the_eight_bit_greys(pool: PatchPool) -> None:
    ids = np.array([4, 1])
    for ours, patch in zip(greys(ids, pool), pool.hr_patches(ids), strict=True):
        assert ours.dtype == np.float64
        assert np.array_equal(ours, grey_of(patch))
    assert np.array_equal(greys(np.array([1]), pool)[0], RAMP)


def test_flat_patches_have_no_gradient(pool: PatchPool) -> None:
    flat = np.array([0])
    assert Sobel()(flat, pool) == Laplacian()(flat, pool) == [0.0]


def test_ramps_have_the_gradient_of_the_closed_form(pool: PatchPool) -> None:
    ramps = np.array([1, 2])  # rising to the right, and upwards: the score knows no direction
    # 8 * slope in one direction, but zero in the two mirrored columns, and the mean of two
    sobel = 8 * SLOPE * (SIZE - 2) / SIZE / 2
    np.testing.assert_allclose(Sobel()(ramps, pool), [sobel, sobel], rtol=1e-12)
    # zero but in the two mirrored columns, where both neighbours are a slope apart
    laplacian = 2 * SLOPE * 2 / SIZE
    np.testing.assert_allclose(Laplacian()(ramps, pool), [laplacian, laplacian], rtol=1e-12)


def test_checks_are_invisible_to_sobel_and_extreme_to_the_laplacian(pool: PatchPool) -> None:
    checks = np.array([3])
    assert Sobel()(checks, pool) == [0.0]
    assert Laplacian()(checks, pool) == [4 * 255.0]


def test_scores_do_not_depend_on_the_scale_of_lr(tmp_path: Path, pool: PatchPool) -> None:
    ids = np.arange(len(pool))
    other = open_pool(Workspace(tmp_path / "workspace"), 3)
    assert np.array_equal(Sobel()(ids, pool), Sobel()(ids, other))
