"""The domain of a network: which channels, and LR as it is or enlarged by bicubic first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from srprune.images import tensor


@dataclass(frozen=True)
class Domain:
    """Turns RGB images into what a network takes and gives.

    Attributes:
        channels: ``y`` (BT.601 luma, 16/255 to 235/255) or ``rgb`` (0 to 1).
        pre_upsampled: True if the network takes LR enlarged to the size of HR.
        scale: 2, 3 or 4.
    """

    channels: Literal["y", "rgb"]
    pre_upsampled: bool
    scale: int

    @property
    def reach(self) -> int:
        """HR px from which the border of an LR patch is felt in the input: bicubic's 2 LR px."""
        return 2 * self.scale if self.pre_upsampled else 0

    def target(self, hr_B3HW: Tensor) -> Tensor:
        """What the network should give for HR: (B, 1 or 3, H, W)."""
        return tensor.rgb_to_y(hr_B3HW) if self.channels == "y" else hr_B3HW

    def input(self, lr_B3hw: Tensor) -> Tensor:
        """What the network takes for LR: (B, 1 or 3, h, w), or (.., H, W) if pre-upsampled.

        Channels last in memory, which halves the time of convolutions on CPUs.
        """
        planes = self.enlarged(self.target(lr_B3hw))
        return planes.contiguous(memory_format=torch.channels_last)

    def enlarged(self, planes_BChw: Tensor) -> Tensor:
        """Planes of the network's own channels, enlarged if it is pre-upsampled."""
        return tensor.upscale(planes_BChw, self.scale) if self.pre_upsampled else planes_BChw
