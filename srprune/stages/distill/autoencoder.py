"""The small autoencoder of a generator: trained first, on crops of the same windows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srprune.core.artifact import first_difference
from srprune.core.config import (
    CheckpointConfig,
    ComputeConfig,
    OptimizerConfig,
    ScheduleConfig,
)
from srprune.core.errors import ArtifactError, ArtifactMismatch, Diverged, Stopped, UserError
from srprune.core.progress import Progress
from srprune.core.seeding import hashed
from srprune.data.patches import Ids, PatchPool
from srprune.distill.config import FinetuneConfig, SamplesConfig
from srprune.distill.latents import SmallAutoencoder
from srprune.distill.tensor_file import read_tensor_file, read_tensor_header
from srprune.images.tensor import from_uint8
from srprune.models.build import save_tensors
from srprune.training.checkpoints import Checkpoints
from srprune.training.distributed import World
from srprune.training.loop import train
from srprune.training.plan import StepPlan

FOLDER = "autoencoder"  # of a generator, while it is made
FILE = "autoencoder.safetensors"  # there as soon as it is trained, gone when the generator is made
KIND = "Autoencoder"
AGAIN = "Pass --restart to begin again."
LAST = 0.01  # of the learning rate, at the end


@dataclass(frozen=True)
class AutoencoderFiles:
    """What a small autoencoder leaves in the folder of its generator while that is made.

    Attributes:
        generator: that folder.
        identity: everything that decides its weights, as plain values, and nothing else of the
            generator's config: one that is trained outlives a change of the transformer's.
    """

    generator: Path
    identity: Mapping[str, Any]

    @classmethod
    def of(
        cls, generator: Path, config: FinetuneConfig, parents: Mapping[str, str]
    ) -> AutoencoderFiles:
        """Those of a generator.

        Args:
            generator: folder of it.
            config: of it.
            parents: fingerprints of the generator's ``patches`` and ``groups``, among others.
        """
        identity = {
            "part": FOLDER,
            "latents": config.latents.model_dump(mode="json"),
            "seed": config.seed,
            "compute": config.compute.model_dump(mode="json", exclude={"accumulate"}),
            "parents": {role: parents[role] for role in ("patches", "groups")},
        }
        return cls(generator, identity)

    @property
    def folder(self) -> Path:
        """Of its logs and checkpoints."""
        return self.generator / FOLDER

    @property
    def path(self) -> Path:
        """Of the tensors of a trained one."""
        return self.folder / FILE

    @property
    def checkpoints(self) -> Checkpoints:
        """What its training can go on from."""
        return Checkpoints(self.folder / "checkpoints", self.identity, 1)

    def trained(self) -> bool:
        """Whether this very one is there, trained and sound."""
        try:
            header, _ = read_tensor_file(self.path, KIND, AGAIN)
        except UserError:
            return False
        return header.params == self.identity

    def spent_s(self) -> float:
        """Seconds of training so far, over all attempts.

        Raises:
            ArtifactError: what an attempt left is damaged.
            ArtifactMismatch: it is another one.
        """
        if self.path.exists():
            return float(read_tensor_header(self.path, KIND).info["seconds"])
        state = self.checkpoints.load()
        return float(state.get("seconds", 0.0)) if state else 0.0

    def write(self, network: nn.Module, seconds: float) -> None:
        """Keep a trained one; its checkpoints have had their day."""
        tensors = network.state_dict()
        save_tensors(
            self.path,
            KIND,
            {name: tensors[name] for name in sorted(tensors)},
            parents=self.identity["parents"],
            params=self.identity,
            made={},
            info={"seconds": seconds},
        )
        self.checkpoints.clear()

    def read(self, network: nn.Module) -> None:
        """Take over the tensors of a trained one.

        Raises:
            ArtifactError: the file is damaged.
            ArtifactMismatch: it is another one.
        """
        header, tensors = read_tensor_file(self.path, KIND, AGAIN)
        if header.params != self.identity:
            raise ArtifactMismatch(
                f"{self.path} is another autoencoder "
                f"({first_difference(header.params, self.identity)}). Choose another --name, or "
                "--restart to throw it away."
            )
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise ArtifactError(f"{self.path} does not fit its config. {AGAIN}") from error

    def clear(self) -> None:
        """Remove all but the logs."""
        self.checkpoints.clear()
        self.path.unlink(missing_ok=True)


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
    files: AutoencoderFiles,
    device: torch.device,
    world: World,
    stopping: Callable[[], bool],
    progress: Progress,
) -> SmallAutoencoder:
    """Train it on its windows by L1, with the engine that trains SR networks; or find it trained.

    Args:
        network: fresh, on ``device``.
        config: of the generator.
        pool: the patches.
        patch_ids_P: (P,) those that it sees.
        files: what it leaves, and what an earlier attempt has left.
        device: where.
        world: the processes that share each step.
        stopping: asked after each step.
        progress: told after each step.

    Returns:
        The network, as its file has it, in eval mode.

    Raises:
        Diverged: the loss or the weights are no longer finite.
        Stopped: ``stopping`` said so.
        ArtifactError: what an earlier attempt left is damaged.
        ArtifactMismatch: it is another one.
    """
    if files.path.exists():
        files.read(network)
        return network.eval()
    spent, started = files.spent_s() if world.first else 0.0, time.perf_counter()
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

    try:
        trained = train(
            network,
            batch_at,
            F.l1_loss,
            plan=StepPlan(latents.steps, latents.steps, latents.batch, len(patch_ids_P), len(pool)),
            config=recipe,
            checkpoints=files.checkpoints,
            folder=files.folder,
            device=device,
            world=world,
            rate_key="latents.lr",
            stopping=stopping,
            progress=lambda label, done, total, note="": progress(FOLDER, done, total, note),
        )
    except (Diverged, Stopped) as error:  # of the two trainings of a generator
        raise type(error)(f"autoencoder: {error}") from error
    if world.first:
        files.write(trained, spent + time.perf_counter() - started)
    world.wait()
    files.read(network)  # all processes: on CPUs each has a spread of latents of its own
    return network.eval()
