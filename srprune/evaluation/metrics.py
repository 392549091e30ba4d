"""PSNR and SSIM of two images of one channel, in double precision.

Nothing is inferred: values are on the scale 0..255, and the caller has cropped the border.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

PEAK = 255.0
_K1, _K2 = 0.01, 0.03
_SIGMA, _RADIUS = 1.5, 5  # an 11x11 window

Image = npt.NDArray[np.float64]


def psnr(a: Image, b: Image) -> float:
    """Peak signal-to-noise ratio, dB; infinite for equal images.

    Args:
        a: (H, W) float64 on the scale 0..255.
        b: the same shape.
    """
    mse = float(np.mean((a - b) ** 2))
    return 10 * math.log10(PEAK**2 / mse) if mse else math.inf


def ssim(a: Image, b: Image) -> float:
    """Structural similarity of Wang et al. 2004, the mean of the map; 1 for equal images.

    11x11 Gaussian window with sigma 1.5, only where it fits whole ("valid"), population
    covariance, K = (0.01, 0.03): as in the authors' MATLAB code, RCAN, BasicSR and KAIR.

    Args:
        a: (H, W) float64 on the scale 0..255, sides of at least 11 px.
        b: the same shape.
    """
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = _blur(a * a) - mean_a**2
    var_b = _blur(b * b) - mean_b**2
    cov = _blur(a * b) - mean_a * mean_b
    c1, c2 = (_K1 * PEAK) ** 2, (_K2 * PEAK) ** 2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * cov + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    return float(similarity.mean())


def _blur(image: Image) -> Image:
    """Gaussian mean of every whole 11x11 window."""
    offsets = np.arange(-_RADIUS, _RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    for axis in (0, 1):
        image = ndimage.correlate1d(image, weights, axis=axis)
    return image[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
