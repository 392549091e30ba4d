"""What ``pretrain`` and ``train`` tell: plain values for JSON, and the same in words."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torch import device as Device

    from srprune.core.artifact import Header
    from srprune.stages.job import Job
    from srprune.training.distributed import World

Facts = dict[str, Any]


def plan_of(job: Job, device: Device, world: World) -> Facts:
    """What is going to be trained, and for how long."""
    import torch

    from srprune.models.build import parameter_count
    from srprune.stages.fit import initial

    config, plan = job.config, job.plan
    network, _, start = initial(job, torch.device("cpu"))
    return {
        "name": job.folder.name,
        "folder": str(job.folder),
        "model": config.model,
        "scale": config.scale,
        "parameters": parameter_count(network),
        "seed": config.seed,
        "device": str(device),
        "processes": world.size,
        "starts_from": str(start) if start else None,
        "train_set": job.train_set,
        "num_patches": plan.num_patches,
        "num_full": plan.num_full,
        "pixel_bytes": job.num_bytes,
        "residency": job.residency(device, world),
        "steps": plan.steps,
        "full_steps": plan.full_steps,
        "batch": plan.batch,
        "epochs": plan.epochs,
        "weighted_from": job.weighted_from if config.sampling else None,
    }


def result_of(job: Job, header: Header) -> Facts:
    """What came out: the weights and the last validation."""
    figures = {}
    log = job.folder / "validation.csv"
    if log.exists():
        columns, *rows = log.read_text().splitlines()
        if rows:
            figures = dict(zip(columns.split(","), rows[-1].split(","), strict=True))
    return {
        "weights": str(job.weights),
        "fingerprint": header.fingerprint,
        "validation": {name: _number(text) for name, text in figures.items()} or None,
    }


def say_plan(facts: Facts, job: Job) -> None:
    """Before training starts."""
    others = f" and {facts['processes'] - 1} more" if facts["processes"] > 1 else ""
    click.echo(
        f"{facts['model']} x{facts['scale']}, {facts['parameters']:,} parameters, "
        f"seed {facts['seed']}, on {facts['device']}{others}"
    )
    if facts["starts_from"]:
        click.echo(f"starts from {facts['starts_from']}")
    place = {
        "device": f"on {facts['device']}",
        "host": "in main memory",
        "disk": "in the memory map",
    }
    click.echo(
        f"core-set: {facts['train_set']}, {facts['pixel_bytes'] / 1e6:,.0f} MB of pixels, held "
        f"{place[facts['residency']]}"
    )
    click.echo(str(job.plan))
    if job.config.sampling:
        sampling = job.config.sampling
        click.echo(
            f"{sampling.name}: {sampling.classes} classes of difficulty, drawn by weight from step "
            f"{facts['weighted_from'] + 1:,} on"
        )


def say_result(facts: Facts) -> None:
    """After training."""
    figures = facts["validation"]
    if figures:
        click.echo("validation: " + ", ".join(f"{k} {_text(v)}" for k, v in figures.items()))
        psnr, bicubic = figures.get("psnr"), figures.get("psnr_bicubic")
        if psnr is not None and bicubic is not None and bicubic > psnr:
            click.echo(
                f"note: the scoring model is still {bicubic - psnr:.1f} dB below bicubic; its "
                "ranking may be coarse. More steps: --restart --set budget.steps=N"
            )
    click.echo(f"weights: {facts['weights']}")


def say_json(facts: Facts) -> None:
    """Everything, and nothing else on stdout."""
    click.echo(json.dumps(facts, indent=1, allow_nan=False))


def _number(text: str) -> float | int | None:
    """A figure of a log; JSON has no infinity, the PSNR of equal images, so that is None."""
    value = float(text)
    if not math.isfinite(value):
        return None
    return int(text) if text.isdigit() else value


def _text(value: float | int | None) -> str:
    """As the log has it: six decimals, steps without."""
    if value is None:
        return "inf"
    return str(value) if isinstance(value, int) else f"{value:.6f}"
