"""What a bicubic round trip takes away: how the published code finds windows of high gradient.

Cho et al. (IEEE SPL 32, 2025) write "high-gradient patches"; their code (sunwoocho/SRDD at
ac996db7, ``1_select_patches.py``) shrinks the grey of a window by 4, enlarges it again, and keeps
the window where the PSNR is below 23 dB. Grey is Pillow's "L". The resize is OpenCV's INTER_CUBIC,
cubic with a = -0.75 and the edge repeated, and no antialias: another one than MATLAB's, which LR is
made with (:mod:`srprune.images.bicubic`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from srprune.data.patches import Ids, PatchPool, Pixels

METHOD = "round_trip"
SCALE = 4
TABLE = f"{METHOD}_x{SCALE}"  # name of the score table
BELOW = 23.0  # dB, of the published code
PEAK = 255.0

Float = npt.NDArray[np.float64]


class RoundTrip:
    """Mean square of what the round trip takes away from the grey of a patch; more is harder."""

    def __call__(self, ids: Ids, pool: PatchPool) -> Float:
        """(B,) float64, in grey levels squared."""
        size = pool.index.size
        return np.array([round_trip_mse(pool.hr_crop(int(i), 0, 0, size)) for i in ids])


def round_trip_mse(rgb: Pixels) -> float:
    """Mean squared error of the round trip of (H, W, 3) uint8, sides multiples of 4.

    In float64, where the published code has float32: the two differ by less than 1e-5 dB.
    """
    grey_HW = np.asarray(Image.fromarray(rgb).convert("L"), dtype=np.float64)
    grey_11HW = torch.from_numpy(grey_HW)[None, None]
    return float((grey_11HW - round_trip(grey_11HW)).square().mean())


def round_trip(x_BCHW: Tensor, scale: int = SCALE) -> Tensor:
    """Shrink by ``scale`` and enlarge to the size of before; nothing is rounded or clipped."""
    height, width = x_BCHW.shape[2:]
    small_BChw = _resized(x_BCHW, height // scale, width // scale)
    return _resized(small_BChw, height, width)


def psnr_of(mse: npt.ArrayLike) -> Float:
    """PSNR of mean squared errors in grey levels, dB; infinite where nothing was taken away."""
    with np.errstate(divide="ignore"):
        return np.asarray(20 * np.log10(PEAK / np.sqrt(np.asarray(mse, dtype=np.float64))))


def _resized(x_BCHW: Tensor, height: int, width: int) -> Tensor:
    """What cv2.resize with INTER_CUBIC computes of floats."""
    given: dict[str, Any] = {"mode": "bicubic", "align_corners": False, "antialias": False}
    return functional.interpolate(x_BCHW, (height, width), **given)
