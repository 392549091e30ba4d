"""``report``: the explorer and the figures. It loads no torch."""

from __future__ import annotations

import json
from pathlib import Path

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.workspace import Workspace


@click.command()
@click.option("--scores", help="Score table that is shown first. [default: the first by name]")
@click.option("--coreset", "coresets", multiple=True, help="Core-set to show; may be repeated.")
@click.option(
    "--groups",
    multiple=True,
    help="Groups, such as clusters or classes of difficulty, to draw a sheet of; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The HTML file. [default: reports/explorer_SCORES.html in the workspace]",
)
@options.workers
@options.as_json
@options.workspace
def report(
    scores: str | None,
    coresets: tuple[str, ...],
    groups: tuple[str, ...],
    out: Path | None,
    workers: int,
    as_json: bool,
    workspace: Workspace,
) -> None:
    """Write one HTML file in which to see the patches and choose a core-set.

    It needs no network and no other file: drag the two cuts, look at the patches that come in and
    go out, copy the select command. The figures are written too, as PNG and PDF. Without any score
    table, --groups alone draws its sheets and no page.

    \b
    Example:
      srprune report
      srprune report --scores mse_x2 --coreset des_r0.50_o0.05__mse_x2
    """
    from srprune.stages.explore import explore

    with Bars() as bars:
        done = explore(
            workspace,
            scores=scores,
            coresets=coresets,
            groups=groups,
            out=out,
            workers=workers,
            progress=bars,
        )
    size = done.page.stat().st_size if done.page else 0
    if as_json:
        facts = {
            "page": str(done.page) if done.page else None,
            "bytes": size,
            "scores": done.scores,
            "thumb_side": done.thumb_side,
            "figures": [str(path) for path in done.figures],
            "missing": done.missing,
        }
        click.echo(json.dumps(facts, indent=1))
        return
    for note in done.missing:
        click.echo(f"left out: {note}", err=True)
    for path in done.figures:
        click.echo(f"figure: {path}")
    if done.page:
        click.echo(f"page: {done.page} ({size / 1e6:.1f} MB, thumbnails of {done.thumb_side} px)")
