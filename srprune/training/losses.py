"""Losses without a state: means over all values, or a sum as Caffe has it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from srprune.training.criterion import Given, Loss


def l1(given: Given | None = None) -> Loss:
    """Mean of absolute differences."""
    return Loss(F.l1_loss, _absolute)


def mse(given: Given | None = None) -> Loss:
    """Mean of squared differences."""
    return Loss(F.mse_loss, _square)


def euclidean(given: Given | None = None) -> Loss:
    """Sum of squared differences over twice the batch, Caffe's EuclideanLoss.

    Its gradient grows with the crop; the rates and the clipping of DRRN are tuned for it.
    """
    return Loss(_half_sum_of_batch, _half_sum)


def _half_sum_of_batch(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    return F.mse_loss(output_BCHW, target_BCHW, reduction="sum") / (2 * len(output_BCHW))


def _absolute(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    return (output_BCHW - target_BCHW).abs().mean((1, 2, 3))


def _square(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    return (output_BCHW - target_BCHW).square().mean((1, 2, 3))


def _half_sum(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    return (output_BCHW - target_BCHW).square().sum((1, 2, 3)) / 2
