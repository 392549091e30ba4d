"""``select``: the core-set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from srprune.cli import options
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.stages.coresets import Selection


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
    from srprune.stages.coresets import select as stage

    _say(
        stage(workspace, rule=rule, ratio=ratio, offset=offset, seed=seed, scores=scores),
        workspace,
        as_json,
    )


def _facts(selection: Selection) -> dict[str, Any]:
    """What ``select`` tells, as plain values."""
    import numpy as np

    shares = selection.image_shares
    return {
        "coreset": selection.name,
        "num_patches": selection.num_patches,
        "num_skipped": selection.num_skipped,
        "num_kept": len(selection.coreset),
        "score_range": selection.score_range,
        "loss_share": selection.loss_share,
        "image_share": {
            "lowest": float(shares.min()),
            "median": float(np.median(shares)),
            "highest": float(shares.max()),
            "images_without": int((shares == 0).sum()),
        },
        "pixel_share": selection.pixel_share,
        "fingerprint": selection.coreset.fingerprint,
    }


def _say(selection: Selection, workspace: Workspace, as_json: bool) -> None:
    """After ``select``."""
    facts = _facts(selection)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    kept = facts["num_kept"]
    click.echo(
        f"N {facts['num_patches']:,}, skipped {facts['num_skipped']:,}, "
        f"kept {kept:,} ({kept / facts['num_patches']:.1%})"
    )
    if selection.score_range:
        low, high = selection.score_range
        click.echo(f"scores kept: {low:.4g} to {high:.4g}")
    if selection.loss_share is not None:
        click.echo(f"share of the sum of scores: {selection.loss_share:.1%}")
    share = facts["image_share"]
    click.echo(
        f"share of each image: lowest {share['lowest']:.0%}, median {share['median']:.0%}, "
        f"highest {share['highest']:.0%}; {share['images_without']} images lose all "
        "their patches"
    )
    click.echo(f"unique pixels covered: {selection.pixel_share:.1%}")
    click.echo(f"core-set: {workspace.coreset(selection.name)}")
