"""What is wrong with each pixel of a reconstruction; the mean over a patch is its score.

A measure turns the SR of one or several restorers, and HR, into a map with one number a pixel.
SR and HR have the scoring model's channels, on the scale 0..1, neither rounded nor clipped. The
mean of the map over a window, and then :meth:`Measure.score`, is the score; higher is harder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

Scores = npt.NDArray[np.float64]

NO_ERROR = 1e-10  # an MSE below counts as this: PSNR ends at 100 dB
_C1, _C2 = 0.01**2, 0.03**2  # of SSIM, for values in 0..1
_SIGMA, _RADIUS = 1.5, 5  # of SSIM's 11x11 window


class Measure(ABC):
    """One reconstruction score.

    Attributes:
        reach: px around a pixel that have a say in its number; as many at each edge of a patch are
            not scored, since what they need is not there.
        turns: True if one restorer alone is asked eight times, for each flip and quarter turn.
    """

    reach: ClassVar[int] = 0
    turns: ClassVar[bool] = False

    @abstractmethod
    def map(self, sr: Sequence[Tensor], hr_BCHW: Tensor) -> Tensor:
        """The map, (B, H, W) float.

        Args:
            sr: (B, C, H, W) of each restorer, or of each turn.
            hr_BCHW: the truth.
        """

    def score(self, mean_N: Scores) -> Scores:
        """The last step: scores from the means of windows; it keeps their order."""
        return mean_N


class Mse(Measure):
    """The paper's score, ``l = MSE(M(x), y)`` (Moser et al. 2024, section 3)."""

    def map(self, sr: Sequence[Tensor], hr_BCHW: Tensor) -> Tensor:
        """Squared error, the mean of the channels."""
        return _mean(_squares(sr[0], hr_BCHW))


class Bicubic(Mse):
    """MSE of bicubic interpolation on Y; needs no network."""


class L1(Measure):
    """Mean absolute error: what most SR networks are trained on."""

    def map(self, sr: Sequence[Tensor], hr_BCHW: Tensor) -> Tensor:
        """Absolute error, the mean of the channels."""
        return _mean((sr[0] - hr_BCHW).abs_())


class Psnr(Mse):
    """Minus the PSNR of a patch in dB: the order of ``mse`` on a scale that people know."""

    def score(self, mean_N: Scores) -> Scores:
        """``10 * log10(MSE)``, which is minus PSNR for a peak of 1; at least -100 dB."""
        return 10 * np.log10(np.maximum(mean_N, NO_ERROR))


class Ssim(Measure):
    """1 - SSIM of Wang et al. 2004, as :func:`srprune.evaluation.metrics.ssim` defines it.

    With 11x11 windows that lie wholly within what is scored, so a margin of 5 px has no number of
    its own. The channels of a network on RGB count alike.
    """

    reach: ClassVar[int] = _RADIUS

    def map(self, sr: Sequence[Tensor], hr_BCHW: Tensor) -> Tensor:
        """1 - SSIM around each pixel; beyond the edge, which no score reads, the edge goes on."""
        a, b = (_wide(x) for x in (sr[0], hr_BCHW))
        mean_a, mean_b, aa, bb, ab = (_blur(x) for x in (a, b, a * a, b * b, a * b))
        top = (2 * mean_a * mean_b + _C1) * (2 * (ab - mean_a * mean_b) + _C2)
        var = aa - mean_a**2 + bb - mean_b**2
        return _mean(1 - top / ((mean_a**2 + mean_b**2 + _C1) * (var + _C2)))


class Uncertainty(Measure):
    """How far answers differ: the variance over restorers, or over the turns of a single one.

    HR has no say in it. A network that knew the answer would give the same one for each of the 8
    flips and quarter turns (the views of the self-ensemble, Lim et al., CVPRW 2017), and so would
    several trainings of it (deep ensembles, Lakshminarayanan et al., NeurIPS 2017).
    """

    turns: ClassVar[bool] = True

    def map(self, sr: Sequence[Tensor], hr_BCHW: Tensor) -> Tensor:
        """Variance of the answers around their mean, the mean of the channels."""
        return _mean(torch.stack(list(sr)).var(dim=0, correction=0))


class Reducible(Measure):
    """MSE of a weak restorer minus MSE of a strong one: what can still be learned.

    The reducible holdout loss of Mindermann et al., ICML 2022, for SR. Noise is as hard for the
    strong one and scores nothing; below 0 the strong one is the worse of the two.
    """

    def map(self, sr: Sequence[Tensor], hr_BCHW: Tensor) -> Tensor:
        """Squared error of the first minus that of the second, the mean of the channels."""
        weak, strong = sr
        return _mean(_squares(weak, hr_BCHW).sub_(_squares(strong, hr_BCHW)))


def _squares(sr_BCHW: Tensor, hr_BCHW: Tensor) -> Tensor:
    return (sr_BCHW - hr_BCHW).square_()


def _mean(x_BCHW: Tensor) -> Tensor:
    return x_BCHW[:, 0] if x_BCHW.shape[1] == 1 else x_BCHW.mean(dim=1)


def _wide(x_BCHW: Tensor) -> Tensor:
    """Values in float64, as differences of squares need them, with 5 px more at each edge."""
    padded = F.pad(x_BCHW, (_RADIUS,) * 4, mode="replicate")
    return padded if x_BCHW.device.type == "mps" else padded.double()  # MPS has no float64


def _blur(x_BCHW: Tensor) -> Tensor:
    """Gaussian mean of every whole 11x11 window."""
    offsets = np.arange(-_RADIUS, _RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    for dim in (2, 3):
        length = x_BCHW.shape[dim] - 2 * _RADIUS
        total = x_BCHW.narrow(dim, 0, length) * weights[0]
        for tap, weight in enumerate(weights[1:], start=1):
            total.add_(x_BCHW.narrow(dim, tap, length), alpha=weight)
        x_BCHW = total
    return x_BCHW
