"""EDSR: Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution".

CVPR Workshops 2017. Layers, initial weights and tensor names are those of EDSR-PyTorch
(sanghyun-son/EDSR-PyTorch, ``src/model/edsr.py``): conv 3 -> F; B blocks of conv, ReLU, conv,
whose output, times ``res_scale``, is added to their input; conv, and the first conv's output is
added; conv and pixel shuffle (twice for x4); conv F -> 3. All 3x3, as torch initialises them. It
works on 0 to 255 and subtracts DIV2K's mean colour first; both happen inside.

The baseline (F = 64, B = 16, res_scale 1) has 1,369,859 parameters at x2, 1,554,499 at x3 and
1,517,571 at x4; EDSR itself (256, 32, 0.1) has 40,729,603, 43,680,003 and 43,089,923. Counted from
these layers; the paper prints 1.5M and 43M. Files of EDSR-PyTorch hold 24 scalars more, the mean
colour as frozen convolutions, which are buffers here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from srprune.models.layers import MeanShift, ShuffleUpsampler, conv3, scale_of, shuffle_reach
from srprune.models.network import PLANES, Channels, ModelSpec, Naming, Network, count_names

RANGE = 255


class ResidualBlock(nn.Module):
    """Conv, ReLU, conv; the input plus a share of that."""

    def __init__(self, features: int, res_scale: float) -> None:
        """Add ``res_scale`` times what the convs give."""
        super().__init__()
        self.body = nn.Sequential(
            conv3(features, features), nn.ReLU(inplace=True), conv3(features, features)
        )
        self.res_scale = res_scale

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, features, h, w) to the same."""
        return torch.add(x_BChw, self.body(x_BChw), alpha=self.res_scale)


class EDSRBaseline(Network):
    """The baseline of the paper, on RGB or Y."""

    last_layer = "tail.1"
    res_scale: ClassVar[float] = 1.0
    constants = r"(sub|add)_mean\.(weight|bias)"
    namings = (
        Naming(
            source="BasicSR",
            pairs=(
                (r"conv_first\.(\w+)", r"head.0.\1"),
                (r"body\.(\d+)\.conv1\.(\w+)", r"body.\1.body.0.\2"),
                (r"body\.(\d+)\.conv2\.(\w+)", r"body.\1.body.2.\2"),
                (r"conv_after_body\.(\w+)", r"body.{blocks}.\1"),
                (r"upsample\.(\d+)\.(\w+)", r"tail.0.\1.\2"),
                (r"conv_last\.(\w+)", r"tail.1.\1"),
            ),
            counts={"blocks": r"body\.\d+\.conv1\.weight"},
        ),
    )
    spec = ModelSpec(
        name="edsr_baseline",
        paper="Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution, "
        "CVPR Workshops 2017",
        source="sanghyun-son/EDSR-PyTorch, src/model/edsr.py",
        channels="rgb",
        pre_upsampled=False,
        parameters=1_369_859,
        flops=632_497_766_400,
        receptive_field=73,
        tiny={"features": 8, "blocks": 2},
    )

    def __init__(
        self, *, scale: int, channels: Channels = "rgb", features: int = 64, blocks: int = 16
    ) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            scale: of the pixel shuffle.
            channels: the published network works on RGB.
            features: maps of every layer but the last.
            blocks: residual blocks.
        """
        super().__init__()
        planes = PLANES[channels]
        self.sub_mean = MeanShift(channels, RANGE, -1)
        self.add_mean = MeanShift(channels, RANGE, 1)
        self.head = nn.Sequential(conv3(planes, features))
        self.body = nn.Sequential(
            *(ResidualBlock(features, self.res_scale) for _ in range(blocks)),
            conv3(features, features),
        )
        self.tail = nn.Sequential(ShuffleUpsampler(features, scale), conv3(features, planes))
        self.rim = (1 + 2 * blocks + 1) * scale + shuffle_reach(scale)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, C, h, w) LR in [0, 1] to (B, C, s*h, s*w)."""
        features = self.head(self.sub_mean(x_BChw * RANGE))
        features = features + self.body(features)
        return self.add_mean(self.tail(features)) / RANGE

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """See :meth:`Network.arguments_of`.

        No tensor tells ``res_scale``; in EDSR-PyTorch and BasicSR files of 256 maps have 0.1.
        """
        features, planes = tensors["head.0.weight"].shape[:2]
        blocks = count_names(r"body\.\d+\.body\.0\.weight", tensors)
        if not blocks:
            raise KeyError("body.0.body.0.weight")
        if (features == 256) != (cls.res_scale < 1):
            raise KeyError("another number of maps")
        return {
            "scale": scale_of(tensors, "tail.0"),
            "channels": "y" if planes == 1 else "rgb",
            "features": features,
            "blocks": blocks,
        }


class EDSRLarge(EDSRBaseline):
    """EDSR, the large one of the paper: the baseline wider and deeper, with smaller residuals."""

    res_scale = 0.1
    spec = ModelSpec(
        name="edsr_large",
        paper=EDSRBaseline.spec.paper,
        source=EDSRBaseline.spec.source,
        channels="rgb",
        pre_upsampled=False,
        parameters=40_729_603,
        flops=18_769_497_292_800,
        receptive_field=137,
        tiny={"features": 8, "blocks": 2},
    )

    def __init__(
        self, *, scale: int, channels: Channels = "rgb", features: int = 256, blocks: int = 32
    ) -> None:
        """As the baseline, with other defaults."""
        super().__init__(scale=scale, channels=channels, features=features, blocks=blocks)
