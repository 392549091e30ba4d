"""A training run, planned but not started; what cannot work is refused here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from srprune.core.artifact import Header, first_difference
from srprune.core.config import WITHOUT_EFFECT, TrainConfig
from srprune.core.errors import ArtifactMismatch, InputError
from srprune.core.patches import PatchIndex
from srprune.core.weights import read_weights_header
from srprune.data.patches import PatchPool
from srprune.data.residency import Residency, choose_residency
from srprune.data.sampler import check_crop
from srprune.models.build import outline
from srprune.selection.adaptive import AdaptivePlan
from srprune.selection.coverage import covered_pixels
from srprune.stages.restorers import WEIGHTS
from srprune.stages.weighting import MIXTURE
from srprune.training.checkpoints import Checkpoints
from srprune.training.distributed import ALONE, World
from srprune.training.ema import lag
from srprune.training.plan import StepPlan, plan_steps
from srprune.training.subnets import check_compute


@dataclass(frozen=True)
class Job:
    """A training run, planned but not started.

    Attributes:
        folder: of the run.
        config: resolved.
        pool: the patches.
        patch_ids: those that are trained on; with ``adaptive`` those that it begins with.
        train_set: name of the core-set, or ``full``.
        parents: fingerprints of patch index, core-set and the weights it starts from.
        init: file of those weights; None starts fresh.
        patch_weights: (P,) how often each is drawn beside the others; None: all alike. With
            ``config.sampling`` they hold from its second phase on.
        adaptive: how the patches are chosen anew on the way; None keeps them.
        origin: the full set, where the pool is a synthesised set that was made from it; None: the
            pool itself.
    """

    folder: Path
    config: TrainConfig
    pool: PatchPool
    patch_ids: npt.NDArray[np.int64]
    train_set: str
    parents: Mapping[str, str]
    init: Path | None = None
    patch_weights: npt.NDArray[np.float64] | None = None
    adaptive: AdaptivePlan | None = None
    origin: PatchIndex | None = None

    @property
    def reachable_ids(self) -> npt.NDArray[np.int64]:
        """Patches whose pixels it needs: all that a batch may hold at some time."""
        return self.adaptive.ids_M if self.adaptive else self.patch_ids

    @cached_property
    def plan(self) -> StepPlan:
        """How many steps it gets."""
        return plan_steps(
            self.config.budget,
            batch=self.config.batch,
            num_full=len(self.origin or self.pool),
            num_patches=len(self.patch_ids),
            step_matching=self.config.pruning.step_matching,
        )

    @cached_property
    def num_bytes(self) -> int:
        """Bytes of uint8 pixels that it needs, HR and LR; overlaps count once."""
        pixels = covered_pixels(self.pool.index, self.reachable_ids)
        return 3 * (pixels + pixels // self.config.scale**2)

    def residency(self, device: torch.device, world: World = ALONE) -> Residency:
        """Where its pixels will stand."""
        return choose_residency(
            self.config.data.residency, self.num_bytes, device, world.local_size
        )

    @property
    def contents(self) -> dict[str, str]:
        """Every image that the weights have to do with, as :attr:`PatchIndex.contents`."""
        return {**(self.origin.contents if self.origin else {}), **self.pool.index.contents}

    @cached_property
    def params(self) -> dict[str, Any]:
        """Everything that decides the weights, as plain values."""
        settings = {"settings": self.adaptive.settings} if self.adaptive else {}
        return {
            **settings,
            "model": self.config.model,
            "model_args": self.config.model_args,
            "scale": self.config.scale,
            "train_set": self.train_set,
            "num_patches": len(self.patch_ids),
            "steps": self.plan.steps,
            "seed": self.config.seed,
            "config": self.config.model_dump(mode="json", exclude=WITHOUT_EFFECT),
        }

    @property
    def weighted_from(self) -> int:
        """First step with ``patch_weights``."""
        sampling = self.config.sampling
        return round(sampling.start * self.plan.steps) if sampling else 0

    @property
    def weights(self) -> Path:
        """The file that the run ends with."""
        return self.folder / WEIGHTS

    @property
    def mixture(self) -> Path:
        """What the loss bd balances by."""
        return self.folder / MIXTURE

    @property
    def checkpoints(self) -> Checkpoints:
        """What it can go on from."""
        return Checkpoints(
            self.folder / "checkpoints", self._identity, self.config.checkpoints.keep
        )

    @property
    def _identity(self) -> dict[str, Any]:
        return {**self.params, "parents": dict(self.parents)}

    def spent_s(self) -> float | None:
        """Seconds of training behind its last checkpoint, over all attempts; None without one.

        Raises:
            ArtifactError: its checkpoints are damaged.
            ArtifactMismatch: they are of another run.
        """
        state = self.checkpoints.load()
        return float(state.get("seconds", 0.0)) if state else None

    def finished(self) -> Header | None:
        """Header of the weights, if this very run is finished.

        Raises:
            ArtifactMismatch: the folder holds another finished run.
        """
        if not self.weights.exists():
            return None
        header = read_weights_header(self.weights)
        there = {**header.params, "parents": header.parents}
        if there != self._identity:
            difference = first_difference(there, self._identity)
            raise ArtifactMismatch(
                f"{self.folder} holds a finished run of another config or other inputs "
                f"({difference}). Choose another --workspace; or, with pretrain "
                "and train, another --name, or --restart to replace it; or, with study, --edited."
            )
        return header


def check_batch(job: Job, world: World = ALONE) -> None:
    """Refuse batches that the core-set cannot fill, or that cannot be cut into equal parts.

    Raises:
        InputError: batch is too large, or no multiple of the parts; or several processes shall
            share a CUDA graph.
    """
    if job.config.compute.cuda_graph and world.size > 1:
        raise InputError(
            f"compute.cuda_graph is for one process, and there are {world.size}. Choose "
            "compute.compile, or --set compute.cuda_graph=false."
        )
    if job.config.subnets:
        check_compute(job.config.compute)
    batch, count = job.config.batch, job.config.compute.accumulate
    if batch > len(job.patch_ids):
        raise InputError(
            f"batch is {batch}, but {job.train_set} has {len(job.patch_ids)} patches. Choose a "
            f"batch of at most {len(job.patch_ids)}, or a larger core-set."
        )
    if batch % (count * world.size):
        processes = f" in each of {world.size} processes" if world.size > 1 else ""
        raise InputError(
            f"batch is {batch}, which cannot be cut into {count} equal parts "
            f"(compute.accumulate){processes}. Choose a multiple of {count * world.size}."
        )


def check_crops(config: TrainConfig, size: int, world: World = ALONE) -> None:
    """Refuse crops that patches cannot give, or of which rim or batch norm leave nothing.

    Args:
        config: the training config.
        size: side of the patches, HR px.
        world: the processes that share a batch.

    Raises:
        InputError: lr_crop is too large or too small.
    """
    check_crop(config.lr_crop, size // config.scale)
    network, domain = outline(config.model, config.scale, config.model_args)
    multiple = network.spec.multiple
    if config.lr_crop * (config.scale if domain.pre_upsampled else 1) % multiple:
        below = config.lr_crop // multiple * multiple
        raise InputError(
            f"lr_crop is {config.lr_crop}, but {config.model} works in windows of {multiple} px. "
            f"Choose a multiple, such as {below or multiple}."
        )
    part = config.batch // (config.compute.accumulate * world.size)
    if part == config.lr_crop == 1 and any(isinstance(m, _BatchNorm) for m in network.modules()):
        raise InputError(
            f"lr_crop is 1, and so is a part of the batch, but {config.model} has batch norm, "
            "which needs more than one value. Choose a larger lr_crop, such as 12."
        )
    rim = network.rim + domain.reach if config.skip_rim else 0
    if 2 * rim >= config.lr_crop * config.scale:
        raise InputError(
            f"lr_crop is {config.lr_crop}, {config.lr_crop * config.scale} px at HR, but skip_rim "
            f"leaves out {rim} px at each edge. Choose an lr_crop of at least "
            f"{2 * rim // config.scale + 1}."
        )


def lag_of(config: TrainConfig, steps: int) -> str:
    """What is to be said of ``ema`` where so many steps are too few for it; else nothing."""
    return "" if config.init.weights else lag(config.ema, steps)
