"""``distill finetune``: a diffusion model on categorised patches."""

from __future__ import annotations

import json
from pathlib import Path

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.cli.signals import terminated
from srprune.core.configs import find_config
from srprune.core.workspace import Workspace


@click.command()
@click.option("--config", required=True, help="Config of the diffusion model, as dit_tiny.yaml.")
@click.option(
    "--groups",
    help="Categories, by the name that 'distill categorise' gave them. [default: the only ones]",
)
@options.name("Of the generator. [default: CONFIG__seedN]")
@click.option("--dry-run", is_flag=True, help="Print config and plan, and stop.")
@options.overriding("steps=2000")
@options.going_on
@options.as_json
@options.device
@options.workspace
def finetune(
    config: str,
    groups: str | None,
    name: str | None,
    dry_run: bool,
    overrides: tuple[str, ...],
    resume: bool,
    restart: bool,
    as_json: bool,
    device: str,
    workspace: Workspace,
) -> None:
    """Train a class-conditional diffusion transformer on categorised patches.

    From scratch, or from the weights in a folder that network.weights names. On the way grids of
    samples are written into the generator's folder. Several GPUs share it under
    'torchrun -m srprune distill finetune'.

    \b
    Example:
      srprune distill finetune --config dit_tiny.yaml
      srprune distill finetune --config dit_small.yaml --resume
    """
    from srprune.core.yaml_file import dump, load
    from srprune.distill.config import FinetuneConfig
    from srprune.models.device import pick_device
    from srprune.stages.distill.finetune import finetune as stage
    from srprune.stages.distill.finetune_plan import plan_finetune
    from srprune.training.distributed import joined

    settings = load(find_config(config), FinetuneConfig, overrides)
    where = pick_device(device)
    named = name or f"{Path(config).stem}__seed{settings.seed}"
    with joined(where) as world, Bars(shown=world.first) as bars, terminated() as stopping:
        job = plan_finetune(workspace, settings, name=named, groups=groups, world=world)
        facts = {
            "generator": named,
            "folder": str(job.folder),
            "windows": len(job.patch_ids),
            "size": job.size,
            "categories": job.categories,
            "steps": settings.steps,
            "epochs": job.plan.epochs,
            "device": str(where),
            "processes": world.size,
        }
        if world.first and dry_run and not as_json:
            click.echo(dump(settings))
        if world.first and not as_json:
            click.echo(
                f"{len(job.patch_ids):,} windows of {job.size} px in {job.categories} categories; "
                f"{settings.steps:,} steps of {settings.batch} = {job.plan.epochs:.1f} epochs"
            )
        if world.first and job.lag:
            click.echo(f"warning: {job.lag}.", err=True)
        if dry_run:
            if world.first and as_json:
                click.echo(
                    json.dumps({**facts, "config": settings.model_dump(mode="json")}, indent=1)
                )
            return
        header = stage(
            job,
            device=where,
            world=world,
            resume=resume,
            restart=restart,
            stopping=stopping,
            progress=bars,
        )
    if not world.first:
        return
    facts |= {
        "path": str(job.path),
        "fingerprint": header.fingerprint,
        "parameters": header.info["parameters"],
        "trained_share": header.info["trained_share"],
        "autoencoder_psnr": header.info["autoencoder_psnr"],
        "seconds": header.made["seconds"],
    }
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    if facts["autoencoder_psnr"] is not None:
        click.echo(f"latents: {facts['autoencoder_psnr']:.2f} dB there and back")
    click.echo(f"generator: {job.path}")
