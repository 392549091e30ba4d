"""Losses by name: the mean over all values of a batch, or a sum as Caffe has it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F


def euclidean(output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Sum of squares over twice the batch, Caffe's EuclideanLoss.

    Its gradient grows with the crop; the rates and the clipping of DRRN are tuned for it.
    """
    return F.mse_loss(output_BCHW, target_BCHW, reduction="sum") / (2 * len(output_BCHW))


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "euclidean": euclidean,
}
