"""``score``: one number a patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.core.scores import ScoreTable


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
        _say(name, table, workspace)


def _say(name: str, table: ScoreTable, workspace: Workspace) -> None:
    """After ``score``."""
    import numpy as np

    low, middle, high = np.quantile(table.scores_N, (0, 0.5, 1))
    click.echo(
        f"{len(table):,} patches scored by {table.method}: "
        f"lowest {low:.4g}, median {middle:.4g}, highest {high:.4g}"
    )
    click.echo(f"scores: {workspace.scores(name)}")
