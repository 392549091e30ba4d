"""The bicubic and the colour of srprune for torch tensors: differentiable, on any device.

Images are (B, C, H, W), float32 or float64, colours on the scale 0..1. The weights come from
:mod:`srprune.images.bicubic` and :mod:`srprune.images.color`; nothing is rounded, as MATLAB does
with floats. Both modules agree to the last digits of the dtype.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srprune.core.errors import InputError
from srprune.images.bicubic import Border, Taps, check_divisible, enlarge_taps, shrink_taps
from srprune.images.color import COEFFICIENTS, OFFSETS


def downscale(x: Tensor, scale: int, border: Border = "symmetric") -> Tensor:
    """Shrink (B, C, H, W) to (B, C, H / scale, W / scale), antialiased bicubic.

    Raises:
        InputError: a scale below 2, no pixels, or sides that are no multiples of the scale.
        TypeError: neither float32 nor float64.
    """
    check_divisible(x.shape[-2], x.shape[-1], scale)
    return _resize(x, shrink_taps(scale), border)


def upscale(x: Tensor, scale: int, border: Border = "symmetric") -> Tensor:
    """Enlarge (B, C, H, W) to (B, C, H * scale, W * scale), bicubic; errors as downscale."""
    return _resize(x, enlarge_taps(scale), border)


def rgb_to_y(rgb: Tensor) -> Tensor:
    """Luma of (B, 3, H, W) in 0..1: (B, 1, H, W) in 16/255 .. 235/255, not rounded."""
    red, green, blue = COEFFICIENTS[0]
    y = rgb[:, 0:1] * red + rgb[:, 1:2] * green + rgb[:, 2:3] * blue
    return (y + OFFSETS[0]) / 255


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """Y, Cb and Cr of (B, 3, H, W) in 0..1: (B, 3, H, W), each on the 0..255 scale over 255."""
    forward, offset = _colour(rgb)
    return torch.einsum("yc,bchw->byhw", forward, rgb) + offset


def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """The inverse of :func:`rgb_to_ycbcr`, (B, 3, H, W); not clipped."""
    forward, offset = _colour(ycbcr)
    return torch.einsum("cy,byhw->bchw", torch.linalg.inv(forward), ycbcr - offset)


def from_uint8(
    pixels_BHWC: Tensor | npt.NDArray[np.uint8], device: torch.device | None = None
) -> Tensor:
    """(B, C, H, W) float32 on the scale 0..1 of uint8 pixels; channels stay last in memory.

    Args:
        pixels_BHWC: uint8.
        device: where to; None: where they are.
    """
    pixels = torch.as_tensor(pixels_BHWC, device=device)
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def round_uint8(x: Tensor) -> Tensor:
    """Colours on the scale 0..1 as uint8: times 255, rounded half up, clipped; any shape."""
    return (x * 255 + 0.5).floor().clamp(0, 255).to(torch.uint8)


def _colour(like: Tensor) -> tuple[Tensor, Tensor]:
    """The (3, 3) matrix and the (3, 1, 1) offset for colours on the scale 0..1."""
    forward = torch.tensor(COEFFICIENTS, dtype=like.dtype, device=like.device) / 255
    offset = torch.tensor(OFFSETS, dtype=like.dtype, device=like.device) / 255
    return forward, offset[:, None, None]


def _resize(x: Tensor, taps: Taps, border: Border) -> Tensor:
    """Resize the rows, then the columns, of (B, C, H, W)."""
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"an image is float32 or float64, not {x.dtype}")
    if not x.numel():
        raise InputError("cannot resize images without pixels")
    return _resize_dim(_resize_dim(x, 2, taps, border), 3, taps, border)


@lru_cache(maxsize=64)  # crops have one size, images many
def _sources(taps: Taps, length: int, border: Border, device: torch.device) -> Tensor:
    """What :meth:`Taps.sources` tells, on a device, which need not wait for it in each step."""
    with torch.inference_mode(False):  # else it would be of no use where gradients are wanted
        return torch.from_numpy(taps.sources(length, border)).to(device)


def _resize_dim(x: Tensor, dim: int, taps: Taps, border: Border) -> Tensor:
    """Resize one dimension: a sum of shifted, weighted slices, in the order of the taps.

    A convolution with one channel is slower than these few slices, forwards and backwards, and
    its last digits depend on the batch and the library; those of a sum do not.
    """
    padded = x.index_select(dim, _sources(taps, x.shape[dim], border, x.device))
    reach = taps.stride * (x.shape[dim] // taps.stride - 1)
    phases = []
    for row in taps.weights.tolist():
        total: Tensor | None = None
        for tap, weight in enumerate(row):
            if weight:
                steps = slice(tap, tap + reach + 1, taps.stride)
                part = padded[(slice(None),) * dim + (steps,)]
                # One fused multiply-add a tap: no second tensor of this size.
                total = part * weight if total is None else total.add(part, alpha=weight)
        assert total is not None  # a row sums to 1, so some weight is not zero
        phases.append(total)
    return torch.stack(phases, dim + 1).flatten(dim, dim + 1)
