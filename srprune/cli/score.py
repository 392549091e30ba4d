"""``score``: one number a patch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.core.scores import ScoreTable
    from srprune.scoring.clock import Clock
    from srprune.stages.score_shards import Shards


@click.command()
@click.option(
    "--method",
    default="mse",
    show_default=True,
    help="What the score measures: mse, psnr, laplacian ...; 'srprune list scorers' names all.",
)
@options.scale
@options.name("Of the score table. [default: METHOD_xSCALE or METHOD]")
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    help="Scoring model (made by pretrain), where there are several; or a run, a weights file, or "
    "spandrel:FILE. Several for uncertainty; the weak and then the strong one for reducible.",
)
@click.option(
    "--context",
    type=click.Choice(["patch", "image"]),
    default="patch",
    show_default=True,
    help="Restore each patch alone, or within its image; see docs/protocol.md.",
)
@click.option(
    "--include-rim",
    is_flag=True,
    help="Score the rim that zero padding spoils, too; see docs/protocol.md.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    default="fp32",
    show_default=True,
    help="Of the networks; see docs/protocol.md.",
)
@click.option(
    "--maps", is_flag=True, help="Write error maps, 16x16 cells a patch, beside the table."
)
@click.option(
    "--batch",
    default=4,
    show_default=True,
    type=click.IntRange(min=1),
    help="Patches at a time; changes no score by more than 1e-5 of its value.",
)
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    help="Write the table in so many parts, for processes that know nothing of each other.",
)
@click.option(
    "--shard", type=click.IntRange(min=0), help="Score this part alone, from 0. [default: all]"
)
@click.option("--restart", is_flag=True, help="Replace a table that was made otherwise.")
@options.device
@options.as_json
@options.workspace
def score(
    method: str,
    scale: int | None,
    name: str | None,
    scorers: tuple[str, ...],
    context: Literal["patch", "image"],
    include_rim: bool,
    precision: Literal["fp32", "bf16"],
    maps: bool,
    batch: int,
    shards: int | None,
    shard: int | None,
    restart: bool,
    device: str,
    as_json: bool,
    workspace: Workspace,
) -> None:
    """Give every patch one number; higher is harder.

    mse is the paper's: the error of SRCNN's reconstruction. l1, psnr, ssim, uncertainty and
    reducible ask restorers, too; the others need none, and no 'srprune pretrain'.

    \b
    Example:
      srprune score
      srprune score --method laplacian
      srprune score --method ssim --scorer swinir_x2.pth --context image
      srprune score --method reducible --scorer srcnn_x2 --scorer rcan_x2
    """
    from srprune.models.device import pick_device
    from srprune.scoring.clock import Clock
    from srprune.stages.score import Options
    from srprune.stages.score import score as stage
    from srprune.stages.score_shards import score_shards
    from srprune.training.distributed import joined

    if shard is not None and shards is None:
        raise click.UsageError("--shard needs --shards, the number of all.")
    if shards is not None and restart:
        raise click.UsageError("--restart goes without --shards; remove the folder of the table.")
    clock = Clock()
    options_ = Options(
        context=context,
        include_rim=include_rim,
        precision=precision,
        maps=maps,
    )
    given: dict[str, Any] = {
        "method": method,
        "scale": scale,
        "scorers": scorers,
        "options": options_,
        "name": name,
        "batch": batch,
        "device": device,
        "clock": clock,
    }
    with joined(pick_device(device)) as world, Bars(shown=world.first) as bars:
        given |= {"world": world, "progress": bars}
        if shards is None:
            name, table = stage(
                workspace,
                restart=restart,
                tell=lambda line: click.echo(f"note: {line}", err=True),
                **given,
            )
        else:
            done = score_shards(workspace, shards=shards, shard=shard, **given)
            if done.table is None:
                if world.first:
                    _say_missing(done, workspace, as_json)
                return
            name, table = done.name, done.table
    if world.first:
        facts = _facts(name, table, workspace, clock, maps)
        click.echo(json.dumps(facts, indent=1) if as_json else _lines(facts))


def _say_missing(done: Shards, workspace: Workspace, as_json: bool) -> None:
    """Where other processes still have something to do."""
    facts = {
        "scores": done.name,
        "path": str(workspace.scores(done.name)),
        "shards": done.count,
        "missing": done.missing,
    }
    click.echo(
        json.dumps(facts, indent=1)
        if as_json
        else f"{done.count - len(done.missing)} of {done.count} shards are there: {facts['path']}"
    )


def _facts(
    name: str, table: ScoreTable, workspace: Workspace, clock: Clock, maps: bool
) -> dict[str, Any]:
    """What ``score`` tells, as plain values; no times where nothing had to be scored."""
    import numpy as np

    low, middle, high = np.quantile(table.scores_N, (0, 0.5, 1)).tolist()
    facts = {
        "scores": name,
        "path": str(workspace.scores(name)),
        "num_patches": len(table),
        "lowest": low,
        "median": middle,
        "highest": high,
        "params": table.header.params,
        "fingerprint": table.fingerprint,
    }
    if maps:
        facts["error_maps"] = str(workspace.error_maps(name))
    if clock.patches:
        parts = dict(clock.seconds)
        parts["other"] = max(clock.total - sum(parts.values()), 0.0)
        facts["seconds"] = clock.total
        facts["patches_per_second"] = clock.patches / clock.total
        facts["seconds_of"] = parts
    return facts


def _lines(facts: dict[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"{facts['num_patches']:,} patches scored by {facts['params']['method']}: "
        f"lowest {facts['lowest']:.4g}, median {facts['median']:.4g}, "
        f"highest {facts['highest']:.4g}"
    ]
    if "seconds" in facts:
        spent = ", ".join(
            f"{part} {seconds / facts['seconds']:.0%}"
            for part, seconds in facts["seconds_of"].items()
        )
        where = f": {spent}" if len(facts["seconds_of"]) > 1 else ""  # 'other' alone tells nothing
        lines.append(
            f"{facts['seconds']:.1f} s, {facts['patches_per_second']:,.1f} patches/s{where}"
        )
    if "error_maps" in facts:
        lines.append(f"error maps: {facts['error_maps']}")
    return "\n".join([*lines, f"scores: {facts['path']}"])
