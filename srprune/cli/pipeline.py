"""The first five commands of the paper's pipeline; the sixth is in :mod:`srprune.cli.evaluate`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.cli.signals import terminated
from srprune.core.configs import find_config
from srprune.core.errors import MissingDependency
from srprune.core.workspace import Workspace

CORES = os.cpu_count() or 1


@click.command()
@click.argument("images")
@click.option("--size", default=480, show_default=True, help="Side of a patch, HR px.")
@click.option("--stride", default=240, show_default=True, help="Distance of patches, HR px.")
@click.option("--skip-bad", is_flag=True, help="Go on without images that cannot be used.")
@click.option("--write-patches", is_flag=True, help="Also write every patch as a PNG file.")
@click.option(
    "--workers", default=CORES, show_default="cores", type=click.IntRange(min=1), help="Threads."
)
@options.workspace
def extract(
    images: str,
    size: int,
    stride: int,
    skip_bad: bool,
    write_patches: bool,
    workers: int,
    workspace: Workspace,
) -> None:
    """Cut a folder of HR images into patches (sub-images).

    IMAGES is searched with its subfolders; 'photos' takes the photographs inside scikit-image.
    Each image is decoded once, into a memory-mapped store; patches are windows over it.

    \b
    Example:
      srprune extract DIV2K_train_HR
      srprune extract photos --size 96 --stride 48
    """
    from srprune.cli import say
    from srprune.core.config import ExtractConfig
    from srprune.stages.extract import ImageSource
    from srprune.stages.extract import extract as stage

    config = ExtractConfig.model_construct(size=size, stride=stride)  # the stage checks
    with Bars() as bars:
        index = stage(
            ImageSource.find(images),
            config,
            workspace,
            skip_bad=skip_bad,
            write_patches=write_patches,
            workers=workers,
            progress=bars,
        )
    say.extracted(index, workspace)


@click.command()
@click.option("--config", default="srcnn.yaml", show_default=True, help="Training config.")
@click.option("--name", help="Of the scoring model. [default: MODEL_xSCALE]")
@options.scale
@options.overrides
@options.going_on
@options.device
@options.workspace
def pretrain(
    config: str,
    name: str | None,
    scale: int | None,
    overrides: tuple[str, ...],
    resume: bool,
    restart: bool,
    device: str,
    workspace: Workspace,
) -> None:
    """Train the scoring model (SRCNN) on all patches.

    Whole images with about 5% of the patches validate and are not trained on.

    \b
    Example:
      srprune pretrain --scale 2
      srprune pretrain --set model_args.variant=9-5-5 --set budget.steps=20000
    """
    from srprune.cli import say
    from srprune.core.config import TrainConfig
    from srprune.core.yaml_file import load
    from srprune.models.device import pick_device
    from srprune.stages.fit import fit
    from srprune.stages.pretrain import held_out_validation, plan_pretraining
    from srprune.training.distributed import joined

    changes = [*overrides, *([f"scale={scale}"] if scale else [])]
    settings = load(find_config(config), TrainConfig, changes)
    where = pick_device(device)
    with joined(where) as world, Bars(shown=world.first) as bars, terminated() as stopping:
        with world.in_turn():
            job = plan_pretraining(settings, workspace, name=name, progress=bars)
        if world.first:
            say.planned(job, where, world)
        fit(
            job,
            device=where,
            world=world,
            resume=resume,
            restart=restart,
            validate=held_out_validation(settings, job.pool, where),
            stopping=stopping,
            progress=bars,
        )
    if world.first:
        say.trained(job)


@click.command()
@click.option(
    "--method", default="mse", show_default=True, help="mse, bicubic, sobel, laplacian or random."
)
@options.scale
@click.option("--name", help="Of the score table. [default: METHOD_xSCALE or METHOD]")
@click.option(
    "--scorer",
    help="Scoring model, where there are several; or a weights file, or spandrel:FILE.",
)
@click.option(
    "--include-rim",
    is_flag=True,
    help="Score the rim that zero padding spoils, too; see docs/protocol.md.",
)
@click.option(
    "--batch",
    default=4,
    show_default=True,
    type=click.IntRange(min=1),
    help="Patches at a time; changes no score by more than 1e-5 of its value.",
)
@click.option("--restart", is_flag=True, help="Replace a table that was made otherwise.")
@options.device
@options.workspace
def score(
    method: str,
    scale: int | None,
    name: str | None,
    scorer: str | None,
    include_rim: bool,
    batch: int,
    restart: bool,
    device: str,
    workspace: Workspace,
) -> None:
    """Give every patch one number; higher is harder.

    mse is the paper's: the error of SRCNN's reconstruction. The others need no scoring model.

    \b
    Example:
      srprune score
      srprune score --method laplacian
    """
    from srprune.cli import say
    from srprune.models.device import pick_device
    from srprune.stages.score import score as stage
    from srprune.training.distributed import joined

    with joined(pick_device(device)) as world, Bars(shown=world.first) as bars:
        name, table = stage(
            workspace,
            method=method,
            scale=scale,
            scorer=scorer,
            include_rim=include_rim,
            name=name,
            restart=restart,
            batch=batch,
            device=device,
            world=world,
            progress=bars,
        )
    if world.first:
        say.scored(name, table, workspace)


@click.command()
@click.option("--ratio", type=float, required=True, help="Share of all patches to keep.")
@click.option(
    "--offset",
    type=float,
    default=0.0,
    show_default=True,
    help="Share of all patches to skip at the start of the order.",
)
@click.option(
    "--rule",
    default="des",
    show_default=True,
    help="des (hardest first), asc (easiest first) or random.",
)
@click.option("--scores", help="Score table, where there are several.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of the rule random."
)
@options.as_json
@options.workspace
def select(
    ratio: float,
    offset: float,
    rule: str,
    scores: str | None,
    seed: int,
    as_json: bool,
    workspace: Workspace,
) -> None:
    """Choose a core-set from the scores.

    The paper's refined core-set skips the hardest 5% and keeps the next 50%.

    \b
    Example:
      srprune select --ratio 0.5 --offset 0.05
      srprune select --ratio 0.25 --rule asc
    """
    from srprune.cli import say
    from srprune.stages.coresets import select as stage

    say.selected(
        stage(workspace, rule=rule, ratio=ratio, offset=offset, seed=seed, scores=scores),
        workspace,
        as_json,
    )


@click.command()
@click.option("--config", required=True, help="Training config, such as fsrcnn_x2.yaml.")
@click.option(
    "--coreset",
    type=click.Path(path_type=Path),
    help="Core-set file to train on, instead of the config's pruning.",
)
@click.option("--name", help="Of the run. [default: CONFIG__CORE-SET__seedN]")
@click.option("--init", metavar="RUN|FILE", help="Weights to start from; the same as init.weights.")
@click.option("--dry-run", is_flag=True, help="Print config and steps, and stop.")
@options.overrides
@options.going_on
@options.roots
@options.device
@options.workspace
def train(
    config: str,
    coreset: Path | None,
    name: str | None,
    init: str | None,
    dry_run: bool,
    overrides: tuple[str, ...],
    resume: bool,
    restart: bool,
    roots: list[Path],
    device: str,
    workspace: Workspace,
) -> None:
    """Train a network on a core-set, step-matched to the full set or not.

    The config's pruning names the core-set; it is made from the scores if it is not there yet.

    \b
    Example:
      srprune train --config fsrcnn_x2.yaml
      srprune train --config fsrcnn_x2.yaml --set pruning.ratio=1 --set pruning.offset=0
    """
    from srprune.cli import say
    from srprune.core.config import TrainConfig
    from srprune.core.yaml_file import dump, load
    from srprune.models.device import pick_device
    from srprune.stages.fit import fit
    from srprune.stages.train import curves, plan_training, preview, shared_images, validation
    from srprune.training.distributed import joined

    if init:
        overrides = (*overrides, f"init.weights={json.dumps(init)}")
    settings = load(find_config(config), TrainConfig, overrides)
    where = pick_device(device)
    with joined(where) as world, Bars(shown=world.first) as bars, terminated() as stopping:
        with world.in_turn():  # the first one makes what is missing, the others find it
            job = plan_training(
                settings,
                workspace,
                stem=Path(config).stem,
                name=name,
                coreset=coreset,
                progress=bars,
            )
        measure = validation(settings, roots, where)
        if world.first:
            if dry_run:
                click.echo(dump(settings))
            say.planned(job, where, world)
            say.leaking(job, shared_images(job, roots))
        if dry_run:
            return
        fit(
            job,
            device=where,
            world=world,
            resume=resume,
            restart=restart,
            validate=measure,
            stopping=stopping,
            progress=bars,
        )
    if not world.first:
        return
    say.trained(job)
    pictures: dict[str, Callable[[], Path | None]] = {
        "preview": lambda: preview(job, roots, where),
        "curves": lambda: curves(job),
    }
    for what, draw in pictures.items():
        try:
            picture = draw()
            click.echo(f"{what}: {picture}" if picture else f"no {what}: nothing was measured")
        except MissingDependency as error:
            click.echo(f"no {what}: {error}")
