"""IDN, the information distillation network of Hui et al., CVPR 2018.

"Fast and Accurate Single Image Super-Resolution via Information Distillation Network".

Written from the layer table of the authors' Caffe files (Zheng222/IDN-Caffe): two 3x3 convs to 64
maps; four blocks of six 3x3 convs, whose last output is added to the block's input and the 16 maps
set aside after the third conv, and a 1x1 conv; a 17x17 transposed conv with the scale as its
stride. LeakyReLU of slope 0.05 after every conv but that last layer. The network learns what is
to be added to the bicubic enlargement of its input; the authors add that outside, here it is in.

Caffe's last layer has padding 8 and gives (h - 1) * s + 1 rows, of which row 0 is added to row
s - 1 of the bicubic image and is compared with row s - 1 of HR. Row j there is row j + 8 of the
full transposed convolution and row j + s - 1 of HR, so row r of HR is row r + 9 - s of the full
one: padding 9 - s, and the rows that Caffe leaves out at both edges are computed as well.

552,769 parameters on Y at every scale (the README of IDN-Caffe), 590,915 on RGB, counted from the
layers. Weights start from Caffe's ``msra`` with the average of the fans, a normal with
``std = sqrt(2 / ((fan_in + fan_out) / 2))``, biases from 0. Tensor names are our own; those of the
.caffemodel files stand in ``namings``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srprune.models.layers import BicubicSkip, PhaseConvTranspose2d, conv3, zero_biases
from srprune.models.network import PLANES, Channels, ModelSpec, Naming, Network

_KERNEL = 17  # of the last layer
_GROUPS = 4


class _Block(nn.Module):
    """Distillation block: six enhancing 3x3 convs and one that compresses."""

    def __init__(self, width: int) -> None:
        """Maps 16 * ``width`` to as many; so the groups of a conv are whole for any width."""
        super().__init__()
        unit = 4 * width
        self.kept = unit
        self.enhance1 = conv3(4 * unit, 3 * unit)
        self.enhance2 = nn.Conv2d(3 * unit, 2 * unit, 3, padding=1, groups=_GROUPS)
        self.enhance3 = conv3(2 * unit, 4 * unit)
        self.enhance4 = conv3(3 * unit, 4 * unit)
        self.enhance5 = nn.Conv2d(4 * unit, 3 * unit, 3, padding=1, groups=_GROUPS)
        self.enhance6 = conv3(3 * unit, 5 * unit)
        self.compress = nn.Conv2d(5 * unit, 4 * unit, 1)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, 16 * width, h, w) to the same."""
        short = _active(self.enhance2(_active(self.enhance1(x_BChw))))
        short = _active(self.enhance3(short))
        kept, rest = short[:, : self.kept], short[:, self.kept :]
        long = _active(self.enhance5(_active(self.enhance4(rest))))
        long = _active(self.enhance6(long))
        return _active(self.compress(long + torch.cat([x_BChw, kept], dim=1)))


class IDN(Network):
    """IDN on Y or RGB."""

    last_layer = "upsample"
    namings = (
        Naming(
            source="Caffe (Zheng222/IDN-Caffe)",
            pairs=(
                (r"conv1\.(weight|bias)", r"features.0.\1"),
                (r"conv2\.(weight|bias)", r"features.1.\1"),
                (r"conv3_([1-6])\.(weight|bias)", r"blocks.0.enhance\1.\2"),
                (r"conv4_([1-6])\.(weight|bias)", r"blocks.1.enhance\1.\2"),
                (r"conv5_([1-6])\.(weight|bias)", r"blocks.2.enhance\1.\2"),
                (r"conv6_([1-6])\.(weight|bias)", r"blocks.3.enhance\1.\2"),
                (r"down1\.(weight|bias)", r"blocks.0.compress.\1"),
                (r"down2\.(weight|bias)", r"blocks.1.compress.\1"),
                (r"down3\.(weight|bias)", r"blocks.2.compress.\1"),
                (r"down4\.(weight|bias)", r"blocks.3.compress.\1"),
                (r"upsample\.(weight|bias)", r"upsample.\1"),
            ),
        ),
    )
    spec = ModelSpec(
        name="idn",
        paper="Hui et al., Fast and Accurate Single Image Super-Resolution via Information "
        "Distillation Network, CVPR 2018",
        source="the authors' Caffe files, Zheng222/IDN-Caffe",
        channels="y",
        pre_upsampled=False,
        parameters=552_769,
        flops=253_919_232_000,
        receptive_field=61,
        tiny={"blocks": 1, "width": 1},
    )

    def __init__(
        self, *, scale: int, channels: Channels = "y", blocks: int = 4, width: int = 4
    ) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            scale: stride of the last layer.
            channels: the published network works on Y.
            blocks: distillation blocks.
            width: maps between the blocks, over 16; the layers within have 8, 12, 16 or 20 times
                ``width``, and 4 times ``width`` are set aside.
        """
        super().__init__()
        planes, features = PLANES[channels], 16 * width
        self.features = nn.ModuleList([conv3(planes, features), conv3(features, features)])
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        padding = 9 - scale
        self.upsample = PhaseConvTranspose2d(features, planes, _KERNEL, scale, padding)
        self.skip = BicubicSkip(scale)
        # Padding spoils as many LR rows as there are 3x3 convs. HR row r is a sum over LR rows
        # from (r + padding - kernel + 1) / s on; the far edge is clean earlier.
        convs = 2 + 6 * blocks
        self.rim = (convs - 1) * scale + _KERNEL - padding
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_normal_(layer.weight, gain=math.sqrt(2))
        zero_biases(self)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, C, h, w) LR in [0, 1] to (B, C, s*h, s*w)."""
        features = x_BChw
        for conv in self.features:
            features = _active(conv(features))
        for block in self.blocks:
            features = block(features)
        return self.upsample(features) + self.skip(x_BChw)

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """See :meth:`Network.arguments_of`; the tensors do not tell the scale."""
        planes = tensors["upsample.weight"].shape[1]
        features = tensors["blocks.0.compress.weight"].shape[0]
        blocks = 0
        while f"blocks.{blocks}.compress.weight" in tensors:
            blocks += 1
        return {
            "channels": "y" if planes == 1 else "rgb",
            "blocks": blocks,
            "width": features // 16,
        }


def _active(x: Tensor) -> Tensor:
    """LeakyReLU in place: a convolution does not need its own output for the gradient."""
    return F.leaky_relu(x, 0.05, inplace=True)
