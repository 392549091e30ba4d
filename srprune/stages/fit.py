"""Training one network into a folder: what ``pretrain`` and ``train`` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from srprune.core.artifact import Header, first_difference, write_text
from srprune.core.config import WITHOUT_EFFECT, TrainConfig
from srprune.core.errors import ArtifactMismatch, InputError
from srprune.core.lock import exclusive
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.weights import read_weights_header
from srprune.core.yaml_file import dump
from srprune.data.batches import Batches
from srprune.data.patches import PatchPool
from srprune.data.residency import Residency, choose_residency
from srprune.data.sampler import CropSampler, check_crop
from srprune.models.build import build, save_weights
from srprune.models.device import memory_errors, use_tf32
from srprune.models.domain import Domain
from srprune.models.network import Network
from srprune.models.supernet import Supernet
from srprune.models.warm_start import WarmStart, warm_start
from srprune.selection.adaptive import AdaptivePlan
from srprune.selection.coverage import covered_pixels
from srprune.stages.route import write_gradient_router
from srprune.stages.training_set import write_active
from srprune.stages.weighting import MIXTURE, balanced_loss, write_mixture
from srprune.training.adaptive import ActiveSet
from srprune.training.checkpoints import Checkpoints
from srprune.training.distributed import ALONE, World
from srprune.training.loop import Validate, train
from srprune.training.losses import BY_CROP, LOSSES
from srprune.training.plan import StepPlan, plan_steps
from srprune.training.subnets import check_compute, subnets_of

BEST = "best.safetensors"
ACTIVE = "coreset.parquet"  # what an adaptive run ended with


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
        return self.folder / "weights.safetensors"

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
                "and train, another --name, or --restart to replace it."
            )
        return header


def fit(
    job: Job,
    *,
    device: torch.device,
    world: World = ALONE,
    resume: bool = False,
    restart: bool = False,
    validate: Validate | None = None,
    stopping: Callable[[], bool] = lambda: False,
    progress: Progress = silent,
) -> Header:
    """Run a job to its end; a finished one is returned as it is.

    Args:
        job: what to train.
        device: where.
        world: the processes that train it together; the first one holds the folder and writes.
        resume: go on from the checkpoint of an interrupted attempt.
        restart: throw away what is in the folder.
        validate: measured on the way.
        stopping: asked after each step; True saves a checkpoint and stops.
        progress: told after each step.

    Raises:
        InputError: an interrupted attempt is there, and neither resume nor restart was asked for;
            or the device has too little memory.
        ArtifactMismatch: the folder holds another run.
        Stopped: ``stopping`` said so.
    """
    config = job.config
    with exclusive(job.folder) if world.first else nullcontext():
        watch = Stopwatch()
        if not restart and (header := job.finished()):
            world.wait()  # before the first one removes or writes anything
            return header
        if job.checkpoints.files() and not (resume or restart):
            raise InputError(
                f"{job.folder} holds an interrupted run. Pass --resume to go on with it, "
                "or --restart to begin again."
            )
        check_batch(job, world)
        check_crops(config, job.pool.index.size)
        torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
        use_tf32(config.compute.tf32)
        network, domain, start = initial(job, device)
        world.wait()
        if world.first:
            if restart:  # only now: a job that is refused keeps what the folder holds
                job.checkpoints.clear()
                made_before = (job.weights.name, BEST, MIXTURE, ACTIVE)
                for name in (*made_before, "validation.csv", "adaptive.csv"):
                    (job.folder / name).unlink(missing_ok=True)
            write_text(job.folder / "config.yaml", dump(config))
            if config.balance and not (job.checkpoints.files() and job.mixture.exists()):
                ids, seed = job.reachable_ids, config.seed
                write_mixture(job.mixture, config.balance, job.pool, ids, domain, seed)
        world.wait()
        balanced = None
        if config.balance:
            balanced = balanced_loss(job.mixture, config.balance, network).to(device)
        made = {
            "device": str(device),
            "processes": world.size,
            "threads": torch.get_num_threads(),
            **({"init": str(start)} if start else {}),
        }

        def save(trained: nn.Module, path: Path, **more: object) -> Header:
            return save_weights(
                path,
                trained,
                parents=job.parents,
                params={**job.params, **more},
                made={**watch.made(), **made},
                info={
                    "training_images": job.contents,
                    **({"visited_patches": active.num_visited} if active else {}),
                    **({"sigma": float(balanced.sigma())} if balanced else {}),
                },
            )

        def keep_best(trained: nn.Module, step: int, name: str, value: float) -> None:
            save(trained, job.folder / BEST, step=step, validation={name: value})

        with memory_errors(OUT_OF_MEMORY):
            batches, patches_at = open_batches(job, device, world)
            active = _active_set(job, batches, world)

            def batch_at(step: int) -> Iterator[tuple[Tensor, Tensor]]:
                for lr, hr in batches.at(step):
                    yield domain.input(lr), domain.target(hr)

            trained = train(
                network,
                batch_at,
                balanced or LOSSES[config.loss],
                plan=job.plan,
                config=config,
                checkpoints=job.checkpoints,
                folder=job.folder,
                device=device,
                world=world,
                last_layer=network.last_layer,
                rim=network.rim + domain.reach if config.skip_rim else 0,
                validate=validate,
                keep_best=keep_best,
                patches_at=patches_at,
                active=active,
                by_crop=balanced.by_crop if balanced else BY_CROP[config.loss],
                subnets_at=subnets_of(network, config.subnets, config.seed),
                stopping=stopping,
                progress=progress,
            )
        if world.first:
            if active:
                index = job.pool.index
                write_active(job.folder / ACTIVE, config, active.patch_ids, index, watch.made())
            header = save(trained, job.weights)
            job.checkpoints.clear()
            if isinstance(network, Supernet):
                write_gradient_router(job.pool, job.reachable_ids, job.weights, header, device)
        world.wait()
        return read_weights_header(job.weights)


OUT_OF_MEMORY = (
    "Raise compute.accumulate, which changes no result, or lower batch or lr_crop; on a GPU, "
    "data.residency host and compute.precision bf16 save memory, too."
)


def initial(job: Job, device: torch.device) -> tuple[Network, Domain, WarmStart | None]:
    """The network as it stands before the first step."""
    config = job.config
    torch.manual_seed(config.seed)
    network, domain = build(config.model, config.scale, config.model_args)
    start = None
    if job.init is not None:
        start = warm_start(network, config.model, job.init, strict=config.init.strict)
    if not config.compute.channels_last:
        network.to(memory_format=torch.contiguous_format)
    return network.to(device), domain, start


def open_batches(
    job: Job, device: torch.device, world: World
) -> tuple[Batches, Callable[[int], list[int]]]:
    """The batches of this process, and what tells the patch ids of a whole step."""
    config = job.config
    sampler = CropSampler(
        job.patch_ids,
        seed=config.seed,
        batch=config.batch,
        lr_patch=job.pool.index.size // config.scale,
        lr_crop=config.lr_crop,
        augment=config.augment,
        weights=job.patch_weights,
        weighted_from=job.weighted_from,
    )
    reachable = job.reachable_ids
    if job.adaptive:
        sampler = sampler.of(job.patch_ids, np.searchsorted(reachable, job.patch_ids), start=0)
    count = config.compute.accumulate
    batches = Batches(
        job.pool,
        reachable,
        sampler,
        config.lr_crop,
        device,
        residency=job.residency(device, world),
        own=range(world.rank * count, (world.rank + 1) * count),
        parts=world.size * count,
    )
    return batches, lambda step: batches.sampler.at(step).patch_B.tolist()


def _active_set(job: Job, batches: Batches, world: World) -> ActiveSet | None:
    """What chooses the patches of an adaptive run; None where they stay."""
    if job.adaptive is None:
        return None
    return ActiveSet(
        job.adaptive,
        batches.sampler,
        steps=job.plan.steps,
        batch=job.config.batch,
        changed=batches.draw_from,
        world=world,
    )


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


def check_crops(config: TrainConfig, size: int) -> None:
    """Refuse crops that patches cannot give, or of which the rim leaves nothing.

    Args:
        config: the training config.
        size: side of the patches, HR px.

    Raises:
        InputError: lr_crop is too large or too small.
    """
    check_crop(config.lr_crop, size // config.scale)
    network, domain = build(config.model, config.scale, config.model_args)
    multiple = network.spec.multiple
    if config.lr_crop * (config.scale if domain.pre_upsampled else 1) % multiple:
        below = config.lr_crop // multiple * multiple
        raise InputError(
            f"lr_crop is {config.lr_crop}, but {config.model} works in windows of {multiple} px. "
            f"Choose a multiple, such as {below or multiple}."
        )
    rim = network.rim + domain.reach if config.skip_rim else 0
    if 2 * rim >= config.lr_crop * config.scale:
        raise InputError(
            f"lr_crop is {config.lr_crop}, {config.lr_crop * config.scale} px at HR, but skip_rim "
            f"leaves out {rim} px at each edge. Choose an lr_crop of at least "
            f"{2 * rim // config.scale + 1}."
        )
