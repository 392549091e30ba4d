"""``pretrain``: the scoring model."""

from __future__ import annotations

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.cli.signals import terminated
from srprune.cli.training import plan_of, result_of, say_json, say_plan, say_result
from srprune.core.configs import find_config
from srprune.core.workspace import Workspace


@click.command()
@click.option("--config", default="srcnn.yaml", show_default=True, help="Training config.")
@options.name("Of the scoring model. [default: MODEL_xSCALE]")
@options.scale
@options.overrides
@options.going_on
@options.as_json
@options.device
@options.workspace
def pretrain(
    config: str,
    name: str | None,
    scale: int | None,
    overrides: tuple[str, ...],
    resume: bool,
    restart: bool,
    as_json: bool,
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
        plan = plan_of(job, where, world) if world.first else {}
        if world.first and not as_json:
            say_plan(plan, job)
        header = fit(
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
        result = result_of(job, header)
        say_json({**plan, **result}) if as_json else say_result(result)
