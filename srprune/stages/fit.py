"""Training one network into a folder: what ``pretrain`` and ``train`` share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from srprune.core.artifact import Header, storage_errors, write_text
from srprune.core.errors import InputError
from srprune.core.lock import exclusive
from srprune.core.out_of_memory import memory_errors
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.weights import read_weights_header
from srprune.core.yaml_file import dump
from srprune.data.batches import Batches
from srprune.data.sampler import CropSampler
from srprune.models.build import build, save_weights
from srprune.models.domain import Domain
from srprune.models.network import Network
from srprune.models.supernet import Supernet
from srprune.models.warm_start import WarmStart, warm_start
from srprune.stages.job import Job, check_batch, check_crops
from srprune.stages.restorers import WEIGHTS
from srprune.stages.route import write_gradient_router
from srprune.stages.routers import FOLDER as ROUTERS
from srprune.stages.training_set import write_active
from srprune.stages.weighting import MIXTURE, write_mixture
from srprune.training import LOSSES
from srprune.training.adaptive import ActiveSet
from srprune.training.criterion import Given, StatefulCriterion
from srprune.training.distributed import ALONE, World
from srprune.training.loop import Validate, train
from srprune.training.subnets import subnets_of

BEST = "best.safetensors"
ACTIVE = "coreset.parquet"  # what an adaptive run ended with
# of an earlier attempt, that a run from its first step on must not be taken to have made
LEFT_BEHIND = (WEIGHTS, BEST, MIXTURE, ACTIVE, "log.csv", "validation.csv", "adaptive.csv")


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
        check_crops(config, job.pool.index.size, world)
        torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
        spent_s = None if restart else job.spent_s()
        goes_on = spent_s is not None
        with memory_errors(OUT_OF_MEMORY):
            network, domain, start = initial(job, device)
        world.wait()
        if world.first:  # only now: a job that is refused keeps what the folder holds
            if not goes_on:
                job.checkpoints.clear()
                for name in LEFT_BEHIND:
                    (job.folder / name).unlink(missing_ok=True)
                if (routers := job.folder / ROUTERS).exists():
                    with storage_errors(routers):
                        shutil.rmtree(routers)
            write_text(job.folder / "config.yaml", dump(config))
            if config.balance and not (goes_on and job.mixture.exists()):
                ids, seed = job.reachable_ids, config.seed
                write_mixture(job.mixture, config.balance, job.pool, ids, domain, seed)
        world.wait()
        loss = LOSSES.load(config.loss)(Given(network, config.balance, job.mixture))
        stateful = loss.of_batch if isinstance(loss.of_batch, StatefulCriterion) else None
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
                made={
                    **watch.made(),
                    "seconds": round((spent_s or 0.0) + watch.seconds, 3),
                    **made,
                },
                info={
                    "training_images": job.contents,
                    **({"visited_patches": active.num_visited} if active else {}),
                    **(stateful.facts() if stateful else {}),
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
                loss.of_batch,
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
                by_crop=loss.of_crops,
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
