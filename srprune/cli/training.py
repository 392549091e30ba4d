"""What ``pretrain`` and ``train`` print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from torch import device as Device

    from srprune.stages.fit import Job
    from srprune.training.distributed import World


def planned(job: Job, device: Device, world: World) -> None:
    """Before training starts."""
    import torch

    from srprune.models.build import parameter_count
    from srprune.stages.fit import initial

    config = job.config
    network, _, start = initial(job, torch.device("cpu"))
    click.echo(
        f"{config.model} x{config.scale}, {parameter_count(network):,} parameters, "
        f"seed {config.seed}, on {device}"
        + (f" and {world.size - 1} more" if world.size > 1 else "")
    )
    if start:
        click.echo(f"starts from {start}")
    place = {"device": f"on {device}", "host": "in main memory", "disk": "in the memory map"}
    click.echo(
        f"core-set: {job.train_set}, {job.num_bytes / 1e6:,.0f} MB of pixels, held "
        f"{place[job.residency(device, world)]}"
    )
    click.echo(str(job.plan))


def trained(job: Job) -> None:
    """After training."""
    log = job.folder / "validation.csv"
    if log.exists():
        columns, *rows = log.read_text().splitlines()
        if rows:
            figures = dict(zip(columns.split(","), rows[-1].split(","), strict=True))
            click.echo("validation: " + ", ".join(f"{k} {v}" for k, v in figures.items()))
            below = float(figures.get("psnr_bicubic", "-inf")) - float(figures.get("psnr", "inf"))
            if below > 0:
                click.echo(
                    f"note: the scoring model is still {below:.1f} dB below bicubic; its ranking "
                    "may be coarse. More steps: --restart --set budget.steps=N"
                )
    click.echo(f"weights: {job.weights}")
