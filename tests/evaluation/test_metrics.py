"""PSNR and SSIM against scikit-image, and on images whose figures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srprune.evaluation.metrics import psnr, psnr_ssim_y, ssim
from srprune.images import bicubic
from srprune.images.color import COEFFICIENTS, rgb_to_y

# The two images and figures of docs/protocol.md, computed with MATLAB's definitions.
ROW, COL = np.mgrid[:24, :24]
PATTERN = ((7 * ROW * ROW + 13 * COL + 5 * ROW * COL) % 256).astype(np.uint8)
SMOOTH = np.floor(128 + 60 * np.sin(ROW / 3.1) * np.cos(COL / 2.3) + 0.5).astype(np.uint8)

sides = st.integers(11, 40)
seeds = st.integers(0, 2**32 - 1)


def pair(height: int, width: int, seed: int, smooth: bool, noise: float) -> tuple[np.ndarray, ...]:
    """An image of noise or of waves, and the same image disturbed."""
    rng = np.random.default_rng(seed)
    if smooth:
        y, x = np.mgrid[:height, :width] / rng.uniform(2, 20)
        image = 127.5 + 100 * np.sin(y + rng.uniform(0, 6)) * np.cos(x)
    else:
        image = rng.uniform(0, 255, (height, width))
    return image, image + noise * rng.standard_normal((height, width))


@given(sides, sides, seeds, st.booleans(), st.floats(0.1, 80))
def test_psnr_equals_scikit_image(
    height: int, width: int, seed: int, smooth: bool, noise: float
) -> None:
    a, b = pair(height, width, seed, smooth, noise)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-9)
    assert psnr(b, a) == psnr(a, b)


@settings(max_examples=50)
@given(sides, sides, seeds, st.booleans(), st.floats(0.1, 80))
def test_ssim_equals_scikit_image_where_the_window_fits(
    height: int, width: int, seed: int, smooth: bool, noise: float
) -> None:
    a, b = pair(height, width, seed, smooth, noise)
    _, whole = structural_similarity(
        a,
        b,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
    )
    assert ssim(a, b) == pytest.approx(whole[5:-5, 5:-5].mean(), abs=1e-6)
    assert ssim(b, a) == pytest.approx(ssim(a, b), abs=1e-12)


@given(sides, sides, seeds, st.booleans())
def test_identical_images(height: int, width: int, seed: int, smooth: bool) -> None:
    image, _ = pair(height, width, seed, smooth, 1)
    assert psnr(image, image.copy()) == math.inf
    assert ssim(image, image.copy()) == pytest.approx(1, abs=1e-12)


def test_psnr_by_hand() -> None:
    black, grey = np.zeros((4, 4)), np.zeros((4, 4))
    grey[0, 0] = 8  # MSE 64 / 16 = 4
    assert psnr(black, grey) == pytest.approx(10 * math.log10(255**2 / 4), abs=1e-12)
    assert psnr(black, np.full((4, 4), 255.0)) == 0


def test_ssim_of_flat_images_compares_their_means() -> None:
    a, b = np.full((12, 13), 100.0), np.full((12, 13), 120.0)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert ssim(a, b) == pytest.approx(expected, abs=1e-9)


def test_ssim_of_a_negative_is_negative() -> None:
    a, _ = pair(30, 30, 0, False, 1)
    assert ssim(a, 255 - a) < -0.5


def test_smallest_image_is_one_window() -> None:
    a, b = pair(11, 11, 3, False, 20)
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
    var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
    cov = (weights * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = 2.55**2, 7.65**2
    expected = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    expected /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    assert ssim(a, b) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("image", "border", "expected_psnr", "expected_ssim"),
    [
        (PATTERN, 0, 11.523608, 0.147662),
        (SMOOTH, 0, 43.710145, 0.999392),
        (SMOOTH, 2, 48.811142, 0.999437),
    ],
    ids=["pattern", "smooth", "smooth without border"],
)
def test_published_figures_of_bicubic_there_and_back(
    image: np.ndarray, border: int, expected_psnr: float, expected_ssim: float
) -> None:
    back = bicubic.upscale(bicubic.downscale(image, 2), 2)
    inner = slice(border, 24 - border)
    a, b = (x[inner, inner].astype(np.float64) for x in (image, back))
    assert round(psnr(a, b), 6) == expected_psnr
    assert round(ssim(a, b), 6) == expected_ssim


def rgb_pair(height: int, width: int, seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """An RGB image with flat, smooth and noisy parts, and the same image disturbed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = [rng.uniform(0, 255) + 90 * np.sin(y / (3 + c)) * np.cos(x / 5) for c in range(3)]
    image = np.stack(planes, axis=2) + rng.uniform(0, 60, 3) * rng.standard_normal(
        (height, width, 3)
    )
    image[: height // 3] = rng.integers(0, 256, 3)
    other = image + noise * rng.standard_normal(image.shape)
    return tuple(np.clip(np.round(x), 0, 255).astype(np.uint8) for x in (image, other))


def assert_as_in_double(a: np.ndarray, b: np.ndarray) -> None:
    """Against scikit-image on Y in float64."""
    found_psnr, found_ssim = psnr_ssim_y(a, b)
    a_y, b_y = rgb_to_y(a), rgb_to_y(b)
    _, whole = structural_similarity(
        a_y,
        b_y,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
    )
    terms = np.abs(a.astype(np.float64) - b) @ np.array(COEFFICIENTS[0]) / 255
    close = 1e-10 if terms.max() < 65 else 1e-6
    expected = peak_signal_noise_ratio(a_y, b_y, data_range=255)
    assert found_psnr == pytest.approx(expected, abs=close)
    assert found_ssim == pytest.approx(whole[5:-5, 5:-5].mean(), abs=1e-6)


@given(st.integers(11, 90), st.integers(11, 90), seeds, st.floats(0.3, 80))
@example(11, 39, 107105365, 38.75)  # Y differs little, its terms do not
def test_y_of_rgb_is_within_a_millionth_of_double_precision(
    height: int, width: int, seed: int, noise: float
) -> None:
    a, b = rgb_pair(height, width, seed, noise)
    if np.array_equal(a, b):
        return
    assert_as_in_double(a, b)
    assert psnr_ssim_y(b, a) == psnr_ssim_y(a, b)


@pytest.mark.parametrize("height", [73, 74, 75, 106])  # a tile has 64 rows and its margin
@pytest.mark.parametrize("width", [265, 266, 267, 299])  # and 256 columns
def test_the_seams_of_tiles_do_not_show(height: int, width: int) -> None:
    a, b = rgb_pair(height, width, height + width, 12)
    assert_as_in_double(a, b)
    a_y, b_y = rgb_to_y(a), rgb_to_y(b)
    _, whole = structural_similarity(
        a_y,
        b_y,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
    )
    assert ssim(a_y, b_y) == pytest.approx(whole[5:-5, 5:-5].mean(), abs=1e-12)


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_y_of_one_changed_pixel(level: int) -> None:
    """In flat images errors of rounding add up, and all the rest cancels."""
    a = np.full((60, 70, 3), level, np.uint8)
    b = a.copy()
    b[30, 35, 1] = abs(level - 1)
    assert_as_in_double(a, b)


def test_y_of_opposites() -> None:
    a, _ = rgb_pair(50, 60, 5, 1)
    assert_as_in_double(a, 255 - a)
    assert_as_in_double(np.zeros_like(a), np.full_like(a, 255))
    assert psnr_ssim_y(a, 255 - a)[1] < 0


def test_y_of_identical_images() -> None:
    a, _ = rgb_pair(64, 80, 4, 1)
    assert psnr_ssim_y(a, a.copy()) == (math.inf, 1.0)


def test_y_of_a_view_is_that_of_its_copy() -> None:
    a, b = rgb_pair(60, 70, 6, 9)
    inner = (slice(2, -2), slice(2, -2))  # a border is cut off by slicing
    assert psnr_ssim_y(a[inner], b[inner]) == psnr_ssim_y(a[inner].copy(), b[inner].copy())
