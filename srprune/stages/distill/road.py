"""The whole road of distillation: select, categorise, finetune, synthesise, what is missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from srprune.core.progress import Progress, duration, heeding, silent
from srprune.core.workspace import Workspace
from srprune.distill.generator import FILE, read_generator_header
from srprune.distill.provenance import DistilledSet
from srprune.stages.distill.categorise import categorise
from srprune.stages.distill.finetune import finetune
from srprune.stages.distill.finetune_plan import plan_finetune
from srprune.stages.distill.road_plan import Road
from srprune.stages.distill.select import select
from srprune.stages.distill.synthesise import synthesise
from srprune.stages.remake import made


def distil(
    workspace: Workspace,
    name: str,
    road: Road,
    *,
    device: torch.device,
    edited: bool = False,
    stopping: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
) -> DistilledSet:
    """Make a synthesised set, or find it; what was stopped goes on.

    Args:
        workspace: holds the patches; gets core-set, categories, generator and set.
        name: of the generator and of the set.
        road: how.
        device: where.
        edited: what was made by another road, or from other inputs, is made again; off: refused.
        stopping: asked after each step of training, before each batch of images, and on the way of
            selecting and categorising.
        tell: told a line about each step.
        progress: told on the way.

    Raises:
        UserError: what the four steps raise.
    """
    distill, heed = road.distill, heeding(stopping, progress)
    choosing = partial(select, workspace, distill.select, progress=heed)
    selection = made(choosing, partial(choosing, restart=True), edited=edited)
    tell(f"{len(selection.coreset):,} windows of {selection.num_patches:,}: {selection.name}")
    groups = categorise(
        workspace,
        distill.categorise,
        coreset=selection.name,
        device=str(device),
        progress=heed,
    )
    tell(f"{distill.categorise.categories} categories: {groups.name}")
    job = plan_finetune(workspace, road.finetune, name=name, groups=groups.name)
    if job.lag:
        tell(f"warning: {name}: {job.lag}.")
    training = partial(finetune, job, device=device, stopping=stopping, progress=progress)
    made(partial(training, resume=True), partial(training, restart=True), edited=edited)
    tell(f"generator {name}: {job.plan.steps:,} steps")
    sampling = partial(
        synthesise,
        workspace,
        name,
        distill.synthesise,
        name=name,
        device=device,
        stopping=stopping,
        progress=progress,
    )
    synthesised = made(sampling, partial(sampling, restart=True), edited=edited)
    copies, seconds = len(synthesised.near_copies), seconds_of(workspace, name)
    tell(
        f"synthesised set {name}: {len(synthesised):,} images, {copies} of them near-copies; with "
        f"its generator made in {duration(seconds)}"
    )
    return synthesised


def seconds_of(workspace: Workspace, name: str) -> float:
    """What a set of :func:`distil` has cost, over all attempts: its generator, and sampling.

    Raises:
        MissingArtifact: there is no such set.
    """
    generator = read_generator_header(workspace.generator(name) / FILE)
    folder = workspace.distilled(name)
    made = DistilledSet.read(folder).header
    return float(generator.made["seconds"]) + float(made.info["seconds"])
