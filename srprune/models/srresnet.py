"""SRResNet: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a GAN", CVPR 2017.

The generator of SRGAN, trained without the adversary. Written from the paper's figure 4: 9x9 conv
3 -> 64, PReLU; 16 blocks of conv, batch norm, PReLU, conv, batch norm, plus their input; conv,
batch norm, and the output of the first PReLU is added; conv, pixel shuffle by 2, PReLU, twice;
9x9 conv 64 -> 3. Other convs are 3x3. The paper has x4 alone; x2 has one such stage, x3 one that
shuffles by 3.

1,549,462 parameters at x4, counted from these layers with a bias in each conv and one slope in
each of the 19 PReLUs; a slope for each map would make it 1,550,659, and no bias in front of the
33 batch norms 1,547,350. 1,401,749 at x2, 1,586,389 at x3.

The paper does not say how the weights start: as torch initialises them, slopes at 0.25. It scales
LR to [0, 1] and HR to [-1, 1]; here both are [0, 1]. There is no usual naming of the tensors;
these names follow BasicSR's MSRResNet where there is such a layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from srprune.models.layers import conv3, shuffle_reach, stages_of
from srprune.models.network import PLANES, Channels, ModelSpec, Network, count_names


class ResidualBlock(nn.Module):
    """Conv, batch norm, PReLU, conv, batch norm; the input is added."""

    def __init__(self, features: int) -> None:
        """Take and give ``features`` maps."""
        super().__init__()
        self.conv1 = conv3(features, features)
        self.bn1 = nn.BatchNorm2d(features)
        self.prelu = nn.PReLU()
        self.conv2 = conv3(features, features)
        self.bn2 = nn.BatchNorm2d(features)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, features, h, w) to the same."""
        inner = self.prelu(self.bn1(self.conv1(x_BChw)))
        return x_BChw + self.bn2(self.conv2(inner))


class Stage(nn.Module):
    """One stage of enlarging: conv, pixel shuffle, PReLU."""

    def __init__(self, features: int, factor: int) -> None:
        """Enlarge ``features`` maps by ``factor``."""
        super().__init__()
        self.conv = conv3(features, features * factor**2)
        self.shuffle = nn.PixelShuffle(factor)
        self.prelu = nn.PReLU()

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, features, h, w) to (B, features, factor * h, factor * w)."""
        return self.prelu(self.shuffle(self.conv(x_BChw)))


class SRResNet(Network):
    """SRResNet on RGB or Y, with batch norm."""

    last_layer = "conv_last"
    constants = r".*\.num_batches_tracked"
    spec = ModelSpec(
        name="srresnet",
        paper="Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative "
        "Adversarial Network, CVPR 2017",
        source="the paper's figure 4",
        channels="rgb",
        pre_upsampled=False,
        parameters=1_401_749,
        flops=664_348_262_400,
        receptive_field=81,
        tiny={"features": 8, "blocks": 2},
    )

    def __init__(
        self, *, scale: int, channels: Channels = "rgb", features: int = 64, blocks: int = 16
    ) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            scale: of the pixel shuffle; published for 4.
            channels: the published network works on RGB.
            features: maps of every layer but the last.
            blocks: residual blocks.
        """
        super().__init__()
        planes = PLANES[channels]
        self.conv_first = nn.Conv2d(planes, features, 9, padding=4)
        self.prelu = nn.PReLU()
        self.body = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        self.conv_after_body = conv3(features, features)
        self.bn_after_body = nn.BatchNorm2d(features)
        self.upsample = nn.Sequential(*(Stage(features, factor) for factor in stages_of(scale)))
        self.conv_last = nn.Conv2d(features, planes, 9, padding=4)
        # The last conv reaches as far as four 3x3 ones.
        self.rim = (4 + 2 * blocks + 1) * scale + shuffle_reach(scale, tail=4)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, C, h, w) LR in [0, 1] to (B, C, s*h, s*w)."""
        first = self.prelu(self.conv_first(x_BChw))
        features = first + self.bn_after_body(self.conv_after_body(self.body(first)))
        return self.conv_last(self.upsample(features))

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """See :meth:`Network.arguments_of`."""
        features, planes = tensors["conv_first.weight"].shape[:2]
        stages = count_names(r"upsample\.\d+\.conv\.weight", tensors)
        factor = math.isqrt(tensors["upsample.0.conv.weight"].shape[0] // features)
        if "body.0.bn1.weight" not in tensors:
            raise KeyError("body.0.bn1.weight")
        return {
            "scale": factor**stages,
            "channels": "y" if planes == 1 else "rgb",
            "features": features,
            "blocks": count_names(r"body\.\d+\.conv1\.weight", tensors),
        }
