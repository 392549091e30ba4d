"""Losses by name, of a batch and crop by crop: means over all values, or a sum as Caffe has it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F


def euclidean(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Sum of squares over twice the batch, Caffe's EuclideanLoss.

    Its gradient grows with the crop; the rates and the clipping of DRRN are tuned for it.
    """
    return F.mse_loss(output_BCHW, target_BCHW, reduction="sum") / (2 * len(output_BCHW))


def _absolute(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    return (output_BCHW - target_BCHW).abs().mean((1, 2, 3))


def _square(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    return (output_BCHW - target_BCHW).square().mean((1, 2, 3))


def _half_sum(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    return (output_BCHW - target_BCHW).square().sum((1, 2, 3)) / 2


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "euclidean": euclidean,
}

BY_CROP: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": _absolute,
    "mse": _square,
    "euclidean": _half_sum,
}
"""(B,) the loss of each crop alone; their mean is the loss of the batch."""
