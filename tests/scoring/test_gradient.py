"""Gradient scores against loops over pixels, and against closed forms on ramps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

torch = pytest.importorskip("torch")
from srprune.core.config import ExtractConfig  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.data.patches import PatchPool  # noqa: E402
from srprune.scoring.gradient import Laplacian, Sobel, SwappedSobel  # noqa: E402
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
    for ours, patch in zip(Sobel().greys(ids, pool), pool.hr_patches(ids), strict=True):
        assert ours.dtype == np.uint8
        assert np.array_equal(ours, grey_of(patch))


def test_the_swapped_grey_weighs_red_as_blue(pool: PatchPool) -> None:
    ids = np.arange(len(pool))
    for ours, patch in zip(SwappedSobel().greys(ids, pool), pool.hr_patches(ids), strict=True):
        assert np.array_equal(ours, grey_of(patch[..., ::-1]))
    ordinary, swapped = Sobel()(ids, pool), SwappedSobel()(ids, pool)
    assert np.array_equal(ordinary[:4], swapped[:4])  # these pictures have no colour
    assert (ordinary[4:] != swapped[4:]).all()


def test_the_order_of_patches_and_the_batch_do_not_matter(tmp_path: Path, images: Path) -> None:
    workspace = Workspace(tmp_path / "other")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), workspace)
    pool = open_pool(workspace, 2)
    ids = np.arange(len(pool))
    shuffled = np.random.default_rng(0).permutation(ids)  # images come and go and come again
    for scorer in (Sobel(), SwappedSobel(), Laplacian()):
        alone = np.concatenate([type(scorer)()(ids[i : i + 1], pool) for i in ids])
        assert np.array_equal(scorer(ids, pool), alone)
        assert np.array_equal(scorer(shuffled, pool), alone[shuffled])
        assert scorer(ids[:0], pool).shape == (0,)


def test_a_scorer_does_not_take_one_pool_for_another(tmp_path: Path, pool: PatchPool) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.new("RGB", (SIZE, SIZE), (9, 9, 9)).save(flat / "flat.png")
    workspace = Workspace(tmp_path / "second")
    extract(ImageSource.find(str(flat)), ExtractConfig(size=SIZE, stride=SIZE), workspace)
    scorer = Laplacian()
    first = np.array([4])  # noise
    assert scorer(first, pool) > 0
    assert scorer(np.array([0]), open_pool(workspace, 2)) == [0.0]
    assert scorer(first, pool) > 0


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 140), st.integers(0, 2**32 - 1))
def test_exact_on_patches_of_any_size(size: int, seed: int) -> None:
    """Against scipy in float64; the rows are filtered in blocks, whose seams must not show."""
    grey = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
    wide = grey.astype(np.float64)
    gx, gy = (ndimage.sobel(wide, axis=axis, mode="mirror") for axis in (1, 0))
    expected = (int(np.abs(gx).sum()) + int(np.abs(gy).sum())) / grey.size / 2
    assert Sobel().score(grey) == expected
    expected = int(np.abs(ndimage.laplace(wide, mode="mirror")).sum()) / grey.size
    assert Laplacian().score(grey) == expected


def test_the_strongest_edges_do_not_overflow() -> None:
    stripes = np.zeros((12, 12), np.uint8)
    stripes[:, ::4] = stripes[:, 1::4] = 255  # two px wide: every px but the mirrored ones edges
    wide = stripes.astype(np.float64)
    gx = np.abs(ndimage.sobel(wide, axis=1, mode="mirror"))
    assert gx.max() == 4 * 255
    assert Sobel().score(stripes) == gx.mean() / 2


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
