"""RDN: Zhang et al., "Residual Dense Network for Image Super-Resolution", CVPR 2018.

Layers, initial weights and tensor names are those of EDSR-PyTorch (sanghyun-son/EDSR-PyTorch,
``src/model/rdn.py``): conv 3 -> G0, conv G0 -> G0; D dense blocks; the outputs of all blocks
through a 1x1 conv to G0 and a conv, and the first conv's output is added; conv G0 -> G s * s and
pixel shuffle (x4: two stages of 2); conv G -> 3. A dense block is C convs to G maps with ReLU,
each on the block's input and all that the convs before it gave, then a 1x1 conv to G0, plus the
block's input. Convs are 3x3 unless it is said, and start as torch initialises them.

The published network is (D, C, G) = (16, 8, 64), "B" in EDSR-PyTorch: 22,123,395 parameters at
x2, 22,308,035 at x3, 22,271,107 at x4. "A" is (20, 6, 32): 5,541,795, 5,634,115, 5,578,787. G0 is
64. Counted from these layers.

There are weights of two kinds, which no tensor tells apart: EDSR-PyTorch feeds the layers 0 to
255, without a mean colour; yjn870/RDN-pytorch, whose layers are the same, feeds them 0 to 1.
``value_range`` says which. (The authors' first code, for Torch 7, did subtract the mean.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from srprune.models.layers import conv3, shuffle_reach, stages_of
from srprune.models.network import PLANES, Channels, ModelSpec, Naming, Network, count_names


class DenseLayer(nn.Module):
    """Conv and ReLU; their output joins their input."""

    def __init__(self, inputs: int, growth: int) -> None:
        """Add ``growth`` maps to ``inputs``."""
        super().__init__()
        self.conv = nn.Sequential(conv3(inputs, growth), nn.ReLU(inplace=True))

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, inputs + growth, h, w)."""
        return torch.cat([x_BChw, self.conv(x_BChw)], dim=1)


class DenseBlock(nn.Module):
    """Dense layers, and a 1x1 conv back to as many maps as came in; the input is added."""

    def __init__(self, features: int, layers: int, growth: int) -> None:
        """Take and give ``features`` maps."""
        super().__init__()
        self.convs = nn.Sequential(
            *(DenseLayer(features + i * growth, growth) for i in range(layers))
        )
        self.LFF = nn.Conv2d(features + layers * growth, features, 1)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, features, h, w) to the same."""
        return x_BChw + self.LFF(self.convs(x_BChw))


class RDN(Network):
    """RDN(D, C, G) on RGB or Y."""

    namings = (
        Naming(
            source="yjn870/RDN-pytorch",
            pairs=(
                (r"sfe([12])\.(\w+)", r"SFENet\1.\2"),
                (r"rdbs\.(\d+)\.layers\.(\d+)\.conv\.(\w+)", r"RDBs.\1.convs.\2.conv.0.\3"),
                (r"rdbs\.(\d+)\.lff\.(\w+)", r"RDBs.\1.LFF.\2"),
                (r"gff\.(\d+)\.(\w+)", r"GFF.\1.\2"),
                (r"upscale\.(\d+)\.(\w+)", r"UPNet.\1.\2"),
                (r"output\.(\w+)", r"UPNet.{behind}.\1"),
            ),
            # A stage is two layers, conv and pixel shuffle, and has two tensors: as many tensors
            # as there are, so many layers stand before the last conv.
            counts={"behind": r"upscale\.\d+\.(weight|bias)"},
            implies={"value_range": 1},
        ),
    )
    spec = ModelSpec(
        name="rdn",
        paper="Zhang et al., Residual Dense Network for Image Super-Resolution, CVPR 2018",
        source="sanghyun-son/EDSR-PyTorch, src/model/rdn.py",
        channels="rgb",
        pre_upsampled=False,
        parameters=22_123_395,
        flops=10_192_365_158_400,
        receptive_field=267,
        tiny={"d": 2, "c": 2, "g": 8, "g0": 8},
    )

    def __init__(
        self,
        *,
        scale: int,
        channels: Channels = "rgb",
        d: int = 16,
        c: int = 8,
        g: int = 64,
        g0: int = 64,
        value_range: Literal[1, 255] = 255,
    ) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            scale: of the pixel shuffle.
            channels: the published network works on RGB.
            d: dense blocks.
            c: convs of a dense block.
            g: maps that each of these adds.
            g0: maps between the blocks.
            value_range: white inside; the input is multiplied by it and the output divided.
        """
        super().__init__()
        planes = PLANES[channels]
        self.value_range = value_range
        self.SFENet1 = conv3(planes, g0)
        self.SFENet2 = conv3(g0, g0)
        self.RDBs = nn.ModuleList(DenseBlock(g0, c, g) for _ in range(d))
        self.GFF = nn.Sequential(nn.Conv2d(d * g0, g0, 1), conv3(g0, g0))
        layers: list[nn.Module] = []
        inputs = g0
        for factor in stages_of(scale):
            layers += [conv3(inputs, g * factor**2), nn.PixelShuffle(factor)]
            inputs = g
        self.last_layer = f"UPNet.{len(layers)}"
        self.UPNet = nn.Sequential(*layers, conv3(g, planes))
        self.rim = (2 + d * c + 1) * scale + shuffle_reach(scale)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, C, h, w) LR in [0, 1] to (B, C, s*h, s*w)."""
        first = self.SFENet1(x_BChw * self.value_range)
        features = self.SFENet2(first)
        by_block = []
        for block in self.RDBs:
            features = block(features)
            by_block.append(features)
        features = first + self.GFF(torch.cat(by_block, dim=1))
        return self.UPNet(features) / self.value_range

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """See :meth:`Network.arguments_of`; the tensors do not tell ``value_range``."""
        g0, planes = tensors["SFENet1.weight"].shape[:2]
        g = tensors["RDBs.0.convs.0.conv.0.weight"].shape[0]
        factor = math.isqrt(tensors["UPNet.0.weight"].shape[0] // g)
        return {
            "scale": factor**2 if "UPNet.4.weight" in tensors else factor,
            "channels": "y" if planes == 1 else "rgb",
            "d": count_names(r"RDBs\.\d+\.LFF\.weight", tensors),
            "c": count_names(r"RDBs\.0\.convs\.\d+\.conv\.0\.weight", tensors),
            "g": g,
            "g0": g0,
        }
