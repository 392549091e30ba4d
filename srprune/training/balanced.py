r"""BDLoss, the balanced diversity loss of WBSR (Yu et al., NeurIPS 2024, equation 14).

::

    L = -log N(y; y^, s^2 I) + log sum_i phi_i N(y^; mu_i, Sigma_i + s^2 I) + lambda ||theta||_2

for target y, output y^, a Gaussian mixture (phi, mu, Sigma) of the training targets and a noise s.
The first term draws the output to the target, the second pushes it away from frequent values. It is
the Balanced MSE of Ren et al. (CVPR 2022) in its closed form, GAI. What the paper leaves open is
read as in that code (jiawei-ren/BalancedMSE, ``gai_loss`` and ``gai_loss_md``):

- the two densities, not the penalty, are multiplied by 2 s^2, of which no gradient is taken. The
  first term is then the squared error, whatever s is, and rates that suit MSE suit this loss;
- s is learned beside the network.

The rest is ours; the reasons stand in docs/adr/0016-readings-of-wbsr.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from srprune.training.criterion import Fault, Given, Loss, StatefulCriterion
from srprune.training.mixture import Mixture

# A tenth of the standard deviation of 8-bit rounding, 1 / (255 sqrt(12)) = 0.0011. No network
# can foresee how a target was rounded, so an honest sigma stays above that.
SIGMA_FLOOR = 0.1 / (255 * math.sqrt(12))

# Numbers (components x dimension x pixels) that a CPU works on at a time: they stay in its cache
CHUNK = 1 << 17

# Logarithm of a share that changes no sum; smaller ones are denormal, and slow on CPUs
NOTHING = -60.0


class BalancedLoss(StatefulCriterion):
    """BDLoss of a batch: () from output and target.

    The dimension of the mixture tells which of two it is. With D = 1 each channel value is judged
    alone, and RGB values share one mixture; with D = 3 a pixel's RGB is one vector, and the mean is
    over pixels, so the squared error is the sum over channels.

    Attributes:
        log_sigma: log s, (); a parameter, or a buffer where it is not learned. It is the logarithm
            because a step of Adam is then a share of s: the parent's rate of 1e-2 beside its first
            s of 1 is one percent a step; at the s of SR, 0.01 to 0.1, such a step on s itself would
            go past zero.
    """

    log_sigma: Tensor
    heights_L: Tensor
    spreads_LD: Tensor
    axes_LDD: Tensor
    centres_LD: Tensor

    def __init__(
        self,
        mixture: Mixture,
        *,
        sigma: float = 0.03,
        learn_sigma: bool = True,
        sigma_lr: float = 1e-2,
        penalty: float = 0.0,
        weights: Sequence[Tensor] = (),
    ) -> None:
        """Set up the loss.

        Args:
            mixture: of training targets.
            sigma: s, or what it starts from; above 0.
            learn_sigma: whether it is a parameter.
            sigma_lr: its learning rate at its peak.
            penalty: lambda, on the L2 norm (not its square) of ``weights``.
            weights: theta.
        """
        super().__init__()
        self.dimension, self.peak_lr = mixture.dimension, sigma_lr
        self._penalty, self._weights = penalty, list(weights)
        log_sigma = torch.tensor(math.log(sigma))
        if learn_sigma:
            self.log_sigma = nn.Parameter(log_sigma)
        else:
            self.register_buffer("log_sigma", log_sigma)
        # along its eigenvectors Sigma + s^2 I is diagonal, whatever s is
        spreads_LD, vectors_LDD = np.linalg.eigh(mixture.covariances_LDD)
        axes_LDD = vectors_LDD.transpose(0, 2, 1)
        constants = {
            "heights_L": np.log(mixture.weights_L),
            "spreads_LD": spreads_LD,
            "axes_LDD": axes_LDD,
            "centres_LD": (axes_LDD @ mixture.means_LD[:, :, None])[:, :, 0],
        }
        dtype = torch.get_default_dtype()
        for name, values in constants.items():  # the file of the mixture keeps them
            self.register_buffer(name, torch.tensor(values, dtype=dtype), persistent=False)

    def forward(self, output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """The loss of a batch, ()."""
        variance = self._variance()
        scale = variance.detach()
        square = self.dimension * F.mse_loss(output_BCHW, target_BCHW)
        ratios_P = _LogRatio.apply(self._columns(output_BCHW), variance, *self._mixture())
        loss = square * (scale / variance) + 2 * scale * ratios_P.mean()
        if self._penalty:
            norms = torch.stack([torch.linalg.vector_norm(each) for each in self._weights])
            loss = loss + self._penalty * torch.linalg.vector_norm(norms)
        return loss

    @torch.no_grad()
    def by_crop(self, output_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
        """(B,) the loss of each crop alone, without the penalty and without gradients.

        Their mean is the loss of the batch.
        """
        variance = self._variance()
        squares_B = self.dimension * (output_BCHW - target_BCHW).square().mean((1, 2, 3))
        values_DP = self._columns(output_BCHW)
        ratios_P, _, _ = _log_ratio(values_DP, variance, self._mixture(), gradients=False)
        return squares_B + 2 * variance * ratios_P.view(len(squares_B), -1).mean(1)

    def sigma(self) -> Tensor:
        """s, (), detached."""
        return self.log_sigma.detach().exp()

    def fault(self) -> Fault | None:
        """Why training cannot go on: s is not finite, or smaller than any error can be."""
        sigma = float(self.sigma())
        if math.isfinite(sigma) and sigma >= SIGMA_FLOOR:
            return None
        became = f"has collapsed to {sigma:.2g}" if sigma < SIGMA_FLOOR else "is no longer finite"
        return Fault(
            f"sigma of the loss bd {became}",
            "Lower balance.sigma_lr, or set balance.learn_sigma=false",
        )

    def facts(self) -> dict[str, float]:
        """Where s has come to."""
        return {"sigma": float(self.sigma())}

    def _variance(self) -> Tensor:
        return (2 * self.log_sigma).exp()

    def _mixture(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.heights_L, self.spreads_LD, self.axes_LDD, self.centres_LD

    def _columns(self, image_BCHW: Tensor) -> Tensor:
        """(D, P) the values of all crops, one column each, crop after crop."""
        if self.dimension == 1:
            return image_BCHW.reshape(1, -1)
        assert image_BCHW.shape[1] == self.dimension, "a mixture of colours, but no RGB"
        return image_BCHW.movedim(1, 0).reshape(self.dimension, -1)


def bd(given: Given) -> Loss:
    """Balanced diversity loss of WBSR: the squared error, away from frequent values."""
    balance, network = given.balance, given.network
    assert balance is not None  # the config sees to it
    weights = list(network.parameters())
    criterion = BalancedLoss(
        Mixture.read(given.mixture),
        sigma=balance.sigma,
        learn_sigma=balance.learn_sigma,
        sigma_lr=balance.sigma_lr,
        penalty=balance.penalty,
        weights=weights if balance.penalty else [],
    ).to(weights[0].device)
    return Loss(criterion, criterion.by_crop)


class _LogRatio(torch.autograd.Function):
    """(P,) :func:`_log_ratio`; its gradients come with its value, from the same exponentials."""

    @staticmethod
    def forward(ctx: Any, values_DP: Tensor, variance: Tensor, *mixture: Tensor) -> Tensor:
        ratios_P, gradient_DP, by_variance_P = _log_ratio(
            values_DP, variance, mixture, gradients=True
        )
        ctx.save_for_backward(gradient_DP, by_variance_P)
        return ratios_P

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_ratios_P: Tensor) -> tuple[Tensor | None, ...]:
        gradient_DP, by_variance_P = ctx.saved_tensors
        of_variance = of_ratios_P.dot(by_variance_P)
        return of_ratios_P * gradient_DP, of_variance, None, None, None, None


def _log_ratio(
    values_DP: Tensor, variance: Tensor, mixture: Sequence[Tensor], *, gradients: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Log of the mixture's density at each value, over the highest density of the noise.

    That is log sum_i phi_i N(y; mu_i, Sigma_i + S I) - log N(0; 0, S I): with the noise's own
    height taken off, the factors 2 pi cancel, and log S never stands alone.

    Args:
        values_DP: outputs.
        variance: S, ().
        mixture: log weights (L,), and of each component the variances (L, D) along its axes
            (L, D, D) and its centre (L, D) on them.
        gradients: whether they are wanted.

    Returns:
        (P,) the logarithm, and its gradients in the values (D, P) and in S (P,): empty if not
        wanted.
    """
    logs_L, spreads_LD, axes_LDD, centres_LD = mixture
    num_components, dimension = spreads_LD.shape
    wide_LD = spreads_LD + variance
    scales_LD = (2 * wide_LD).rsqrt()
    rows_MD = (scales_LD[:, :, None] * axes_LDD).flatten(0, 1)  # M = L D
    offsets_M = -(scales_LD * centres_LD).flatten()
    heights_L = logs_L - 0.5 * (spreads_LD / variance).log1p().sum(1)
    slopes_L = 0.5 * (spreads_LD / wide_LD).sum(1) / variance
    constants = rows_MD, offsets_M, heights_L, slopes_L, wide_LD.reciprocal().flatten()

    width = values_DP.shape[1]
    if values_DP.device.type == "cpu" and not torch.compiler.is_compiling():
        width = min(width, CHUNK // (num_components * dimension))
    pieces = [_piece(each, constants, gradients) for each in values_DP.split(width, dim=1)]
    ratios, by_value, by_variance = zip(*pieces, strict=True)
    return torch.cat(ratios), torch.cat(by_value, dim=1), torch.cat(by_variance)


def _piece(
    values_DP: Tensor, constants: Sequence[Tensor], gradients: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`_log_ratio` of some columns."""
    rows_MD, offsets_M, heights_L, slopes_L, inverse_M = constants
    dimension, num_values = values_DP.shape
    # no matrix product: TF32 would round the values to three digits
    units_MP = torch.addcmul(offsets_M[:, None], rows_MD[:, :1], values_DP[:1])
    for axis in range(1, dimension):
        units_MP.addcmul_(rows_MD[:, axis : axis + 1], values_DP[axis : axis + 1])
    units_LDP = units_MP.view(-1, dimension, num_values)
    logits_LP = heights_L[:, None]
    for axis in range(dimension):
        along_LP = units_LDP[:, axis]
        logits_LP = torch.addcmul(logits_LP, along_LP, along_LP, value=-1)
    top_P = logits_LP.amax(0)
    shares_LP = logits_LP.sub_(top_P).clamp_(min=NOTHING).exp_()
    total_P = shares_LP.sum(0)
    ratios_P = total_P.log().add_(top_P)
    if not gradients:
        return ratios_P, values_DP[:, :0], ratios_P[:0]
    pulls_MP = (shares_LP[:, None] * units_LDP).flatten(0, 1)
    by_value_DP = (-2 * rows_MD.T) @ pulls_MP
    by_variance_P = slopes_L @ shares_LP + inverse_M @ pulls_MP.mul_(units_MP)
    return ratios_P, by_value_DP.div_(total_P), by_variance_P.div_(total_P)
