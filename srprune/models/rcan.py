"""RCAN: Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks".

ECCV 2018. Layers, initial weights and tensor names are those of the authors' code
(yulunzhang/RCAN, ``RCAN_TrainCode/code/model/rcan.py``): conv 3 -> F; G groups; conv, and the
first conv's output is added; conv and pixel shuffle (twice for x4); conv F -> 3. A group is B
blocks and a conv, plus its input. A block is conv, ReLU, conv, channel attention, plus its input.
Channel attention multiplies each map by a number in (0, 1): the mean of each map, 1x1 conv F ->
F / r, ReLU, 1x1 conv back, sigmoid. Other convs are 3x3; all start as torch initialises them. It
works on 0 to 255 and subtracts DIV2K's mean colour first; both happen inside.

With G = 10, B = 20, F = 64, r = 16 it has 15,444,643 parameters at x2, 15,629,283 at x3 and
15,592,355 at x4, counted from these layers; the paper prints 16M. The authors' files hold 24
scalars more, the mean colour as frozen convolutions, which are buffers here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from srprune.models.layers import MeanShift, ShuffleUpsampler, conv3, scale_of, shuffle_reach
from srprune.models.network import PLANES, Channels, ModelSpec, Naming, Network, count_names

RANGE = 255


class ChannelAttention(nn.Module):
    """Each map times a number in (0, 1) that follows from the means of all maps."""

    def __init__(self, features: int, hidden: int) -> None:
        """Squeeze the means to ``hidden`` values in between."""
        super().__init__()
        self.conv_du = nn.Sequential(
            nn.Conv2d(features, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, features, 1),
            nn.Sigmoid(),
        )

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, features, h, w) to the same."""
        return x_BChw * self.conv_du(torch.mean(x_BChw, dim=(2, 3), keepdim=True))


class Residual(nn.Module):
    """Its input plus what ``body`` makes of it: a block, or a group of blocks."""

    def __init__(self, *layers: nn.Module) -> None:
        """One after the other."""
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, features, h, w) to the same."""
        return x_BChw + self.body(x_BChw)


class RCAN(Network):
    """RCAN on RGB or Y."""

    last_layer = "tail.1"
    constants = r"(sub|add)_mean\.(weight|bias)"
    namings = (
        Naming(
            source="BasicSR",
            pairs=(
                (r"conv_first\.(\w+)", r"head.0.\1"),
                (
                    r"body\.(\d+)\.residual_group\.(\d+)\.rcab\.([02])\.(\w+)",
                    r"body.\1.body.\2.body.\3.\4",
                ),
                (
                    r"body\.(\d+)\.residual_group\.(\d+)\.rcab\.3\.attention\.1\.(\w+)",
                    r"body.\1.body.\2.body.3.conv_du.0.\3",
                ),
                (
                    r"body\.(\d+)\.residual_group\.(\d+)\.rcab\.3\.attention\.3\.(\w+)",
                    r"body.\1.body.\2.body.3.conv_du.2.\3",
                ),
                (r"body\.(\d+)\.conv\.(\w+)", r"body.\1.body.{blocks}.\2"),
                (r"conv_after_body\.(\w+)", r"body.{groups}.\1"),
                (r"upsample\.(\d+)\.(\w+)", r"tail.0.\1.\2"),
                (r"conv_last\.(\w+)", r"tail.1.\1"),
            ),
            counts={
                "groups": r"body\.\d+\.conv\.weight",
                "blocks": r"body\.0\.residual_group\.\d+\.rcab\.0\.weight",
            },
        ),
    )
    spec = ModelSpec(
        name="rcan",
        paper="Zhang et al., Image Super-Resolution Using Very Deep Residual Channel Attention "
        "Networks, ECCV 2018",
        source="yulunzhang/RCAN, RCAN_TrainCode/code/model/rcan.py",
        channels="rgb",
        pre_upsampled=False,
        parameters=15_444_643,
        flops=7_053_557_964_800,
        receptive_field=829,
        tiny={"features": 8, "groups": 2, "blocks": 2, "reduction": 1},
        sees_all=True,
    )

    def __init__(
        self,
        *,
        scale: int,
        channels: Channels = "rgb",
        features: int = 64,
        groups: int = 10,
        blocks: int = 20,
        reduction: int = 16,
    ) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            scale: of the pixel shuffle.
            channels: the published network works on RGB.
            features: maps of every layer but the last.
            groups: residual groups.
            blocks: blocks of a group.
            reduction: channel attention squeezes to ``features // reduction`` values.

        Raises:
            ValueError: that would leave none.
        """
        if reduction > features:
            raise ValueError(f"reduction is {reduction}; it must not exceed features, {features}")
        super().__init__()
        planes = PLANES[channels]
        hidden = features // reduction
        self.sub_mean = MeanShift(channels, RANGE, -1)
        self.add_mean = MeanShift(channels, RANGE, 1)
        self.head = nn.Sequential(conv3(planes, features))
        self.body = nn.Sequential(
            *(_group(features, hidden, blocks) for _ in range(groups)), conv3(features, features)
        )
        self.tail = nn.Sequential(ShuffleUpsampler(features, scale), conv3(features, planes))
        self.rim = (1 + groups * (2 * blocks + 1) + 1) * scale + shuffle_reach(scale)

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, C, h, w) LR in [0, 1] to (B, C, s*h, s*w)."""
        features = self.head(self.sub_mean(x_BChw * RANGE))
        features = features + self.body(features)
        return self.add_mean(self.tail(features)) / RANGE

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """See :meth:`Network.arguments_of`.

        ``reduction`` is the largest that gives the same layers: the one that was asked for, if it
        divides ``features``.
        """
        features, planes = tensors["head.0.weight"].shape[:2]
        hidden = tensors["body.0.body.0.body.3.conv_du.0.weight"].shape[0]
        return {
            "scale": scale_of(tensors, "tail.0"),
            "channels": "y" if planes == 1 else "rgb",
            "features": features,
            "groups": count_names(r"body\.\d+\.body\.0\.body\.0\.weight", tensors),
            "blocks": count_names(r"body\.0\.body\.\d+\.body\.0\.weight", tensors),
            "reduction": features // hidden,
        }


def _group(features: int, hidden: int, blocks: int) -> Residual:
    return Residual(*(_block(features, hidden) for _ in range(blocks)), conv3(features, features))


def _block(features: int, hidden: int) -> Residual:
    return Residual(
        conv3(features, features),
        nn.ReLU(inplace=True),
        conv3(features, features),
        ChannelAttention(features, hidden),
    )
