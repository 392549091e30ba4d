"""study: where and how its cells are run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import torch

from srprune.core.artifact import Header
from srprune.core.progress import Progress, heeding, silent
from srprune.core.workspace import Workspace
from srprune.images.benchmarks import Benchmark
from srprune.models.device import pick_device
from srprune.stages.fit import fit
from srprune.stages.job import Job
from srprune.stages.remake import made
from srprune.training.loop import Validate

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """Where and how cells are run.

    Attributes:
        workspace: holds all runs; studies share those that are the same.
        roots: where benchmarks are looked for.
        benchmarks: of the study.
        device: of the trainings, such as ``cuda:1``.
        workers: threads for decoding.
        edited: what was made from other inputs than those of now is made again; off: refused.
        stopping: asked after each step of a training; True saves a checkpoint and stops. Asked on
            the way of all else, too, which then leaves nothing half-made.
        tell: told a line about each stage.
        progress: told on the way.
    """

    workspace: Workspace
    roots: list[Path]
    benchmarks: list[Benchmark]
    device: str = "auto"
    workers: int = 1
    edited: bool = False
    stopping: Callable[[], bool] = field(default=lambda: False)
    tell: Tell = field(default=lambda line: None)
    progress: Progress = silent

    @cached_property
    def heeding(self) -> Progress:
        """Of work that keeps no checkpoint."""
        return heeding(self.stopping, self.progress)

    @cached_property
    def where(self) -> torch.device:
        """The device, found."""
        return pick_device(self.device)


def fit_or_remake(job: Job, validate: Validate | None, setting: Setting) -> None:
    """Train a job, or go on with it; with ``edited`` one of other inputs is made again."""
    run = partial(
        fit,
        job,
        device=setting.where,
        validate=validate,
        stopping=setting.stopping,
        progress=setting.progress,
    )

    def again() -> Header:
        setting.tell(f"{job.folder.name} was made from other inputs and is made again")
        return run(restart=True)

    made(partial(run, resume=True), again, edited=setting.edited)
