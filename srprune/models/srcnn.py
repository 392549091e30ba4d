"""SRCNN: Dong et al., "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 2016.

Written from the paper's layer table: 9x9 conv to 64 maps, ReLU, a middle conv to 32 maps, ReLU,
5x5 conv to the image. The input is LR enlarged by bicubic; there is no skip connection. 9-1-5
has 8,129 parameters on Y (8,032 weights, the "8K" of the literature), 9-5-5 has 57,281 ("57K").
Weights start from N(0, 0.001), biases from 0, as published, unless ``init`` says otherwise. Zero
padding keeps the size, as in all re-implementations; the paper trained without padding, which is
why loss and score can leave out the rim that padding spoils (``rim``). Tensor names are those of
yjn870/SRCNN-pytorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from srprune.models.layers import zero_biases
from srprune.models.network import PLANES, Channels, ModelSpec, Network

_MIDDLE = {"9-1-5": 1, "9-3-5": 3, "9-5-5": 5}


class SRCNN(Network):
    """SRCNN on Y or RGB."""

    last_layer = "conv3"
    spec = ModelSpec(
        name="srcnn",
        paper="Dong et al., Image Super-Resolution Using Deep Convolutional Networks, TPAMI 2016",
        source="the paper's layer table; names of yjn870/SRCNN-pytorch",
        channels="y",
        pre_upsampled=True,
        parameters=8_129,
        flops=14_804_582_400,
        receptive_field=11,
    )

    def __init__(
        self,
        *,
        scale: int,
        channels: Channels = "y",
        variant: Literal["9-1-5", "9-3-5", "9-5-5"] = "9-1-5",
        init: Literal["published", "he"] = "published",
    ) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            scale: without effect on the layers; the input is enlarged already.
            channels: the published network works on Y.
            variant: kernel sizes of the three layers.
            init: ``published`` starts from N(0, 0.001) and needs very many steps; ``he`` (He et
                al. 2015) is above bicubic after hundreds. Layers and count are the same.
        """
        super().__init__()
        planes, middle = PLANES[channels], _MIDDLE[variant]
        self.conv1 = nn.Conv2d(planes, 64, 9, padding=4)
        self.conv2 = nn.Conv2d(64, 32, middle, padding=middle // 2)
        self.conv3 = nn.Conv2d(32, planes, 5, padding=2)
        self.rim = 4 + middle // 2 + 2
        for layer in (self.conv1, self.conv2, self.conv3):
            if init == "published":
                nn.init.normal_(layer.weight, std=0.001)
            else:
                last = layer is self.conv3  # no ReLU behind it
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if last else "relu")
        zero_biases(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) enlarged LR in [0, 1] to (B, C, H, W)."""
        features = torch.relu(self.conv1(x_BCHW))
        features = torch.relu(self.conv2(features))
        return self.conv3(features)

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """See :meth:`Network.arguments_of`; the tensors do not tell the scale."""
        middle = tensors["conv2.weight"].shape[-1]
        return {
            "channels": "y" if tensors["conv1.weight"].shape[1] == 1 else "rgb",
            "variant": f"9-{middle}-5",
        }
