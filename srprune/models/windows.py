"""Attention inside 8x8 windows: Liu et al., "Swin Transformer", ICCV 2021, as SwinIR uses it.

Features are (B, H, W, C) with sides that are multiples of 8. Tensor names are those of the official
code. There are two equal ways to compute it; :mod:`srprune.models.paths` chooses.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srprune.models import paths

WINDOW = 8
TOKENS = WINDOW**2
SHIFT = WINDOW // 2
BLOCKED = -100.0  # added to the attention of pixels that the shift has made neighbours


class WindowAttention(nn.Module):
    """Multi-head attention inside 8x8 windows, with a learned bias for each relative position."""

    relative_position_index: Tensor

    def __init__(self, dim: int, heads: int) -> None:
        """Attend with ``heads`` heads of ``dim / heads`` values."""
        super().__init__()
        if dim % heads:
            raise ValueError(f"embed_dim is {dim}; it must be a multiple of heads, {heads}")
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        self.register_buffer("relative_position_index", _relative_positions())
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def bias(self) -> Tensor:
        """The bias of every pair of pixels in a window: (heads, tokens, tokens)."""
        index = self.relative_position_index.flatten()
        table = self.relative_position_bias_table[index]
        return table.view(TOKENS, TOKENS, self.heads).permute(2, 0, 1).contiguous()

    def forward(self, x_BHWC: Tensor, masks_4NN: Tensor | None) -> Tensor:
        """(B, H, W, C), sides multiples of 8, to the same.

        ``masks_4NN`` is for shifted windows: added to the attention of windows inside, in the
        last column, in the last row, and in the corner, in this order.
        """
        qkv = self.qkv(x_BHWC)
        bias = self.bias().to(qkv.dtype)
        if paths.fused_attention(qkv, bias):
            out = self._fused(qkv, bias, masks_4NN)
        else:
            out = self._explicit(qkv, bias, masks_4NN)
        return self.proj(out)

    def _split(self, qkv_BHWC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key, value by window, each (windows, heads, tokens, C / heads and zeros)."""
        B, H, W, C = qkv_BHWC.shape
        rows, columns, dim = H // WINDOW, W // WINDOW, C // (3 * self.heads)
        parts = qkv_BHWC.view(B, rows, WINDOW, columns, WINDOW, 3, self.heads, dim)
        parts = parts.permute(5, 0, 1, 3, 6, 2, 4, 7)
        if pad := paths.head_padding(qkv_BHWC, dim):  # F.pad would copy once more
            padded = parts.new_empty(*parts.shape[:-1], dim + pad)
            padded[..., :dim] = parts
            padded[..., dim:].zero_()  # torch 2.6 would copy a 0 to the device
            parts = padded
        q, k, v = parts.reshape(3, B * rows * columns, self.heads, TOKENS, dim + pad).unbind(0)
        return q, k, v

    def _merge(self, out: Tensor, size: torch.Size) -> Tensor:
        """Windows, without zeros, back into (B, H, W, C / 3) for the (B, H, W, C) of ``_split``."""
        B, H, W, C = size
        rows, columns, dim = H // WINDOW, W // WINDOW, C // (3 * self.heads)
        out = out[..., :dim].reshape(B, rows, columns, self.heads, WINDOW, WINDOW, dim)
        return out.permute(0, 1, 4, 2, 5, 3, 6).reshape(B, H, W, C // 3)

    def _fused(self, qkv: Tensor, bias: Tensor, masks: Tensor | None) -> Tensor:
        """By torch's fused attention, region by region: all windows of one share their bias."""
        if masks is None:
            return self._attend(qkv, bias)
        B, H, W, C = qkv.shape
        out = qkv.new_empty(B, H, W, C // 3)
        inside, last = slice(None, -WINDOW), slice(-WINDOW, None)
        regions = ((inside, inside), (inside, last), (last, inside), (last, last))
        for (rows, columns), mask in zip(regions, masks.to(bias.dtype), strict=True):
            part = qkv[:, rows, columns]
            if part.numel():
                out[:, rows, columns] = self._attend(part, bias + mask)
        return out

    def _attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        q, k, v = self._split(qkv)
        scale = (qkv.shape[-1] // (3 * self.heads)) ** -0.5
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None], scale=scale)
        return self._merge(attended, qkv.shape)

    def _explicit(self, qkv: Tensor, bias: Tensor, masks: Tensor | None) -> Tensor:
        """By matrix products, bias and mask added at once."""
        q, k, v = self._split(qkv)
        scale = (qkv.shape[-1] // (3 * self.heads)) ** -0.5
        attention = (q * scale) @ k.transpose(-2, -1)
        if masks is None:
            attention = attention + bias
        else:
            B, rows, columns = len(qkv), qkv.shape[1] // WINDOW, qkv.shape[2] // WINDOW
            region = torch.zeros(rows, columns, dtype=torch.long, device=qkv.device)
            region[:, -1] += 1
            region[-1] += 2
            biases = bias + masks.to(bias.dtype)[region.flatten(), None]
            by_image = attention.view(B, rows * columns, self.heads, TOKENS, TOKENS)
            attention = (by_image + biases).view_as(attention)
        return self._merge(attention.softmax(-1) @ v, qkv.shape)


def shift_masks(side: int) -> Tensor:
    """Masks of all windows of a shifted image of side x side: (windows, tokens, tokens).

    After the shift the last windows hold pixels from both ends of the image: these do not attend
    to each other.
    """
    part = torch.zeros(side)
    part[-WINDOW:-SHIFT] = 1
    part[-SHIFT:] = 2
    area = 3 * part[:, None] + part[None]
    count = side // WINDOW
    windows = area.view(count, WINDOW, count, WINDOW).transpose(1, 2).reshape(-1, TOKENS)
    return torch.where(windows[:, None] == windows[:, :, None], 0.0, BLOCKED)


def _relative_positions() -> Tensor:
    """Row of the bias table for each pair of pixels in a window: (tokens, tokens) int64."""
    place = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
    apart = place[:, None] - place[None] + WINDOW - 1
    return apart[..., 0] * (2 * WINDOW - 1) + apart[..., 1]
