"""``train``: a network on a core-set."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.cli.signals import terminated
from srprune.cli.training import plan_of, result_of, say_json, say_plan, say_result
from srprune.core.configs import find_config
from srprune.core.errors import MissingDependency
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.stages.job import Job


@click.command()
@click.option("--config", required=True, help="Training config, such as fsrcnn_x2.yaml.")
@click.option(
    "--coreset",
    help="Core-set to train on, by name or file, instead of the config's pruning.",
)
@options.name("Of the run. [default: CONFIG__CORE-SET__seedN]")
@click.option("--init", metavar="RUN|FILE", help="Weights to start from; the same as init.weights.")
@click.option("--dry-run", is_flag=True, help="Print config and steps, and stop.")
@options.overrides
@options.going_on
@options.as_json
@options.roots
@options.device
@options.workspace
def train(
    config: str,
    coreset: str | None,
    name: str | None,
    init: str | None,
    dry_run: bool,
    overrides: tuple[str, ...],
    resume: bool,
    restart: bool,
    as_json: bool,
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
                coreset=_coreset_file(coreset, workspace),
                progress=bars,
            )
        measure = validation(settings, roots, where)
        plan: dict[str, Any] = {}
        if world.first:
            plan = plan_of(job, where, world) | {"shared_images": list(shared_images(job, roots))}
            if dry_run and as_json:
                say_json({**plan, "config": settings.model_dump(mode="json")})
            elif dry_run:
                click.echo(dump(settings))
            if not as_json:
                say_plan(plan, job)
            _warn(job, plan["shared_images"])
        if dry_run:
            return
        header = fit(
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
    _note_router(job)
    result = result_of(job, header)
    if not as_json:
        say_result(result)
    drawn: dict[str, str | None] = {}
    pictures: dict[str, Callable[[], Path | None]] = {
        "preview": lambda: preview(job, roots, where),
        "curves": lambda: curves(job),
    }
    for what, draw in pictures.items():
        try:
            picture, why = draw(), "nothing was measured"
        except MissingDependency as error:
            picture, why = None, str(error)
        drawn[what] = str(picture) if picture else None
        if not as_json:
            click.echo(f"{what}: {picture}" if picture else f"no {what}: {why}")
    if as_json:
        say_json({**plan, **result, **drawn})


def _coreset_file(named: str | None, workspace: Workspace) -> Path | None:
    """The file of a core-set: a name in the workspace, as with ``export``, else a file."""
    if named is None:
        return None
    known = workspace.coreset(named)
    return known if known.is_file() else Path(named)


def _note_router(job: Job) -> None:
    """After the training of a supernet, where no router could be fitted to its patches."""
    from srprune.core.config import SUPERNET
    from srprune.stages.routers import command_of, router_path

    name = "gradient"
    if job.config.model.endswith(SUPERNET) and not router_path(job.folder, name).exists():
        click.echo(
            f"note: no router {name} could be fitted to these patches, so the run cannot be "
            f"restored tile by tile yet; '{command_of(job.folder, name)}' says why.",
            err=True,
        )


def _warn(job: Job, images: Sequence[str]) -> None:
    """Before training starts, of what its figures and its weights will suffer from."""
    from srprune.stages.job import lag_of

    if behind := lag_of(job.config, job.plan.steps):
        click.echo(f"warning: {behind}.", err=True)
    if images:
        names = ", ".join(images[:5]) + (", ..." if len(images) > 5 else "")
        click.echo(
            f"warning: {len(images)} images of the benchmark {job.config.validation.benchmark} are "
            f"also in the core-set ({names}); its figures say nothing about other images.",
            err=True,
        )
