"""Sampling latents from a diffusion model: DDIM without noise, guided by categories.

The published code takes 50 ancestral steps of DDPM with a learned variance, so that an image
depends on noise that is drawn on the way. Here the steps are those of DDIM with eta 0 (Song, Meng
and Ermon, ICLR 2021): an image is a function of its first noise, and that of its seed, category and
number. So a batch of any size, and a run that goes on after a stop, give the same images, but for
the rounding of batched products; and a network without a learned variance will do.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from srprune.core.errors import InputError
from srprune.core.progress import Progress, silent
from srprune.core.seeding import generator
from srprune.distill.denoiser import Denoiser, Noisy
from srprune.distill.noise import Noise


def start_noise(seed: int, category: int, number: int, shape: tuple[int, ...]) -> Tensor:
    """The noise that an image is made from, on the CPU.

    Args:
        seed: of the synthesis.
        category: of the image.
        number: of the image within its category.
        shape: of the latent, (C, H, W).

    Returns:
        Float32, of unit spread.
    """
    draw = generator(seed, f"distill.start.{category}", number)
    return torch.from_numpy(draw.standard_normal(shape, dtype=np.float32))


def timesteps(total: int, steps: int) -> list[int]:
    """The timesteps of a sampling, from the noisiest down, evenly spaced.

    The first is the last that the network was trained on, where a latent is all but noise, and the
    last is as far from the clean latent as each from its next: "trailing" in Lin et al., "Common
    Diffusion Noise Schedules and Sample Steps are Flawed" (WACV 2024). The published code spreads
    them from both ends, 0 included.

    Args:
        total: timesteps that the network knows.
        steps: how many of them are used.

    Raises:
        InputError: more than there are.
    """
    if steps > total:
        raise InputError(
            f"sampling_steps is {steps}, and the generator knows {total} timesteps. Choose "
            f"--steps of at most {total}."
        )
    return [round(total * (steps - step) / steps) - 1 for step in range(steps)]


@torch.inference_mode()
def sample(
    denoiser: Denoiser,
    noise: Noise,
    *,
    categories_B: Tensor,
    starts_BCHW: Tensor,
    guidance: float,
    steps: int,
    progress: Progress = silent,
) -> Tensor:
    """Latents of categories, by classifier-free guidance (Ho and Salimans, 2022).

    The predicted noise is that without a category plus ``guidance`` times what the category
    changes, on all channels; both are asked of the network in one batch. The published code guides
    the first three channels of four alone, as DiT does "for exact reproducibility reasons".

    Args:
        denoiser: predicts noise.
        noise: what it was trained on.
        categories_B: (B,) int64.
        starts_BCHW: first noise, as of :func:`start_noise`.
        guidance: 0 asks for no category, 1 for the category without guidance; both take half the
            time of other values.
        steps: of the sampler.
        progress: told after each step.

    Returns:
        (B, C, H, W) float32, on the device of the denoiser.

    Raises:
        InputError: more steps than timesteps.
    """
    device = next(denoiser.parameters()).device
    latent_BCHW = starts_BCHW.to(device)
    asked_B = categories_B.to(device)
    nobody_B = torch.full_like(asked_B, denoiser.null)

    def predicted(timestep: int) -> Tensor:
        if guidance in (0, 1):
            one_B = asked_B if guidance else nobody_B
            noisy = Noisy(latent_BCHW, torch.full_like(one_B, timestep), one_B)
            only_BCHW: Tensor = denoiser(noisy).float()
            return only_BCHW
        both_2B = torch.cat([asked_B, nobody_B])
        noisy = Noisy(torch.cat([latent_BCHW] * 2), torch.full_like(both_2B, timestep), both_2B)
        asked_BCHW, free_BCHW = denoiser(noisy).float().chunk(2)
        guided_BCHW: Tensor = free_BCHW + guidance * (asked_BCHW - free_BCHW)
        return guided_BCHW

    down = timesteps(noise.timesteps, steps)
    for done, (timestep, after) in enumerate(zip(down, [*down[1:], -1], strict=True), start=1):
        noise_BCHW = predicted(timestep)
        clean_BCHW = noise.clean(latent_BCHW, noise_BCHW, torch.full_like(asked_B, timestep))
        if after < 0:
            latent_BCHW = clean_BCHW
        else:
            latent_BCHW = noise.add(clean_BCHW, noise_BCHW, torch.full_like(asked_B, after))
        progress("sample", done, steps)
    return latent_BCHW
