"""``distill categorise``: the windows in groups that look alike."""

from __future__ import annotations

import json

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.workspace import Workspace


@click.command()
@click.argument("coreset", required=False)
@click.option(
    "--features",
    default="clip",
    show_default=True,
    help="clip (the paper's), network or descriptor; the last two need no download.",
)
@click.option(
    "--weights",
    help="Of clip: a file or folder of ViT-B/32. [default: the Hugging Face hub's cache] Of "
    "network: a scoring model, run or weights file. [default: the only scoring model]",
)
@click.option(
    "--categories", default=7, show_default=True, type=click.IntRange(min=1), help="How many."
)
@click.option(
    "--seed", default=42, show_default=True, type=click.IntRange(min=0), help="Of k-means."
)
@options.name("Of the groups. [default: FEATURES_kCATEGORIES__CORESET__seedSEED]")
@options.device
@options.as_json
@options.workspace
def categorise(
    coreset: str | None,
    features: str,
    weights: str | None,
    categories: int,
    seed: int,
    name: str | None,
    device: str,
    as_json: bool,
    workspace: Workspace,
) -> None:
    """Part the windows into categories by k-means over features.

    CORESET is the name of a core-set, its file, or full for all patches; without it, the only one
    that 'srprune distill select' made. Features are those of all patches, made once.

    \b
    Example:
      srprune distill categorise
      srprune distill categorise --features descriptor --categories 5
      srprune distill categorise full --features network --weights srcnn_x2
    """
    from srprune.distill.config import CategoriseConfig
    from srprune.stages.distill.categorise import categorise as stage

    with Bars() as bars:
        done = stage(
            workspace,
            CategoriseConfig(features=features, weights=weights, categories=categories, seed=seed),
            coreset=coreset,
            name=name,
            device=device,
            progress=bars,
        )
    sizes = done.groups.sizes.tolist()
    if as_json:
        facts = {
            "groups": done.name,
            "path": str(workspace.groups(done.name)),
            "coreset": done.coreset,
            "features": done.features,
            "sizes": sizes,
            "sheet": str(done.sheet),
            "fingerprint": done.groups.fingerprint,
        }
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(
        f"{sum(sizes):,} patches of {done.coreset} in {len(sizes)} categories by {done.features}: "
        f"{', '.join(f'{size:,}' for size in sizes)}"
    )
    click.echo(f"sheet: {done.sheet}")
    click.echo(f"groups: {workspace.groups(done.name)}")
