"""DRRN: Tai et al., "Image Super-Resolution via Deep Recursive Residual Network", CVPR 2017.

DRRN(B, U) with one recursive block, B = 1, from the authors' Caffe files
(tyshiwo/DRRN_CVPR17, DRRN_B1U9_20C128 and DRRN_B1U25_52C128): a 3x3 conv to 128 maps; U times the
same residual unit of two 3x3 convs, each time added to the output of the first conv; a 3x3 conv
to the image, added to the input, which is LR enlarged by bicubic. Before every conv stand batch
norm and ReLU. The convs of the unit are the same in all recursions, their batch norms are not.
With B = 1 there is no other conv at the head of the block.

297,216 convolution weights on Y for any U (published as 297K and 298K), 385 biases, and two
scalars a map for each batch norm: 310,659 for U = 25, 302,467 for U = 9, counted from the layers.
Weights start from Caffe's ``msra``, a normal with ``std = sqrt(2 / fan_in)``, biases from 0.
``input``, ``conv1``, ``conv2`` and ``output`` are the names of jt827859032/DRRN-pytorch, which has
neither batch norm nor biases, so its files are of another network.

Published training: SGD with rate 0.1, halved every 10 epochs, momentum 0.9, weight decay 1e-4,
biases at a tenth of the rate, the norm of the gradient clipped at 0.01 / rate, sum of squares
/ (2 * batch) as the loss, 128 patches of 31x31 a step, all scales in one network. Caffe averages
the statistics of the batch norms over about 1000 steps; here it is torch's usual 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from srprune.models.layers import conv3, zero_biases
from srprune.models.network import PLANES, Channels, ModelSpec, Network


class DRRN(Network):
    """DRRN(1, U) on Y or RGB."""

    last_layer = "output"
    constants = r".+\.num_batches_tracked"
    spec = ModelSpec(
        name="drrn",
        paper="Tai et al., Image Super-Resolution via Deep Recursive Residual Network, CVPR 2017",
        source="the authors' Caffe files, tyshiwo/DRRN_CVPR17; names of "
        "jt827859032/DRRN-pytorch where it has the layer",
        channels="y",
        pre_upsampled=True,
        parameters=310_659,
        flops=13_593_791_692_800,
        receptive_field=57,
        tiny={"u": 2, "features": 8},
    )

    def __init__(
        self, *, scale: int, channels: Channels = "y", u: int = 25, features: int = 128
    ) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            scale: without effect on the layers; the input is enlarged already.
            channels: the published network works on Y.
            u: recursions of the residual unit; 9 and 25 are published.
            features: maps of every layer but the last.
        """
        super().__init__()
        planes = PLANES[channels]
        self.bn_input = nn.BatchNorm2d(planes)
        self.input = conv3(planes, features)
        self.bn1 = nn.ModuleList(nn.BatchNorm2d(features) for _ in range(u))
        self.conv1 = conv3(features, features)
        self.bn2 = nn.ModuleList(nn.BatchNorm2d(features) for _ in range(u))
        self.conv2 = conv3(features, features)
        self.bn_output = nn.BatchNorm2d(features)
        self.output = conv3(features, planes)
        self.rim = 1 + 2 * u + 1
        for layer in (self.input, self.conv1, self.conv2, self.output):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        zero_biases(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) enlarged LR in [0, 1] to (B, C, H, W)."""
        first = self.input(_active(self.bn_input(x_BCHW)))
        features = first
        for bn1, bn2 in zip(self.bn1, self.bn2, strict=True):
            inner = self.conv1(_active(bn1(features)))
            features = first + self.conv2(_active(bn2(inner)))
        return x_BCHW + self.output(_active(self.bn_output(features)))

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """See :meth:`Network.arguments_of`; the tensors do not tell the scale."""
        planes = tensors["input.weight"].shape[1]
        features = tensors["bn1.0.weight"].shape[0]  # not there: the port without batch norm
        u = 0
        while f"bn1.{u}.weight" in tensors:
            u += 1
        return {"channels": "y" if planes == 1 else "rgb", "u": u, "features": features}


def _active(x: Tensor) -> Tensor:
    """ReLU in place: batch norm does not need its own output for the gradient."""
    return F.relu(x, inplace=True)
