"""PSNR-Y and SSIM-Y of two uint8 RGB images: srprune against BasicSR's pair of functions.

    OMP_NUM_THREADS=1 python scripts/bench_metrics.py [--images FOLDER] [--rounds 15]

BasicSR's ``calculate_psnr`` and ``calculate_ssim`` with ``test_y_channel`` are written out here,
with OpenCV where it is installed, which they need; else scipy takes the place of its filter, and
that is said. Images are those of a folder, or the photographs inside scikit-image, beside their
bicubic reconstruction at x2. The ways take turns, and CPU time counts, of all threads. Ratios are
paired round by round, median [least..most].
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.metrics import structural_similarity

from srprune.evaluation.metrics import psnr, psnr_ssim_y, ssim
from srprune.images import bicubic
from srprune.images.benchmarks import PHOTOS_TRAIN, photos_folder
from srprune.images.color import rgb_to_y
from srprune.images.decode import decode, list_images

HAS_CV2 = importlib.util.find_spec("cv2") is not None
if HAS_CV2:
    import cv2

    cv2.setNumThreads(1)

Figures = tuple[float, float]


def basicsr(bgr: np.ndarray, bgr2: np.ndarray) -> Figures:
    """``calculate_psnr`` and ``calculate_ssim``, the border cut off: each takes Y for itself."""
    a, b = (to_y_channel(image).astype(np.float64) for image in (bgr, bgr2))
    mse = np.mean((a - b) ** 2)
    decibels = 10.0 * np.log10(255.0 * 255.0 / mse)
    a, b = (to_y_channel(image).astype(np.float64) for image in (bgr, bgr2))
    return float(decibels), float(np.mean([basicsr_ssim(a[..., 0], b[..., 0])]))


def to_y_channel(bgr: np.ndarray) -> np.ndarray:
    """BasicSR's, with its ``bgr2ycbcr(img, y_only=True)``."""
    image = bgr.astype(np.float32) / 255.0
    y = np.dot(image, [24.966, 128.553, 65.481]) + 16.0
    return (y / 255.0).astype(np.float32)[..., None] * 255.0


def basicsr_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """BasicSR's ``_ssim``."""
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = valid_filter(a), valid_filter(b)
    square_a, square_b, product = mean_a**2, mean_b**2, mean_a * mean_b
    var_a = valid_filter(a**2) - square_a
    var_b = valid_filter(b**2) - square_b
    cov = valid_filter(a * b) - product
    similarity = ((2 * product + c1) * (2 * cov + c2)) / (
        (square_a + square_b + c1) * (var_a + var_b + c2)
    )
    return float(similarity.mean())


def valid_filter(image: np.ndarray) -> np.ndarray:
    if HAS_CV2:
        kernel = cv2.getGaussianKernel(11, 1.5)
        filtered = cv2.filter2D(image, -1, np.outer(kernel, kernel.transpose()))
    else:  # separable, to be fair: filter2D takes a Fourier transform
        filtered = ndimage.gaussian_filter(image, 1.5, radius=5, mode="mirror")
    return filtered[5:-5, 5:-5]


def scikit_image(rgb: np.ndarray, rgb2: np.ndarray) -> Figures:
    a, b = rgb_to_y(rgb), rgb_to_y(rgb2)
    similarity = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    return psnr(a, b), similarity


def in_double(rgb: np.ndarray, rgb2: np.ndarray) -> Figures:
    a, b = rgb_to_y(rgb), rgb_to_y(rgb2)
    return psnr(a, b), ssim(a, b)


WAYS: dict[str, Callable[[np.ndarray, np.ndarray], Figures]] = {
    "BasicSR": lambda a, b: basicsr(a[..., ::-1], b[..., ::-1]),
    "scikit-image": scikit_image,
    "srprune, double": in_double,
    "srprune": psnr_ssim_y,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="folder; the first eight are taken")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    folder = arguments.images or photos_folder()
    names = list_images(folder) if arguments.images else PHOTOS_TRAIN
    pairs = []
    for name in names[:8]:
        hr = decode(folder / name)
        if hr.ndim == 3:
            hr = bicubic.modcrop(hr, 2)
            pairs.append((bicubic.upscale(bicubic.downscale(hr, 2), 2), np.ascontiguousarray(hr)))
    pixels = sum(hr.size // 3 for _, hr in pairs)
    print(f"{len(pairs)} images, {pixels / 1e6:.2f} Mpx")
    print(f"BasicSR's filter by {f'OpenCV {cv2.__version__}' if HAS_CV2 else 'scipy'}")
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    figures: dict[str, np.ndarray] = {}
    for number in range(arguments.rounds + 1):
        for way in list(WAYS) if number % 2 else list(reversed(WAYS)):
            started = time.process_time()
            figures[way] = np.array([WAYS[way](sr, hr) for sr, hr in pairs])
            if number:  # the first round warms up
                seconds[way].append(time.process_time() - started)
    print("way              ms a Mpx   ratio to BasicSR        PSNR and SSIM off double by")
    for way, times in seconds.items():
        ratios = np.divide(seconds["BasicSR"], times)
        off = np.abs(figures[way] - figures["srprune, double"]).max(axis=0)
        print(
            f"{way:16} {1e9 * np.median(times) / pixels:8.1f}   {np.median(ratios):6.2f} "
            f"[{ratios.min():.2f}..{ratios.max():.2f}]   {off[0]:12.1e} {off[1]:8.1e}"
        )


if __name__ == "__main__":
    main()
