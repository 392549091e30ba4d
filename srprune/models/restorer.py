"""Networks, and plain bicubic, as restorers: LR in, SR out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from srprune.images import bicubic, tensor
from srprune.models.domain import Domain


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
    """

    def __init__(self, name: str, network: nn.Module, domain: Domain, fingerprint: str) -> None:
        """Wrap a network, which is put into evaluation mode."""
        self.name = name
        self.network = network.eval()
        self.domain = domain
        self.scale = domain.scale
        self.fingerprint = fingerprint

    @torch.inference_mode()
    def __call__(self, lr_BChw: Tensor) -> Tensor:
        """Restore RGB; see :class:`srprune.core.restorer.Restorer`."""
        if self.domain.channels == "rgb":
            return self.network(self.domain.input(lr_BChw))
        ycbcr = tensor.rgb_to_ycbcr(lr_BChw)
        colour = tensor.upscale(ycbcr[:, 1:], self.scale)
        return tensor.ycbcr_to_rgb(torch.cat([self._luma(ycbcr[:, :1]), colour], dim=1))

    def _luma(self, y_B1hw: Tensor) -> Tensor:
        return self.network(self.domain.enlarged(y_B1hw))


class LumaNetworkRestorer(NetworkRestorer):
    """A network on Y, which can be measured on Y alone."""

    @torch.inference_mode()
    def luma(self, y_B1hw: Tensor) -> Tensor:
        """Restore Y; see :class:`srprune.core.restorer.LumaRestorer`."""
        dtype = next(self.network.parameters()).dtype  # Y may come in float64
        return self._luma(y_B1hw.to(dtype)).to(y_B1hw.dtype)


def restorer_of(name: str, network: nn.Module, domain: Domain, fingerprint: str) -> NetworkRestorer:
    """The restorer that suits the network's channels."""
    kind = LumaNetworkRestorer if domain.channels == "y" else NetworkRestorer
    return kind(name, network, domain, fingerprint)
