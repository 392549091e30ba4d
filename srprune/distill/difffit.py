"""DiffFit: fine-tune biases, label embeddings and new scale factors of a transformer alone.

Xie et al., "DiffFit: Unlocking Transferability of Large Diffusion Models via Simple
Parameter-Efficient Fine-Tuning", ICCV 2023, as the code that Cho et al. fine-tune with has it
(vimar-gu/MinimaxDiffusion at 62fc435, ``models.py`` and ``mark_difffit_trainable`` of
``train_dit.py``). Factors gamma, which start at 1, in the first half of the blocks: on queries,
keys and values; behind the projection of the attention; and on both branches as wholes. What
trains there is each parameter whose name holds "bias", "norm", "gamma" or "y_embed"; its norms have
no parameters, so that is biases, factors and label embeddings. In diffusers the modulation
(adaLN) is a part of ``norm1``: its weight, which would match by name, stands still here, too.

Each block of diffusers has label embeddings of its own, where DiT has one table for all. So there
is more of them to train: 28 tables in place of one in DiT-XL/2.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

LABELS = "class_embedder.embedding_table.weight"


class ScaledLinear(nn.Linear):
    """A linear layer whose outputs have a factor each; its own weights keep their names."""

    def __init__(self, linear: nn.Linear) -> None:
        """Take over the weights of a layer."""
        super().__init__(linear.in_features, linear.out_features, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.gamma = nn.Parameter(torch.ones_like(linear.bias))

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return self.gamma * super().forward(input)


class Scale(nn.Module):
    """A factor for each channel."""

    def __init__(self, like: Tensor) -> None:
        """As many factors as ``like`` has values."""
        super().__init__()
        self.gamma = nn.Parameter(torch.ones_like(like))

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) to the same shape."""
        return self.gamma * x


def add_factors(transformer: nn.Module) -> None:
    """Put factors of 1 into the first half of the blocks; what it computes stays bit for bit.

    Args:
        transformer: a DiTTransformer2DModel of diffusers; changed in place. Its weights keep their
            names, and the factors are those that end in ``gamma``.
    """
    blocks = cast(Any, transformer).transformer_blocks
    for block in blocks[: len(blocks) // 2]:
        attention, layers = block.attn1, block.ff.net
        for name in ("to_q", "to_k", "to_v"):
            setattr(attention, name, ScaledLinear(getattr(attention, name)))
        projection = attention.to_out[0]
        attention.to_out[0] = ScaledLinear(projection)
        attention.to_out[1] = Scale(projection.bias)  # was the dropout of a share of 0
        layers.append(Scale(layers[-1].bias))


def mark_difffit(denoiser: nn.Module) -> float:
    """Let the published subset of the parameters train, and nothing else.

    Args:
        denoiser: with the factors of :func:`add_factors`; changed in place.

    Returns:
        The share of its parameters that trains.
    """
    for name, parameter in denoiser.named_parameters():
        parameter.requires_grad = trains(name)
    sizes = [(p.numel(), p.requires_grad) for p in denoiser.parameters()]
    return sum(size for size, on in sizes if on) / sum(size for size, _ in sizes)


def trains(name: str) -> bool:
    """Whether a parameter of that name trains."""
    return name.endswith((".bias", ".gamma", LABELS))
