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
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from srprune.models.layers import PhaseConvTranspose2d, zero_biases
from srprune.models.network import PLANES, Channels, ModelSpec, Network


class FSRCNN(Network):
    """FSRCNN(d, s, m) on Y or RGB."""

    last_layer = "last_part"
    spec = ModelSpec(
        name="fsrcnn",
        paper="Dong et al., Accelerating the Super-Resolution Convolutional Neural Network, "
        "ECCV 2016",
        source="the paper's layer table; names of yjn870/FSRCNN-pytorch",
        channels="y",
        pre_upsampled=False,
        parameters=12_809,
        flops=5_743_411_200,
        receptive_field=17,
        tiny={"d": 8, "s": 4, "m": 1},
    )

    def __init__(
        self, *, scale: int, channels: Channels = "y", d: int = 56, s: int = 12, m: int = 4
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
        planes = PLANES[channels]
        self.first_part = nn.Sequential(nn.Conv2d(planes, d, 5, padding=2), nn.PReLU(d))
        middle: list[nn.Module] = [nn.Conv2d(d, s, 1), nn.PReLU(s)]
        for _ in range(m):
            middle += [nn.Conv2d(s, s, 3, padding=1), nn.PReLU(s)]
        middle += [nn.Conv2d(s, d, 1), nn.PReLU(d)]
        self.mid_part = nn.Sequential(*middle)
        self.last_part = PhaseConvTranspose2d(d, planes, 9, scale, padding=4)
        self.rim = (2 + m + self.last_part.reach) * scale
        for layer in [*self.first_part, *self.mid_part]:
            if isinstance(layer, nn.Conv2d):
                fan = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
                nn.init.normal_(layer.weight, std=math.sqrt(2 / fan))
        nn.init.normal_(self.last_part.weight, std=0.001)
        zero_biases(self)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, C, h, w) LR in [0, 1] to (B, C, s*h, s*w)."""
        return self.last_part(self.mid_part(self.first_part(x_BChw)))

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """See :meth:`Network.arguments_of`; the tensors do not tell the scale."""
        d, planes = tensors["first_part.0.weight"].shape[:2]
        middle = [name for name in tensors if name.startswith("mid_part.")]
        convs = sum(name.endswith("bias") for name in middle)
        return {
            "channels": "y" if planes == 1 else "rgb",
            "d": d,
            "s": tensors["mid_part.0.weight"].shape[0],
            "m": convs - 2,
        }


class FSRCNNSmall(FSRCNN):
    """FSRCNN-s, the paper's fast variant: FSRCNN(32, 5, 1)."""

    spec = ModelSpec(
        name="fsrcnn_s",
        paper=FSRCNN.spec.paper,
        source=FSRCNN.spec.source,
        channels="y",
        pre_upsampled=False,
        parameters=4_086,
        flops=1_814_169_600,
        receptive_field=11,
        tiny={"d": 6, "s": 3, "m": 1},
    )

    def __init__(
        self, *, scale: int, channels: Channels = "y", d: int = 32, s: int = 5, m: int = 1
    ) -> None:
        """As FSRCNN, with other defaults."""
        super().__init__(scale=scale, channels=channels, d=d, s=s, m=m)
