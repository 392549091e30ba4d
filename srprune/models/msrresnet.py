"""MSRResNet: SRResNet (Ledig et al., CVPR 2017) without batch norm, as BasicSR modified it.

The "SRResNet" of ClassSR and of many papers since. Layers, initial weights and tensor names are
those of BasicSR (XPixelGroup/BasicSR, ``basicsr/archs/srresnet_arch.py``): conv 3 -> 64; 16
blocks of conv, ReLU, conv, plus their input; conv and pixel shuffle (twice for x4); conv 64 -> 64;
conv 64 -> 3; the input, enlarged bilinearly, is added. All convs are 3x3, with LeakyReLU of slope
0.1 behind the first, each pixel shuffle and the last but one. Weights start from He et al.'s
normal, ``std = sqrt(2 / (in * k * k))``, times 0.1, biases from 0.

1,369,859 parameters at x2, 1,554,499 at x3, 1,517,571 at x4, counted from these layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from srprune.models.layers import conv3, shuffle_reach, stages_of, zero_biases
from srprune.models.network import PLANES, Channels, ModelSpec, Naming, Network, count_names


class ResidualBlock(nn.Module):
    """Conv, ReLU, conv; the input is added."""

    def __init__(self, features: int) -> None:
        """Take and give ``features`` maps."""
        super().__init__()
        self.conv1 = conv3(features, features)
        self.conv2 = conv3(features, features)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, features, h, w) to the same."""
        return x_BChw + self.conv2(F.relu(self.conv1(x_BChw), inplace=True))


class MSRResNet(Network):
    """MSRResNet on RGB or Y."""

    last_layer = "conv_last"
    namings = (
        Naming(
            source="older BasicSR, ClassSR, KAIR's MSRResNet1",
            pairs=(
                (r"recon_trunk\.(\d+)\.(conv[12])\.(\w+)", r"body.\1.\2.\3"),
                (r"HRconv\.(\w+)", r"conv_hr.\1"),
                (r"((conv_first|conv_last|upconv[12])\.\w+)", r"\1"),
            ),
        ),
    )
    spec = ModelSpec(
        name="msrresnet",
        paper="after Ledig et al., Photo-Realistic Single Image Super-Resolution Using a "
        "Generative Adversarial Network, CVPR 2017",
        source="XPixelGroup/BasicSR, basicsr/archs/srresnet_arch.py",
        channels="rgb",
        pre_upsampled=False,
        parameters=1_369_859,
        flops=683_458_560_000,
        receptive_field=71,
        tiny={"features": 8, "blocks": 2},
    )

    def __init__(
        self, *, scale: int, channels: Channels = "rgb", features: int = 64, blocks: int = 16
    ) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            scale: of the pixel shuffle and of the bilinear skip.
            channels: the published network works on RGB.
            features: maps of every layer but the last.
            blocks: residual blocks.
        """
        super().__init__()
        planes = PLANES[channels]
        self.scale = scale
        self.factors = stages_of(scale)
        self.conv_first = conv3(planes, features)
        self.body = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        self.upconv1 = conv3(features, features * self.factors[0] ** 2)
        self.upconv2 = conv3(features, features * 4) if scale == 4 else None
        self.conv_hr = conv3(features, features)
        self.conv_last = conv3(features, planes)
        self.rim = (1 + 2 * blocks) * scale + shuffle_reach(scale, tail=2)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                layer.weight.data *= 0.1
        zero_biases(self)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, C, h, w) LR in [0, 1] to (B, C, s*h, s*w)."""
        features = self.body(_leaky(self.conv_first(x_BChw)))
        for conv in (self.upconv1, self.upconv2):
            if conv is not None:
                features = _leaky(F.pixel_shuffle(conv(features), self.factors[0]))
        residual = self.conv_last(_leaky(self.conv_hr(features)))
        return residual + F.interpolate(
            x_BChw, scale_factor=self.scale, mode="bilinear", align_corners=False
        )

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """See :meth:`Network.arguments_of`."""
        features, planes = tensors["conv_first.weight"].shape[:2]
        factor = math.isqrt(tensors["upconv1.weight"].shape[0] // features)
        for name in ("conv_hr.weight", "body.0.conv2.weight"):
            if name not in tensors:
                raise KeyError(name)
        return {
            "scale": factor**2 if "upconv2.weight" in tensors else factor,
            "channels": "y" if planes == 1 else "rgb",
            "features": features,
            "blocks": count_names(r"body\.\d+\.conv1\.weight", tensors),
        }


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1, inplace=True)
