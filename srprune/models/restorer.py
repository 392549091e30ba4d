"""Networks, and plain bicubic, as restorers: LR in, SR out."""

from __future__ import annotations

import math
from typing import Literal, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from srprune.core.errors import InputError
from srprune.images import bicubic, tensor
from srprune.models.domain import Domain
from srprune.models.network import ModelSpec, Network

Precision = Literal["fp32", "bf16", "fp16"]
REDUCED: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_planes(name: str, x_BChw: Tensor, planes: Literal[1, 3]) -> None:
    """Refuse what are not images of the planes that a restorer takes.

    Raises:
        InputError: the message says what it takes.
    """
    if x_BChw.ndim != 4 or x_BChw.shape[1] != planes:
        what = {1: "Y", 3: "RGB"}[planes]
        raise InputError(
            f"{name} was given a tensor of {tuple(x_BChw.shape)}; it restores {what}, "
            f"(B, {planes}, h, w)."
        )


def check_least(name: str, height: int, width: int, least: int) -> None:
    """Refuse an LR image with a side below ``least`` px.

    Raises:
        InputError: the message says what the restorer takes.
    """
    if min(height, width) < least:
        raise InputError(
            f"the image has {width}x{height} px at LR; {name} takes at least {least} px a side."
        )


class BicubicRestorer:
    """MATLAB's bicubic enlargement: the floor that every network must beat."""

    name = "bicubic"

    def __init__(self, scale: int) -> None:
        """Enlarge by ``scale``."""
        self.scale = scale
        self.fingerprint = "bicubic"

    def __call__(self, lr_BChw: Tensor) -> Tensor:
        """Enlarge 8-bit RGB as MATLAB does, rounding to uint8 after each pass.

        The published bicubic figures are made so; see :class:`srprune.core.restorer.Restorer`.
        """
        lr_BhwC = tensor.round_uint8(lr_BChw).permute(0, 2, 3, 1).cpu().numpy()
        sr_BHWC = np.stack([bicubic.upscale(lr, self.scale) for lr in lr_BhwC])
        return torch.from_numpy(sr_BHWC).permute(0, 3, 1, 2).to(lr_BChw) / 255

    def luma(self, y_B1hw: Tensor) -> Tensor:
        """Enlarge Y in floating point, unrounded."""
        return tensor.upscale(y_B1hw, self.scale)


class NetworkRestorer:
    """A network as a restorer of RGB images.

    A network on Y restores Y; Cb and Cr are enlarged by bicubic, as is usual.

    Attributes:
        minimum: smallest side of an LR image, px.
        multiple: tiles of an image begin at multiples of this, LR px.
        precision: of the network alone; bicubic and colours are computed in fp32.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        domain: Domain,
        fingerprint: str,
        precision: Precision = "fp32",
    ) -> None:
        """Wrap a network, which is put into evaluation mode."""
        self.name = name
        self.network = network.eval()
        self.domain = domain
        self.scale = domain.scale
        self.fingerprint = fingerprint
        self.precision = precision
        self._spec: ModelSpec | None = getattr(network, "spec", None)
        enlarged = domain.scale if domain.pre_upsampled else 1  # px of the input in an LR px
        minimum, multiple = (self._spec.minimum, self._spec.multiple) if self._spec else (1, 1)
        self.minimum = math.ceil(minimum / enlarged)
        self.multiple = multiple // math.gcd(multiple, enlarged)

    @property
    def radius(self) -> int | None:
        """LR px around a pixel that decide its SR pixels; None if that is all, or not known."""
        return None if self._spec and self._spec.sees_all else self.reach

    @property
    def reach(self) -> int | None:
        """LR px that layers reach around a pixel, means over the image aside; None: not known."""
        if self._spec is None:
            return None
        return math.ceil((cast(Network, self.network).rim + self.domain.reach) / self.scale)

    def at(self, precision: Precision) -> Self:
        """The same network in another precision."""
        return type(self)(self.name, self.network, self.domain, self.fingerprint, precision)

    @torch.inference_mode()
    def __call__(self, lr_BChw: Tensor) -> Tensor:
        """Restore RGB; see :class:`srprune.core.restorer.Restorer`.

        Raises:
            InputError: not RGB, too small for the network, or too much for fp16.
        """
        self._check(lr_BChw, 3)
        if self.domain.channels == "rgb":
            return self._run(self.domain.input(lr_BChw))
        ycbcr = tensor.rgb_to_ycbcr(lr_BChw)
        colour = tensor.upscale(ycbcr[:, 1:], self.scale)
        return tensor.ycbcr_to_rgb(torch.cat([self._luma(ycbcr[:, :1]), colour], dim=1))

    def _luma(self, y_B1hw: Tensor) -> Tensor:
        return self._run(self.domain.enlarged(y_B1hw))

    def _run(self, x_BChw: Tensor) -> Tensor:
        """The network on its own input; the output has the input's dtype."""
        if self.precision == "fp32":
            return self.network(x_BChw)
        with torch.autocast(x_BChw.device.type, REDUCED[self.precision]):
            sr_BCHW = self.network(x_BChw).to(x_BChw.dtype)
        if self.precision == "fp16" and not sr_BCHW.isfinite().all():
            raise InputError(
                f"{self.name} overflows in fp16, which ends at 65504. Use precision bf16 or fp32."
            )
        return sr_BCHW

    def _check(self, x_BChw: Tensor, planes: Literal[1, 3]) -> None:
        """Refuse what the network cannot take."""
        check_planes(self.name, x_BChw, planes)
        self.check_size(*x_BChw.shape[2:])

    def check_size(self, height: int, width: int) -> None:
        """Refuse an LR image that is too small for the network.

        Raises:
            InputError: a side is shorter than ``minimum``.
        """
        check_least(self.name, height, width, self.minimum)


class LumaNetworkRestorer(NetworkRestorer):
    """A network on Y, which can be measured on Y alone."""

    @torch.inference_mode()
    def luma(self, y_B1hw: Tensor) -> Tensor:
        """Restore Y; see :class:`srprune.core.restorer.LumaRestorer`.

        Raises:
            InputError: not one channel, too small for the network, or too much for fp16.
        """
        self._check(y_B1hw, 1)
        dtype = next(self.network.parameters()).dtype  # Y may come in float64
        return self._luma(y_B1hw.to(dtype)).to(y_B1hw.dtype)


def restorer_of(name: str, network: nn.Module, domain: Domain, fingerprint: str) -> NetworkRestorer:
    """The restorer that suits the network's channels."""
    kind = LumaNetworkRestorer if domain.channels == "y" else NetworkRestorer
    return kind(name, network, domain, fingerprint)
