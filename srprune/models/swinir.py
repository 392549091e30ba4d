"""SwinIR: Liang et al., "SwinIR: Image Restoration Using Swin Transformer", ICCV Workshops 2021.

Classical SR (SwinIR-M) and lightweight SR, written from the layer table of the official
repository (JingyunLiang/SwinIR, ``models/network_swinir.py``), whose tensor names these are;
BasicSR uses the same. Conv 3 -> E; L groups of n transformer blocks with 8x8 windows, every
second one shifted by 4, and a conv; conv; then, in SwinIR-M, conv E -> 64, LeakyReLU, pixel
shuffle, conv; in the lightweight one, conv E -> 3 s * s and pixel shuffle.

SwinIR-M has 11,752,487 parameters at x2, 11,937,127 at x3, 11,900,199 at x4 ("11.8M"); the
lightweight one 910,152, 918,267, 929,628. The paper prints 878K, 886K, 897K: each is 32,460 lower,
one 60 -> 60 conv that the released code and weights do have.

Linear layers and bias tables start from a normal with std 0.02 cut at 2, convs as torch has them.
Stochastic depth rises to 0.1 over the blocks. Features stay (B, H, W, C) from end to end, which is
what a window and a linear layer want and what convolutions take as channels_last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srprune.models.layers import ShuffleUpsampler, conv3, mean_of, scale_of, shuffle_reach
from srprune.models.network import PLANES, Channels, ModelSpec, Network, RandomLayer
from srprune.models.windows import SHIFT, TOKENS, WINDOW, WindowAttention, shift_masks

DROP_PATH = 0.1
TAIL = 64  # maps in front of the pixel shuffle of SwinIR-M


class TransformerBlock(RandomLayer):
    """LayerNorm, window attention, LayerNorm, MLP, each pair with a skip."""

    attn_mask: Tensor | None
    masks_4NN: Tensor | None

    def __init__(
        self, dim: int, heads: int, mlp_ratio: int, *, shifted: bool, drop_path: float, side: int
    ) -> None:
        """One block; ``side`` is that of training images, for which the official mask is kept."""
        super().__init__()
        self.shifted = shifted and side > WINDOW  # the official code does not shift one window
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(dim, mlp_ratio * dim), "fc2": nn.Linear(mlp_ratio * dim, dim)}
        )
        # What the official code stores; computing needs no more than the mask of 2x2 windows.
        self.register_buffer("attn_mask", shift_masks(side) if self.shifted else None)
        four = shift_masks(2 * WINDOW) if self.shifted else None
        self.register_buffer("masks_4NN", four, persistent=False)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        y = self.norm1(x_BHWC)
        if self.shifted:
            y = torch.roll(y, (-SHIFT, -SHIFT), (1, 2))
        y = self.attn(y, self.masks_4NN)
        if self.shifted:
            y = torch.roll(y, (SHIFT, SHIFT), (1, 2))
        x = x_BHWC + self._drop(y)
        y = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))
        return x + self._drop(y)

    def _drop(self, y_BHWC: Tensor) -> Tensor:
        """Stochastic depth (Huang et al. 2016): leaves the branch out for some images."""
        if not self.training or not self.drop_path:
            return y_BHWC
        keep = 1 - self.drop_path
        return y_BHWC * (self.drawn(y_BHWC, keep) / keep)


class ResidualGroup(nn.Module):
    """Blocks, a conv, and a skip (RSTB)."""

    def __init__(self, dim: int, blocks: list[TransformerBlock]) -> None:
        """Join ``blocks``."""
        super().__init__()
        self.residual_group = nn.ModuleDict({"blocks": nn.Sequential(*blocks)})
        self.conv = conv3(dim, dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        y = self.residual_group["blocks"](x_BHWC)
        return x_BHWC + _on_pixels(self.conv, y)


class SwinIR(Network):
    """SwinIR-M for classical SR."""

    mean_C11: Tensor
    last_layer = "conv_last"
    constants = r".*\.(attn_mask|relative_position_index)"
    spec = ModelSpec(
        name="swinir",
        paper="Liang et al., SwinIR: Image Restoration Using Swin Transformer, ICCVW 2021",
        source="JingyunLiang/SwinIR models/network_swinir.py; names of the same",
        channels="rgb",
        pre_upsampled=False,
        parameters=11_752_487,
        flops=5_743_755_878_400,
        receptive_field=307,
        tiny={"embed_dim": 12, "groups": 2, "depth": 2, "heads": 3, "img_size": 16},
        minimum=SHIFT + 1,
        multiple=WINDOW,
    )

    def __init__(
        self,
        *,
        scale: int,
        channels: Channels = "rgb",
        embed_dim: int = 180,
        groups: int = 6,
        depth: int = 6,
        heads: int = 6,
        mlp_ratio: int = 2,
        img_size: int = 48,
    ) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            scale: of the pixel shuffle.
            channels: the published network works on RGB.
            embed_dim: maps E; a multiple of ``heads``.
            groups: residual groups L.
            depth: transformer blocks of a group.
            heads: of each attention.
            mlp_ratio: width of the hidden layer, times E.
            img_size: side of training LR crops, a multiple of 8; decides the size of the masks
                that the official code stores, and nothing else. 48 for DIV2K, 64 for DF2K.
        """
        super().__init__()
        if img_size % WINDOW:
            raise ValueError(f"img_size is {img_size}; it must be a multiple of {WINDOW}")
        planes, total = PLANES[channels], groups * depth
        drops = [DROP_PATH * i / max(1, total - 1) for i in range(total)]
        self.scale = scale
        # on the device from the start: a copy in forward cannot be captured as a graph
        mean = torch.tensor(mean_of(channels))[:, None, None]
        self.register_buffer("mean_C11", mean, persistent=False)
        self.conv_first = conv3(planes, embed_dim)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(embed_dim)})
        self.layers = nn.Sequential(
            *(
                ResidualGroup(
                    embed_dim,
                    [
                        TransformerBlock(
                            embed_dim,
                            heads,
                            mlp_ratio,
                            shifted=j % 2 == 1,
                            drop_path=drops[i * depth + j],
                            side=img_size,
                        )
                        for j in range(depth)
                    ],
                )
                for i in range(groups)
            )
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = conv3(embed_dim, embed_dim)
        tail = self._make_tail(embed_dim, planes)
        self.rim = _reach(groups, depth, img_size > WINDOW) * scale + tail
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def _make_tail(self, embed_dim: int, planes: int) -> int:
        """Add the layers behind the body; return their reach in HR px."""
        self.conv_before_upsample = nn.Sequential(conv3(embed_dim, TAIL), nn.LeakyReLU())
        self.upsample: nn.Sequential = ShuffleUpsampler(TAIL, self.scale)
        self.conv_last = conv3(TAIL, planes)
        return self.scale + shuffle_reach(self.scale)

    def _tail(self, x_BChw: Tensor) -> Tensor:
        return self.conv_last(self.upsample(self.conv_before_upsample(x_BChw)))

    def forward(self, x_BChw: Tensor) -> Tensor:
        """(B, C, h, w) LR in [0, 1], sides of at least 5 px, to (B, C, s*h, s*w)."""
        height, width = x_BChw.shape[-2:]
        x = F.pad(x_BChw - self.mean_C11, (0, -width % WINDOW, 0, -height % WINDOW), mode="reflect")
        shallow = self.conv_first(x)
        deep = self.patch_embed["norm"](shallow.permute(0, 2, 3, 1))
        deep = self.norm(self.layers(deep)).permute(0, 3, 1, 2)
        y = self._tail(shallow + self.conv_after_body(deep))
        return y[:, :, : self.scale * height, : self.scale * width] + self.mean_C11

    @classmethod
    def arguments_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """See :meth:`Network.arguments_of`."""
        first = tensors["conv_first.weight"]
        block = "layers.0.residual_group.blocks"
        table = tensors[f"{block}.0.attn.relative_position_bias_table"]
        if len(table) != (2 * WINDOW - 1) ** 2:
            raise KeyError("another window")
        arguments = {
            "scale": cls._scale_of(tensors),
            "channels": "y" if first.shape[1] == 1 else "rgb",
            "embed_dim": first.shape[0],
            "groups": _count(tensors, "layers"),
            "depth": _count(tensors, block),
            "heads": table.shape[1],
            "mlp_ratio": tensors[f"{block}.0.mlp.fc1.bias"].shape[0] // first.shape[0],
        }
        mask = tensors.get(f"{block}.1.attn_mask")
        if mask is None or mask.shape[1:] != (TOKENS, TOKENS):
            return arguments
        return {**arguments, "img_size": int(len(mask) ** 0.5) * WINDOW}

    @classmethod
    def _scale_of(cls, tensors: Mapping[str, Tensor]) -> int:
        if "conv_before_upsample.0.weight" not in tensors:
            raise KeyError("conv_before_upsample.0.weight")
        return scale_of(tensors, "upsample")


class SwinIRLight(SwinIR):
    """SwinIR for lightweight SR."""

    last_layer = "upsample"
    spec = ModelSpec(
        name="swinir_light",
        paper=SwinIR.spec.paper,
        source=SwinIR.spec.source,
        channels="rgb",
        pre_upsampled=False,
        parameters=910_152,
        flops=481_821_696_000,
        receptive_field=207,
        tiny={"embed_dim": 12, "groups": 2, "depth": 2, "heads": 3, "img_size": 16},
        minimum=SHIFT + 1,
        multiple=WINDOW,
    )

    def __init__(
        self,
        *,
        scale: int,
        channels: Channels = "rgb",
        embed_dim: int = 60,
        groups: int = 4,
        depth: int = 6,
        heads: int = 6,
        mlp_ratio: int = 2,
        img_size: int = 64,
    ) -> None:
        """As SwinIR, with other defaults and a shorter tail."""
        super().__init__(
            scale=scale,
            channels=channels,
            embed_dim=embed_dim,
            groups=groups,
            depth=depth,
            heads=heads,
            mlp_ratio=mlp_ratio,
            img_size=img_size,
        )

    def _make_tail(self, embed_dim: int, planes: int) -> int:
        self.upsample = nn.Sequential(
            conv3(embed_dim, planes * self.scale**2), nn.PixelShuffle(self.scale)
        )
        return self.scale

    def _tail(self, x_BChw: Tensor) -> Tensor:
        return self.upsample(x_BChw)

    @classmethod
    def _scale_of(cls, tensors: Mapping[str, Tensor]) -> int:
        if "conv_last.weight" in tensors:
            raise KeyError("a longer tail")
        last = tensors["upsample.0.bias"].shape[0] // tensors["conv_first.weight"].shape[1]
        return int(last**0.5)


def _on_pixels(conv: nn.Module, x_BHWC: Tensor) -> Tensor:
    """A convolution of (B, H, W, C); the permutation moves no data, it is channels_last."""
    return conv(x_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered modules there are under a prefix."""
    start = f"{prefix}."
    return len({name[len(start) :].split(".")[0] for name in tensors if name.startswith(start)})


def _reach(groups: int, depth: int, shifts: bool) -> int:
    """LR px from which a pixel in front of the tail is reached, at worst over its place.

    Walks back through the layers: a conv widens by 1, a window to its own ends.
    """
    worst = 0
    for place in range(WINDOW):
        low, high = place - 1, place + 1  # conv_after_body
        for _ in range(groups):
            low, high = low - 1, high + 1
            for block in reversed(range(depth)):
                offset = SHIFT if shifts and block % 2 else 0
                low = (low - offset) // WINDOW * WINDOW + offset
                high = (high - offset) // WINDOW * WINDOW + offset + WINDOW - 1
        worst = max(worst, place - low + 1, high + 1 - place)  # and conv_first
    return worst
