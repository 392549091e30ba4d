"""The small autoencoder of a generator: trained first, on crops of the same windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srprune.core.config import (
    CheckpointConfig,
    ComputeConfig,
    OptimizerConfig,
    ScheduleConfig,
)
from srprune.core.progress import Progress
from srprune.core.seeding import hashed
from srprune.data.patches import Ids, PatchPool
from srprune.distill.config import FinetuneConfig, SamplesConfig
from srprune.distill.latents import SmallAutoencoder
from srprune.images.tensor import from_uint8
from srprune.training.checkpoints import Checkpoints
from srprune.training.distributed import World
from srprune.training.loop import train
from srprune.training.plan import StepPlan

FOLDER = "autoencoder"  # of a generator, while it is made
LAST = 0.01  # of the learning rate, at the end


@dataclass(frozen=True)
class AutoencoderRecipe:
    """How it is trained: what the training loop wants to know."""

    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    seed: int
    ema: float | None
    compute: ComputeConfig
    validation: SamplesConfig
    checkpoints: CheckpointConfig


def train_autoencoder(
    network: SmallAutoencoder,
    config: FinetuneConfig,
    pool: PatchPool,
    patch_ids_P: Ids,
    *,
    folder: Path,
    identity: dict[str, Any],
    device: torch.device,
    world: World,
    stopping: Callable[[], bool],
    progress: Progress,
) -> SmallAutoencoder:
    """Train it on its windows by L1, with the engine that trains SR networks.

    Args:
        network: fresh, on ``device``; trained in place.
        config: of the generator.
        pool: the patches.
        patch_ids_P: (P,) those that it sees.
        folder: of the generator; its logs and checkpoints stand in a folder of their own there.
        identity: of the run, so that another one's checkpoints are refused.
        device: where.
        world: the processes that share each step.
        stopping: asked after each step.
        progress: told after each step.

    Raises:
        Diverged: the loss or the weights are no longer finite.
        Stopped: ``stopping`` said so.
    """
    latents, seed = config.latents, config.seed
    own = latents.batch // world.size
    side = min(latents.crop, pool.index.size) // latents.factor * latents.factor
    room = pool.index.size - side + 1
    recipe = AutoencoderRecipe(
        optimizer=OptimizerConfig(name="adam", lr=latents.lr),
        schedule=ScheduleConfig(name="cosine", final=LAST),
        seed=seed,
        ema=None,
        compute=config.compute.model_copy(update={"accumulate": 1}),
        validation=config.validation,
        checkpoints=config.checkpoints,
    )

    def batch_at(step: int) -> Iterator[tuple[Tensor, Tensor]]:
        rows = np.arange(world.rank * own, (world.rank + 1) * own)
        patch_B = patch_ids_P[
            hashed(seed, "distill.autoencoder.patch", step, rows) % len(patch_ids_P)
        ]
        top_B = hashed(seed, "distill.autoencoder.top", step, rows) % room
        left_B = hashed(seed, "distill.autoencoder.left", step, rows) % room
        crops = [
            pool.hr_crop(int(patch), int(top), int(left), side)
            for patch, top, left in zip(patch_B, top_B, left_B, strict=True)
        ]
        rgb_BCHW = from_uint8(np.stack(crops), device)
        yield rgb_BCHW, rgb_BCHW

    where = folder / FOLDER
    trained: nn.Module = train(
        network,
        batch_at,
        F.l1_loss,
        plan=StepPlan(latents.steps, latents.steps, latents.batch, len(patch_ids_P), len(pool)),
        config=recipe,
        checkpoints=Checkpoints(where / "checkpoints", {**identity, "part": FOLDER}, 1),
        folder=where,
        device=device,
        world=world,
        stopping=stopping,
        progress=lambda label, done, total, note="": progress(FOLDER, done, total, note),
    )
    assert isinstance(trained, SmallAutoencoder)
    return trained
