"""Protocols: the versioned lists of choices behind a figure. Figures of two do not compare.

``rgb8@1`` (RCAN, EDSR, BasicSR, KAIR, SwinIR): LR is the 8-bit RGB image that MATLAB's imresize
makes of the mod-cropped 8-bit HR; SR is clipped and rounded to 8-bit RGB; Y is computed from both
8-bit images and not rounded.

``y@1`` (SRCNN, FSRCNN, VDSR, DRRN, IDN; the published bicubic row): Y of the 8-bit HR, rounded to
8 bit; LR is MATLAB's imresize of that Y in floating point, not rounded; SR is clipped and rounded
to 8 bit.

Both: HR is cut to a multiple of the scale before anything else; ``scale`` px at each edge are
left out of PSNR and SSIM. A grey HR image is its own Y: it is measured as it is, never turned into
RGB first. BT.601 luma, 16 to 235.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from srprune.core.errors import InputError
from srprune.core.restorer import LumaRestorer, Restorer
from srprune.evaluation.metrics import psnr, psnr_ssim_y, ssim
from srprune.images import bicubic
from srprune.images.color import rgb_to_y8

Pixels = npt.NDArray[np.uint8]

SMALLEST = 11  # px of the SSIM window


@dataclass(frozen=True)
class Figures:
    """What is measured of one image, and the SR image itself.

    Attributes:
        psnr_y: dB.
        ssim_y: at most 1.
        sr: (H, W, 3) or (H, W) uint8.
    """

    psnr_y: float
    ssim_y: float
    sr: Pixels


def measure_rgb8(restorer: Restorer, hr: Pixels, device: torch.device) -> Figures:
    """Measure a restorer on one image under ``rgb8@1``.

    Args:
        restorer: the model.
        hr: (H, W, 3) or, grey, (H, W) uint8.
        device: where the restorer is.
    """
    hr = _fitting(hr, restorer.scale)
    lr = bicubic.downscale(hr, restorer.scale)
    lr_rgb = lr if lr.ndim == 3 else np.repeat(lr[:, :, None], 3, axis=2)
    lr_B3hw = torch.from_numpy(lr_rgb.transpose(2, 0, 1)[None].copy()).to(device)
    with torch.inference_mode():
        sr_rgb = restorer(lr_B3hw.float() / 255)[0].permute(1, 2, 0).cpu().numpy()
    sr = to_uint8(sr_rgb * 255.0)
    if hr.ndim == 2:
        sr = to_uint8(sr.mean(axis=2))
        return _compare(sr.astype(np.float64), hr.astype(np.float64), sr, restorer.scale)
    inner = (slice(restorer.scale, -restorer.scale),) * 2
    return Figures(*psnr_ssim_y(sr[inner], hr[inner]), sr)


def measure_y(restorer: Restorer, hr: Pixels, device: torch.device) -> Figures:
    """Measure a restorer on one image under ``y@1``; arguments as :func:`measure_rgb8`.

    Raises:
        InputError: the restorer works on RGB only.
    """
    if not isinstance(restorer, LumaRestorer):
        raise InputError(
            f"{restorer.name} works on RGB; y@1 measures models of Y. Use --protocol rgb8@1."
        )
    y = _fitting(hr if hr.ndim == 2 else rgb_to_y8(hr), restorer.scale)
    lr = bicubic.downscale(y / 255.0, restorer.scale)
    dtype = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
    lr_11hw = torch.from_numpy(lr[None, None]).to(device, dtype)
    with torch.inference_mode():
        sr = to_uint8(restorer.luma(lr_11hw)[0, 0].cpu().numpy() * 255.0)
    return _compare(sr.astype(np.float64), y.astype(np.float64), sr, restorer.scale)


PROTOCOLS: dict[str, Callable[[Restorer, Pixels, torch.device], Figures]] = {
    "rgb8@1": measure_rgb8,
    "y@1": measure_y,
}


def to_uint8(values: npt.NDArray[np.floating[Any]]) -> Pixels:
    """Values on the scale 0..255, rounded half up and clipped, as MATLAB does."""
    rounded: Pixels = np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
    return rounded


def check_size(height: int, width: int, scale: int) -> None:
    """Refuse an HR image that is too small for any protocol; mod-cropped or not.

    Raises:
        InputError: SSIM has no window in it.
    """
    height, width = height // scale * scale, width // scale * scale
    least = SMALLEST + 2 * scale
    if min(height, width) < least:
        raise InputError(
            f"the image has {width}x{height} px; at least {least} px a side are needed "
            "to measure SSIM"
        )


def _fitting(hr: Pixels, scale: int) -> Pixels:
    hr = bicubic.modcrop(hr, scale)
    check_size(hr.shape[0], hr.shape[1], scale)
    return hr


def _compare(
    sr_y: npt.NDArray[np.float64], hr_y: npt.NDArray[np.float64], sr: Pixels, border: int
) -> Figures:
    inner = (slice(border, -border), slice(border, -border))
    return Figures(psnr(sr_y[inner], hr_y[inner]), ssim(sr_y[inner], hr_y[inner]), sr)
