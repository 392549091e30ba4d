"""``select``: the core-set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.stages.coresets import Selection


@click.command()
@click.option("--ratio", type=float, help="Share of all patches to keep.")
@click.option(
    "--budget",
    help="In place of --ratio: a number of patches, or bytes of HR pixels such as 2GB, each pixel "
    "once.",
)
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
    help="des (hardest first), asc (easiest first), random, ccs, stratified, hes, clustered or "
    "diverse; see docs/rules.md.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the rule, such as --set strata=20.",
)
@click.option(
    "--scores", help="Score table, where there are several; for rules that look at scores."
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Of rules that draw; see docs/rules.md.",
)
@options.as_json
@options.workspace
def select(
    ratio: float | None,
    budget: str | None,
    offset: float,
    rule: str,
    settings: tuple[str, ...],
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
      srprune select --budget 8000 --rule ccs --offset 0.1 --set strata=20
    """
    from srprune.stages.coresets import select as stage

    if ratio is None and budget is None:
        raise click.UsageError("Missing option '--ratio' or '--budget'.")
    if ratio is not None and budget is not None:
        raise click.UsageError("give either '--ratio' or '--budget', not both.")
    with Bars() as bars:
        selection = stage(
            workspace,
            rule=rule,
            ratio=ratio,
            budget=budget,
            offset=offset,
            seed=seed,
            scores=scores,
            settings=dict(_setting(text) for text in settings),
            progress=bars,
        )
    _say(selection, workspace, as_json)
    if scores and not as_json and selection.coreset.header.params["scores"] is None:
        click.echo(f"note: the rule {rule} looks at no scores; {scores} was not read")


def _setting(text: str) -> tuple[str, Any]:
    """``strata=20`` as name and value; a value that is no JSON is text."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.UsageError(f"'{text}' is not a setting; it must be of the form KEY=VALUE.")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _facts(selection: Selection) -> dict[str, Any]:
    """What ``select`` tells, as plain values."""
    import numpy as np

    shares, weights = selection.image_shares, selection.coreset.weights
    return {
        "coreset": selection.name,
        "num_patches": selection.num_patches,
        "num_skipped": selection.num_skipped,
        "num_kept": len(selection.coreset),
        "weights": None if weights is None else (float(weights.min()), float(weights.max())),
        "num_groups": selection.num_groups,
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
    without = share["images_without"]
    click.echo(
        f"share of each image: lowest {share['lowest']:.0%}, median {share['median']:.0%}, "
        f"highest {share['highest']:.0%}; {options.number_of(without, 'image')} "
        f"{'loses all its' if without == 1 else 'lose all their'} patches"
    )
    click.echo(f"unique pixels covered: {selection.pixel_share:.1%}")
    if selection.num_groups:
        click.echo(f"groups: {selection.num_groups} in {workspace.groups(selection.name)}")
    if facts["weights"]:
        low, high = facts["weights"]
        click.echo(f"weights in training: {low:.3g} to {high:.3g}")
    click.echo(f"core-set: {workspace.coreset(selection.name)}")
