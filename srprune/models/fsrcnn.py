"""FSRCNN: Dong et al., "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016.

Written from the paper's layer table, FSRCNN(d, s, m): 5x5 conv to d maps; 1x1 conv to s maps;
m 3x3 convs; 1x1 conv back to d maps; a 9x9 transposed conv with the scale as its stride; PReLU
with one slope a map after each conv but the last layer. FSRCNN(56, 12, 4) has 12,809 parameters
on Y, of which 12,464 are convolution weights (the figure of the paper); FSRCNN-s is (32, 5, 1)
with 4,086 and 3,937. Convs start from He et al.'s normal with the fan of yjn870/FSRCNN-pytorch,
``std = sqrt(2 / (out * k * k))``, the last layer from N(0, 0.001). Tensor names are those of
yjn870/FSRCNN-pytorch.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from srprune.models.network import ModelSpec, Network


class FSRCNN(Network):
    """FSRCNN(d, s, m) on Y or RGB."""

    last_layer = "last_part"
    spec = ModelSpec(
        name="fsrcnn",
        paper="Dong et al., Accelerating the Super-Resolution Convolutional Neural Network, "
        "ECCV 2016",
        scales=(2, 3, 4),
        pre_upsampled=False,
        parameters=12_809,
    )

    def __init__(
        self,
        *,
        scale: int,
        channels: Literal["y", "rgb"] = "y",
        d: int = 56,
        s: int = 12,
        m: int = 4,
    ) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            scale: stride of the last layer.
            channels: the published network works on Y.
            d: maps of the first and the last but one layer.
            s: maps of the shrunken middle.
            m: 3x3 convs of the middle.
        """
        super().__init__()
        planes = {"y": 1, "rgb": 3}[channels]
        self.first_part = nn.Sequential(nn.Conv2d(planes, d, 5, padding=2), nn.PReLU(d))
        middle: list[nn.Module] = [nn.Conv2d(d, s, 1), nn.PReLU(s)]
        for _ in range(m):
            middle += [nn.Conv2d(s, s, 3, padding=1), nn.PReLU(s)]
        middle += [nn.Conv2d(s, d, 1), nn.PReLU(d)]
        self.mid_part = nn.Sequential(*middle)
        self.last_part = nn.ConvTranspose2d(
            d, planes, 9, stride=scale, padding=4, output_padding=scale - 1
        )
        self.rim = (2 + m + math.ceil(4 / scale)) * scale
        for layer in [*self.first_part, *self.mid_part]:
            if isinstance(layer, nn.Conv2d):
                fan = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
                nn.init.normal_(layer.weight, std=math.sqrt(2 / fan))
        nn.init.normal_(self.last_part.weight, std=0.001)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, C, h, w) LR in [0, 1] to (B, C, s*h, s*w)."""
        return self.last_part(self.mid_part(self.first_part(x_BChw)))
