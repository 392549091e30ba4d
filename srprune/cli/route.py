"""``route``: fit a router for a supernet."""

from __future__ import annotations

import json
from pathlib import Path

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.workspace import Workspace


@click.command()
@click.argument("run")
@click.option(
    "--router",
    default="gradient",
    show_default=True,
    help="gradient (WBSR), edge_psnr (ARM) or class_module (ClassSR).",
)
@click.option(
    "--tile",
    type=click.IntRange(min=1),
    help="Side of a tile, LR px. [default: 64 at x2, 48 at x3 and x4, or that of smaller patches]",
)
@click.option(
    "--num-tiles",
    type=click.IntRange(min=1),
    help="How many tiles it learns from. [default: 20000 for gradient, 2000 for the others]",
)
@click.option(
    "--classes",
    type=click.IntRange(min=1),
    help="Difficulty classes of gradient. [default: those of the run's sampling, or 10]",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Of the training of class_module. [default: 2000]",
)
@click.option(
    "--validation",
    metavar="NAME|FOLDER",
    help="Images for the table of edge_psnr that the run was not trained on. [default: its "
    "training patches]",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Of the places of tiles, and of what is trained.",
)
@options.as_json
@options.roots
@options.device
@options.workspace
def route(
    run: str,
    router: str,
    tile: int | None,
    num_tiles: int | None,
    classes: int | None,
    steps: int | None,
    validation: str | None,
    seed: int,
    as_json: bool,
    roots: list[Path],
    device: str,
    workspace: Workspace,
) -> None:
    """Fit a router: it decides which subnet of a supernet each tile of an image gets.

    RUN is a training run of a supernet, its folder or its weights.safetensors. The router is
    written into the folder.

    \b
    Example:
      srprune route my_run
      srprune route my_run --router edge_psnr --validation DIV2K_valid_HR
    """
    from srprune.images.benchmarks import check_typed, find_benchmark
    from srprune.models.device import pick_device
    from srprune.stages.route import route as stage

    if validation:
        check_typed(validation)
    with Bars() as bars:
        path, header = stage(
            workspace,
            run,
            router,
            device=pick_device(device),
            tile=tile,
            num_tiles=num_tiles,
            classes=classes,
            steps=steps,
            validation=find_benchmark(validation, roots) if validation else None,
            seed=seed,
            progress=bars,
        )
    on = header.made["fitted_on"]
    if router == "edge_psnr" and "images" not in on:
        click.echo(
            "note: its PSNR is that of training images, higher than others will have; "
            "--validation takes a folder of others.",
            err=True,
        )
    if as_json:
        facts = {
            "router": router,
            "run": run,
            "path": str(path),
            "fingerprint": header.fingerprint,
            "parents": header.parents,
            "fitted_on": on,
        }
        click.echo(json.dumps(facts, indent=1))
        return
    tiles = options.number_of(on["num_tiles"], "tile")
    click.echo(f"fitted on {tiles} of {on['tile']} px at LR: {on['set']}")
    click.echo(f"router: {path}")
