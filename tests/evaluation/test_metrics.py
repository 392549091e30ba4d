"""PSNR and SSIM against scikit-image, and on images whose figures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srprune.evaluation.metrics import psnr, ssim
from srprune.images import bicubic

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


@settings(deadline=None)
@given(sides, sides, seeds, st.booleans(), st.floats(0.1, 80))
def test_psnr_equals_scikit_image(
    height: int, width: int, seed: int, smooth: bool, noise: float
) -> None:
    a, b = pair(height, width, seed, smooth, noise)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-9)
    assert psnr(b, a) == psnr(a, b)


@settings(deadline=None, max_examples=50)
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


@settings(deadline=None)
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
