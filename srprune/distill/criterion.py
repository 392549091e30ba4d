"""The loss of a diffusion model that is to make training images for SR.

Four terms, of the noise that was predicted and of the clean latent that it implies:

- *Noise*: its mean squared error (Ho et al., NeurIPS 2020, equation 14).
- *Representativeness* and *diversity*, the minimax criteria of Gu et al., "Efficient Dataset
  Distillation via Minimax Diffusion", CVPR 2024, as their code has them (vimar-gu/MinimaxDiffusion
  at 62fc435, ``train_dit.py``): for each category of the batch, 1 minus the least cosine of its
  predictions and the real latents remembered of it, and the largest cosine of its predictions and
  the predictions remembered; the mean over the categories. A category of which nothing is
  remembered yet adds 0 to it. Then the rows of the batch are remembered, first in, first out.
- *SR*, of Cho et al. (IEEE SPL 32, 2025): what a bicubic round trip takes away from the
  prediction, as a mean square; it is subtracted.

The code of Cho et al. (sunwoocho/SRDD at ac996db7, ``train_diff.py``) takes the SR term of the
input, so it has no gradient, and its factor of 4 enlarges. Here it is of the predicted clean
latent, and first goes down.

As a mean over the batch, that would run away. An error of the noise is one of the clean latent
that is larger by (1 - a) / a as a power, up to 25,000, so the network could always gain more by
high frequencies at the last timesteps than the first term costs it. So each row is weighed by
min(1, a / (1 - a)), as Hang et al. ("Efficient Diffusion Training via Min-SNR Weighting Strategy",
ICCV 2023) weigh rows. The loss then has a floor wherever the factor is below 1 over the square of
the round trip's norm: 0.06 at 24 px and x4, 0.26 at 24 px and x2. Beyond, patterns on the sampling
points of the small image pay.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from srprune.core.errors import InputError
from srprune.distill.config import TermsConfig
from srprune.distill.noise import Noise
from srprune.training.criterion import Fault, StatefulCriterion
from srprune.training.distributed import ALONE, World

LOST = 10.0  # error of the noise that training never comes back from; a prediction of 0 has 1


class Denoising(NamedTuple):
    """What a prediction is held against.

    Attributes:
        noise_BCHW: the noise.
        noisy_BCHW: what the network saw.
        clean_BCHW: the latents.
        timestep_B: int64.
        category_B: int64, the true ones, also of rows that the network was not told.
    """

    noise_BCHW: Tensor
    noisy_BCHW: Tensor
    clean_BCHW: Tensor
    timestep_B: Tensor
    category_B: Tensor


class DiffusionLoss(StatefulCriterion):
    """The sum of the terms, each with its factor.

    What is remembered is a part of its state, so a resumed training goes on as it would have. In
    several processes each remembers the rows of all, the same ones; the terms are those of its own
    rows.

    Attributes:
        real_KMD: (categories, memory, C*H*W) float32, real latents; D counts the values of one.
        predicted_KMD: as many predictions.
        taken_K: (categories,) int64, how many were ever remembered: the next one goes to the place
            of that number modulo memory.
        last: the terms of the last batch, detached, before their factors; those with a factor of 0
            are left out.
    """

    real_KMD: Tensor
    predicted_KMD: Tensor
    taken_K: Tensor

    def __init__(
        self,
        terms: TermsConfig,
        noise: Noise,
        *,
        categories: int,
        shape: tuple[int, int, int],
        world: World = ALONE,
    ) -> None:
        """Start with empty memories.

        Args:
            terms: factors, and how much is remembered.
            noise: what was added.
            categories: how many.
            shape: (C, H, W) of a latent.
            world: the processes that share a batch.

        Raises:
            InputError: the round trip of the SR term leaves nothing of a latent.
        """
        super().__init__()
        if terms.sr and min(shape[1:]) < terms.sr_scale:
            raise InputError(
                f"terms.sr_scale is {terms.sr_scale}, but latents have {min(shape[1:])} px. Choose "
                "a smaller one, or set terms.sr to 0."
            )
        self._terms, self._noise, self._world = terms, noise, world
        self._minimax = terms.representativeness > 0 or terms.diversity > 0
        kept = terms.memory if self._minimax else 0
        values = shape[0] * shape[1] * shape[2]
        self.register_buffer("real_KMD", torch.zeros(categories, kept, values))
        self.register_buffer("predicted_KMD", torch.zeros(categories, kept, values))
        self.register_buffer("taken_K", torch.zeros(categories, dtype=torch.int64))
        self.last: dict[str, Tensor] = {}

    def forward(self, output_BCHW: Tensor, target: Denoising) -> Tensor:
        """The loss, (); the rows are remembered.

        Args:
            output_BCHW: the predicted noise, float32.
            target: what it is held against.
        """
        terms, values = self._terms, {"noise": F.mse_loss(output_BCHW, target.noise_BCHW)}
        clean_BCHW = self._noise.clean(target.noisy_BCHW, output_BCHW, target.timestep_B)
        loss = values["noise"]
        if self._minimax:
            real_BD, clean_BD = target.clean_BCHW.flatten(1), clean_BCHW.flatten(1)
            near, far = self._similarities(clean_BD, target.category_B)
            values |= {"representativeness": near, "diversity": far}
            loss = loss + terms.representativeness * near + terms.diversity * far
            self._remember(real_BD, clean_BD.detach(), target.category_B)
        if terms.sr:
            odds_B = self._noise.odds(target.timestep_B).clamp(max=1).to(clean_BCHW.dtype)
            energy_B = lost_by_round_trip(clean_BCHW, terms.sr_scale).square().mean((1, 2, 3))
            values["sr"] = (odds_B * energy_B).mean()
            loss = loss - terms.sr * values["sr"]
        self.last = {name: value.detach() for name, value in values.items()}
        return loss

    def fault(self) -> Fault | None:
        """The prediction has run away from the noise, as a large SR term makes it."""
        error = float(self._world.mean(self.last["noise"].clone()))
        if not LOST < error < math.inf:  # what is not finite is told with its patches
            return None
        factor = self._terms.sr
        return Fault(
            f"the error of the predicted noise is {error:.3g}, where no prediction at all has 1,",
            f"Lower terms.sr (now {factor:g})" if factor else "Lower optimizer.lr",
        )

    def _similarities(self, clean_BD: Tensor, category_B: Tensor) -> tuple[Tensor, Tensor]:
        """Representativeness and diversity, each ()."""
        near, far = clean_BD.new_zeros(()), clean_BD.new_zeros(())
        taken, present = self.taken_K.tolist(), sorted(set(category_B.tolist()))
        for category in present:
            kept = min(taken[category], self._terms.memory)
            if kept:
                own_ND = F.normalize(clean_BD[category_B == category])
                real_MD = self.real_KMD[category, :kept].to(own_ND.dtype)
                predicted_MD = self.predicted_KMD[category, :kept].to(own_ND.dtype)
                near = near + 1 - (own_ND @ F.normalize(real_MD).T).min()
                far = far + (own_ND @ F.normalize(predicted_MD).T).max()
        return near / len(present), far / len(present)

    @torch.no_grad()
    def _remember(self, real_BD: Tensor, predicted_BD: Tensor, category_B: Tensor) -> None:
        """Take in the rows of all processes, in the order of their ranks."""
        real_BD, predicted_BD = self._of_all(real_BD), self._of_all(predicted_BD)
        memory, categories = self._terms.memory, self._of_all(category_B[:, None])[:, 0].tolist()
        taken = self.taken_K.tolist()
        for row, category in enumerate(categories):
            place = taken[category] % memory
            self.real_KMD[category, place] = real_BD[row]
            self.predicted_KMD[category, place] = predicted_BD[row]
            taken[category] += 1
        self.taken_K.copy_(torch.tensor(taken))

    def _of_all(self, values_BD: Tensor) -> Tensor:
        """The rows of all processes."""
        return self._world.side_by_side(values_BD.T).T


def lost_by_round_trip(image_BCHW: Tensor, scale: int) -> Tensor:
    """What a bicubic round trip takes away: high frequencies, by the bicubic of Cho et al.'s code.

    That one takes points (``align_corners``, no antialiasing), not the means of an SR benchmark.

    Args:
        image_BCHW: floats.
        scale: down and up again.
    """
    height, width = image_BCHW.shape[2:]
    small_BChw = _resized(image_BCHW, (height // scale, width // scale))
    return image_BCHW - _resized(small_BChw, (height, width))


def _resized(image_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image_BCHW, size=size, mode="bicubic", align_corners=True)
