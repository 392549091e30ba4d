"""Training one network into a folder: what ``pretrain`` and ``train`` share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srprune.core.artifact import Header, canonical, digest, write_text
from srprune.core.config import TrainConfig
from srprune.core.errors import ArtifactMismatch, InputError
from srprune.core.lock import exclusive
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.weights import read_weights_header
from srprune.core.yaml_file import dump
from srprune.data.batches import Batches
from srprune.data.patches import PatchPool
from srprune.data.sampler import CropSampler, check_crop
from srprune.models.build import build, save_weights
from srprune.stages.coresets import covered_pixels
from srprune.training.loop import Validate, train
from srprune.training.plan import StepPlan, plan_steps
from srprune.training.state import StateFile

# What changes nothing about the weights may change between an interruption and --resume.
_WITHOUT_EFFECT = {"validation", "checkpoint_every"}


@dataclass(frozen=True)
class Job:
    """A training run, planned but not started.

    Attributes:
        folder: of the run.
        config: resolved.
        pool: the patches.
        patch_ids: those that are trained on.
        train_set: name of the core-set, or ``full``.
        parents: fingerprints of patch index and core-set.
    """

    folder: Path
    config: TrainConfig
    pool: PatchPool
    patch_ids: npt.NDArray[np.int64]
    train_set: str
    parents: Mapping[str, str]

    @cached_property
    def plan(self) -> StepPlan:
        """How many steps it gets."""
        return plan_steps(
            self.config.budget,
            batch=self.config.batch,
            num_full=len(self.pool),
            num_patches=len(self.patch_ids),
            step_matching=self.config.pruning.step_matching,
        )

    @property
    def num_bytes(self) -> int:
        """Bytes of uint8 pixels that it needs, HR and LR; overlaps count once."""
        pixels = covered_pixels(self.pool.index, self.patch_ids)
        return 3 * (pixels + pixels // self.config.scale**2)

    @cached_property
    def params(self) -> dict[str, Any]:
        """Everything that decides the weights, as plain values."""
        return {
            "model": self.config.model,
            "model_args": self.config.model_args,
            "scale": self.config.scale,
            "train_set": self.train_set,
            "num_patches": len(self.patch_ids),
            "steps": self.plan.steps,
            "seed": self.config.seed,
            "config": self.config.model_dump(mode="json", exclude=_WITHOUT_EFFECT),
        }

    @property
    def weights(self) -> Path:
        """The file that the run ends with."""
        return self.folder / "weights.safetensors"

    @property
    def state(self) -> StateFile:
        """The checkpoint that it can go on from."""
        plan = digest(canonical(self.params), canonical(dict(self.parents)))
        return StateFile(self.folder / "state.pt", plan)

    def finished(self) -> Header | None:
        """Header of the weights, if this very run is finished.

        Raises:
            ArtifactMismatch: the folder holds another finished run.
        """
        if not self.weights.exists():
            return None
        header = read_weights_header(self.weights)
        if header.params != self.params or header.parents != dict(self.parents):
            raise ArtifactMismatch(
                f"{self.folder} holds a finished run of another config or other inputs "
                f"({_difference(header, self)}). Choose another --workspace; or, with pretrain "
                "and train, another --name, or --restart to replace it."
            )
        return header


def fit(
    job: Job,
    *,
    device: torch.device,
    resume: bool = False,
    restart: bool = False,
    validate: Validate | None = None,
    progress: Progress = silent,
) -> Header:
    """Run a job to its end; a finished one is returned as it is.

    Args:
        job: what to train.
        device: where.
        resume: go on from the checkpoint of an interrupted attempt.
        restart: throw away what is in the folder.
        validate: measured on the way.
        progress: told after each step.

    Raises:
        InputError: an interrupted attempt is there, and neither resume nor restart was asked for.
        ArtifactMismatch: the folder holds another run.
    """
    with exclusive(job.folder):
        return _fit(job, device, resume, restart, validate, progress)


def _fit(
    job: Job,
    device: torch.device,
    resume: bool,
    restart: bool,
    validate: Validate | None,
    progress: Progress,
) -> Header:
    watch = Stopwatch()
    if not restart and (header := job.finished()):
        return header
    if job.state.path.exists() and not (resume or restart):
        raise InputError(
            f"{job.folder} holds an interrupted run. Pass --resume to go on with it, "
            "or --restart to begin again."
        )
    config = job.config
    check_crops(config, job.pool.index.size)
    sampler = CropSampler(
        job.patch_ids,
        seed=config.seed,
        batch=config.batch,
        lr_patch=job.pool.index.size // config.scale,
        lr_crop=config.lr_crop,
        augment=config.augment,
    )
    batches = Batches(job.pool, sampler, config.lr_crop, device)
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    torch.manual_seed(config.seed)
    network, domain = build(config.model, config.scale, config.model_args)
    network.to(device)
    rim = network.rim + domain.reach if config.skip_rim else 0

    def batch_at(step: int) -> tuple[Tensor, Tensor]:
        lr, hr = batches.at(step)
        return domain.input(lr), domain.target(hr)

    if restart:  # only now: a job that is refused keeps what the folder holds
        for left in (job.weights, job.state.path, job.folder / "validation.csv"):
            left.unlink(missing_ok=True)
    write_text(job.folder / "config.yaml", dump(config))
    train(
        network,
        batch_at,
        plan=job.plan,
        config=config,
        state=job.state,
        folder=job.folder,
        device=device,
        last_layer=network.last_layer,
        rim=rim,
        validate=validate,
        progress=progress,
    )
    made = {**watch.made(), "device": str(device), "threads": torch.get_num_threads()}
    header = save_weights(
        job.weights,
        network,
        parents=job.parents,
        params=job.params,
        made=made,
        info={"training_images": job.pool.index.contents},
    )
    job.state.path.unlink(missing_ok=True)
    return header


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
    rim = network.rim + domain.reach if config.skip_rim else 0
    if 2 * rim >= config.lr_crop * config.scale:
        raise InputError(
            f"lr_crop is {config.lr_crop}, {config.lr_crop * config.scale} px at HR, but skip_rim "
            f"leaves out {rim} px at each edge. Choose an lr_crop of at least "
            f"{2 * rim // config.scale + 1}."
        )


def _difference(header: Header, job: Job) -> str:
    """The first thing in which two runs differ, in words."""
    for name, value in {**job.params, **job.params["config"]}.items():
        there = header.params.get(name, header.params.get("config", {}).get(name))
        if there != value and name != "config":
            return f"{name} {there!r} there, {value!r} asked for"
    return f"made from {header.parents}, not from {dict(job.parents)}"
