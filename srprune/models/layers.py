"""Layers that several networks share."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srprune.images.bicubic import enlarge_taps
from srprune.models import paths
from srprune.models.network import PLANES, Channels

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # RGB of DIV2K in [0, 1]; EDSR, RCAN and SwinIR subtract it


def mean_of(channels: Channels) -> tuple[float, ...]:
    """What EDSR, RCAN and SwinIR subtract: DIV2K's mean colour; nothing from Y."""
    return DIV2K_MEAN if channels == "rgb" else (0.0,)


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def zero_biases(network: nn.Module) -> None:
    """Set every bias to zero."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)


class MeanShift(nn.Module):
    """EDSR's ``MeanShift``: adds a constant colour, times the range that the network works in.

    A frozen 1x1 convolution there, and so it is stored; here buffers that do not train.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, channels: Channels, value_range: float, sign: int) -> None:
        """Shift by ``sign * value_range * mean``."""
        super().__init__()
        planes = PLANES[channels]
        self.register_buffer("weight", torch.eye(planes)[:, :, None, None])
        self.register_buffer("bias", sign * value_range * torch.tensor(mean_of(channels)))

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, C, h, w) to the same, shifted."""
        return x_BChw + self.bias[:, None, None]


class ShuffleUpsampler(nn.Sequential):
    """EDSR's upsampler: 3x3 conv and pixel shuffle, once for x2 and x3, twice for x4.

    The convolutions are number 0 (and 2), as in the EDSR family, BasicSR and SwinIR.
    """

    def __init__(self, features: int, scale: int) -> None:
        """Enlarge ``features`` maps by ``scale``."""
        layers: list[nn.Module] = []
        for factor in stages_of(scale):
            layers += [conv3(features, features * factor**2), nn.PixelShuffle(factor)]
        super().__init__(*layers)


def stages_of(scale: int) -> list[int]:
    """Factors of the pixel shuffles of a scale: 4 is 2 times 2."""
    return [2, 2] if scale == 4 else [scale]


def scale_of(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """The scale of a :class:`ShuffleUpsampler` whose tensors begin with ``prefix``."""
    first = tensors[f"{prefix}.0.weight"]
    factor = math.isqrt(first.shape[0] // first.shape[1])
    return factor**2 if f"{prefix}.2.weight" in tensors else factor


def shuffle_reach(scale: int, tail: int = 1) -> int:
    """HR px from which zero padding is felt behind a ShuffleUpsampler and ``tail`` 3x3 convs.

    The upsampler's convs themselves included, what comes before it not.
    """
    reach = 0
    for factor in stages_of(scale):
        reach = (reach + 1) * factor
    return reach + tail


class BicubicSkip(nn.Module):
    """The bicubic enlargement that a network adds to what it computes.

    As :func:`srprune.images.tensor.upscale`, in a form that ``torch.compile`` can trace. Sums of
    products, not a convolution: autocast leaves them in the precision of the image.
    """

    def __init__(self, scale: int) -> None:
        """Enlarge by ``scale``."""
        super().__init__()
        taps = enlarge_taps(scale)
        self.phases: list[list[float]] = taps.weights.tolist()
        self.first, self.taps = taps.first, taps.weights.shape[1]

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, s*h, s*w)."""
        return self._enlarge(self._enlarge(x_BChw, 2), 3)

    def _enlarge(self, x_BChw: Tensor, dim: int) -> Tensor:
        length = x_BChw.shape[dim]
        # Mirrored beyond the edge, with the edge repeated.
        index = torch.arange(self.first, length + self.first + self.taps - 1, device=x_BChw.device)
        index = index % (2 * length)
        x = x_BChw.index_select(dim, torch.minimum(index, 2 * length - 1 - index))
        shifted = [x.narrow(dim, tap, length) for tap in range(self.taps)]
        phases = [
            torch.stack([part * weight for part, weight in zip(shifted, row, strict=True)]).sum(0)
            for row in self.phases
        ]
        return torch.stack(phases, dim + 1).flatten(dim, dim + 1)


class PhaseConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution whose output is exactly ``stride`` times the input.

    The output begins ``padding`` px into the full transposed convolution; what the input does not
    reach at the far edge is the sum of fewer terms, as with ``output_padding``. Weight and bias
    are those of :class:`torch.nn.ConvTranspose2d`. The same sums can be had as a convolution of
    the input with one small kernel for each phase of the stride, and a pixel shuffle; which of
    the two runs is decided in :mod:`srprune.models.paths`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> None:
        """Square kernel; ``padding`` as in ConvTranspose2d."""
        super().__init__(inputs, outputs, kernel, stride, padding)
        # What a phase reads, in px of the input from its own: the taps of the small kernels.
        self.back = (stride - 1 + padding) // stride
        self.front = (kernel - 1 - padding) // stride
        self.first = padding

    @property
    def reach(self) -> int:
        """Px of the input around a pixel that decide what is made of it."""
        return max(self.back, self.front)

    def forward(self, x_BChw: Tensor) -> Tensor:  # type: ignore[override]
        """(B, C, h, w) to (B, outputs, s*h, s*w)."""
        if paths.phase_convolution(x_BChw):
            return self._by_phase(x_BChw)
        stride, (height, width) = self.stride[0], x_BChw.shape[-2:]
        # More than enough rows at the far edge, then the cut.
        whole = F.conv_transpose2d(
            x_BChw, self.weight, self.bias, stride, self.first, output_padding=stride - 1
        )
        return whole[:, :, : stride * height, : stride * width]

    def _by_phase(self, x_BChw: Tensor) -> Tensor:
        stride, outputs = self.stride[0], self.out_channels
        taps = self.back + self.front + 1
        # Output s*m + p is the sum over t of x[m - t] * w[s*t + p + first], t from -back to front;
        # tap a of the convolution meets x[m - front + a], so t = front - a.
        before = stride * self.back - self.first
        after = stride * taps - before - self.kernel_size[0]
        w = F.pad(self.weight, (before, after, before, after))
        w = w.reshape(self.in_channels, outputs, taps, stride, taps, stride).flip(2, 4)
        w = w.permute(1, 3, 5, 0, 2, 4).reshape(outputs * stride**2, self.in_channels, taps, taps)
        bias = None if self.bias is None else self.bias.repeat_interleave(stride**2)
        if self.front == self.back:
            phases = F.conv2d(x_BChw, w, bias, padding=self.front)
        else:
            phases = F.conv2d(F.pad(x_BChw, (self.front, self.back) * 2), w, bias)
        return F.pixel_shuffle(phases, stride)
