"""Noise as DDPM adds it to clean latents, and which noise a step of a training draws.

Ho, Jain and Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS 2020, equation 4: at
timestep t, from 0, a latent is sqrt(a_t) clean + sqrt(1 - a_t) noise, where a_t is the product of
1 - beta up to t. The betas lie on a line, as those of DiT do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srprune.core.seeding import Words, generator, hashed
from srprune.distill.config import DiffusionConfig


class Draws(NamedTuple):
    """What chance decides for the rows of a step.

    Attributes:
        noise_BCHW: float32, standard normal.
        timestep_B: int64.
        dropped_B: bool, True where a row loses its category.
    """

    noise_BCHW: Tensor
    timestep_B: Tensor
    dropped_B: Tensor


class Noise:
    """A line of betas.

    Attributes:
        timesteps: how many.
        label_dropout: share of the rows that lose their category.
        alpha_bar_T: (timesteps,) float64 on the CPU, the share of the clean latent in the variance.
    """

    def __init__(self, config: DiffusionConfig) -> None:
        """Sum up the betas in float64."""
        self.timesteps, self.label_dropout = config.timesteps, config.label_dropout
        beta_T = torch.linspace(
            config.beta_start, config.beta_end, config.timesteps, dtype=torch.float64
        )
        self.alpha_bar_T = (1 - beta_T).cumprod(0)
        self._copies: dict[torch.device, Tensor] = {}

    def draw(
        self,
        seed: int,
        step: int,
        rows: range,
        shape: tuple[int, int, int],
        device: torch.device,
    ) -> Draws:
        """What the rows of a step get: a function of seed, step and row alone.

        So parts of a batch, and processes that share it, draw what one process would.

        Args:
            seed: of the run.
            step: from 0.
            rows: which ones of the whole batch, from 0.
            shape: (C, H, W) of a latent.
            device: where to put them; they are drawn on the CPU, so all devices get the same.
        """
        row_B = np.arange(rows.start, rows.stop, rows.step)
        noise_BCHW = np.empty((len(row_B), *shape), dtype=np.float32)
        for place, key in enumerate(hashed(seed, "distill.row", step, row_B)):
            chance = generator(int(key), "distill.noise")
            noise_BCHW[place] = chance.standard_normal(shape, dtype=np.float32)
        # floor(chance * timesteps) stays below timesteps: a chance is at most 1 - 2^-53
        timestep_B = _chances(hashed(seed, "distill.timestep", step, row_B)) * self.timesteps
        dropped_B = _chances(hashed(seed, "distill.label", step, row_B)) < self.label_dropout
        return Draws(
            torch.from_numpy(noise_BCHW).to(device),
            torch.from_numpy(timestep_B.astype(np.int64)).to(device),
            torch.from_numpy(dropped_B).to(device),
        )

    def add(self, clean_BCHW: Tensor, noise_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """Latents at their timesteps.

        Args:
            clean_BCHW: floats.
            noise_BCHW: as them.
            timestep_B: int64 on the same device.
        """
        signal, spread = self._at(timestep_B, clean_BCHW.dtype)
        return signal * clean_BCHW + spread * noise_BCHW

    def clean(self, noisy_BCHW: Tensor, noise_BCHW: Tensor, timestep_B: Tensor) -> Tensor:
        """The clean latents, given the noise in noisy ones: :meth:`add` backwards.

        An error of the noise grows by sqrt((1 - a_t) / a_t), 157 at the last timestep of DiT.

        Args:
            noisy_BCHW: floats.
            noise_BCHW: as them, such as a prediction.
            timestep_B: int64 on the same device.
        """
        signal, spread = self._at(timestep_B, noisy_BCHW.dtype)
        return (noisy_BCHW - spread * noise_BCHW) / signal

    def odds(self, timestep_B: Tensor) -> Tensor:
        """(B,) float64 a_t / (1 - a_t): signal to noise, as powers, at each timestep."""
        alpha_bar_B = self._on(timestep_B.device)[timestep_B]
        return alpha_bar_B / (1 - alpha_bar_B)

    def _at(self, timestep_B: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """sqrt(a_t) and sqrt(1 - a_t), each (B, 1, 1, 1)."""
        alpha_bar = self._on(timestep_B.device)[timestep_B][:, None, None, None]
        return alpha_bar.sqrt().to(dtype), (1 - alpha_bar).sqrt().to(dtype)

    def _on(self, device: torch.device) -> Tensor:
        """``alpha_bar_T`` on a device; copied once, so that no step waits for it."""
        if device not in self._copies:
            self._copies[device] = self.alpha_bar_T.to(device)
        return self._copies[device]


def _chances(bits: Words) -> npt.NDArray[np.float64]:
    """64 random bits each, as numbers from 0 to just below 1."""
    return np.asarray((bits >> np.uint64(11)) * 2.0**-53, dtype=np.float64)
