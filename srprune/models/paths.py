"""Which of two equal ways to compute is the faster one, and where.

Each choice was measured by ``scripts/bench_models.py``, those for CUDA excepted; both ways give
the same values to 1e-5. On the ``meta`` device, where operations are only counted, layers run the
way they are published.
"""

from __future__ import annotations

import torch
from torch import Tensor

ATTENTION_VALUES = 16  # kernels want the values of a head in whole vectors of this


def phase_convolution(x: Tensor) -> bool:
    """Transposed convolutions with a large kernel as convolutions by phase."""
    return x.dtype == torch.float32 and not x.is_meta


def fused_attention(q: Tensor, bias: Tensor) -> bool:
    """``scaled_dot_product_attention`` for window attention with a relative-position bias.

    Its fused kernel on the CPU has no gradient for the bias and falls back to a slower way; in
    bf16 it is slower than plain products. The kernels of CUDA have the gradient.
    """
    if q.is_cuda:
        return True
    needs_gradient = torch.is_grad_enabled() and (q.requires_grad or bias.requires_grad)
    return q.dtype == torch.float32 and not needs_gradient and not q.is_meta


def head_padding(q: Tensor, values: int) -> int:
    """How many zeros follow the ``values`` of a head; they change no product.

    Matrix products of 10 columns waste much of a vector unit; of 30 they do not. The fused kernels
    of CUDA take multiples of 8 alone.
    """
    short = values < ATTENTION_VALUES and q.dtype == torch.float32 and not q.is_meta
    return -values % ATTENTION_VALUES if q.is_cuda or short else 0
