"""What a step of a diffusion training sees: a function of seed and step alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from srprune.core.seeding import hashed
from srprune.data.patches import Ids
from srprune.data.sampler import CropSampler
from srprune.distill.criterion import Denoising
from srprune.distill.denoiser import Noisy
from srprune.distill.noise import Noise
from srprune.stages.distill.finetune_plan import FinetuneJob
from srprune.training.distributed import World


@dataclass
class WindowBatches:
    """Latents of windows with noise, in an order in which each window comes once an epoch.

    Attributes:
        job: whose windows they are.
        latent_P2CHW: latents of all windows, as they are and mirrored, on the CPU.
        noise: what is added.
        null: the label of no category.
        world: the processes that share each step.
        device: where batches go.
        step: the last one that was asked for.
    """

    job: FinetuneJob
    latent_P2CHW: Tensor
    noise: Noise
    null: int
    world: World
    device: torch.device
    step: int = field(default=0, init=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a latent."""
        channels, height, width = self.latent_P2CHW.shape[2:]
        return channels, height, width

    def at(self, step: int) -> Iterator[tuple[Noisy, Denoising]]:
        """The parts that this process takes of a step, one after the other."""
        self.step = step
        places_B = self._order.at(step).patch_B
        config = self.job.config
        count = config.compute.accumulate
        part = config.batch // (count * self.world.size)
        for number in range(self.world.rank * count, (self.world.rank + 1) * count):
            rows = range(number * part, (number + 1) * part)
            yield self.pairs(step, rows, places_B[rows.start : rows.stop])

    def patches_at(self, step: int) -> list[int]:
        """Patch ids of a whole step, for messages."""
        return self.job.patch_ids[self._order.at(step).patch_B].tolist()

    def pairs(self, step: int, rows: range, places_B: Ids) -> tuple[Noisy, Denoising]:
        """Some windows, with the noise of some rows of a step.

        Args:
            step: from 0.
            rows: of the whole batch, from 0.
            places_B: of the windows among those of the job.
        """
        seed = self.job.config.seed
        mirrored_B = np.zeros(len(places_B), dtype=np.int64)
        if self.job.config.flip:
            mirrored_B[:] = hashed(seed, "distill.flip", step, np.array(rows)) % np.uint64(2)
        clean_BCHW = self.latent_P2CHW[places_B, mirrored_B].to(self.device)
        labels_B = self.job.labels_P[places_B].astype(np.int64)
        category_B = torch.from_numpy(labels_B).to(self.device)
        drawn = self.noise.draw(seed, step, rows, self.shape, self.device)
        noisy_BCHW = self.noise.add(clean_BCHW, drawn.noise_BCHW, drawn.timestep_B)
        asked_B = category_B.masked_fill(drawn.dropped_B, self.null)
        return (
            Noisy(noisy_BCHW, drawn.timestep_B, asked_B),
            Denoising(drawn.noise_BCHW, noisy_BCHW, clean_BCHW, drawn.timestep_B, category_B),
        )

    @cached_property
    def _order(self) -> CropSampler:
        return CropSampler(
            np.arange(len(self.job.patch_ids)),
            seed=self.job.config.seed,
            batch=self.job.config.batch,
            lr_patch=1,
            lr_crop=1,
            augment=False,
        )
