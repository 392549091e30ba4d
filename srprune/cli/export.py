"""``export``: a core-set in the form that another trainer reads. It loads no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.stages.export import Exported


def _scales(ctx: click.Context, param: click.Parameter, value: tuple[int, ...]) -> tuple[int, ...]:
    for scale in value:
        options.check_scale(scale)
    return value


@click.command()
@click.argument("coreset", required=False)
@click.option(
    "--to",
    default="folder",
    show_default=True,
    help="folder, basicsr, basicsr-lmdb, kair, neosr, traiNNer-redux, webdataset, hf or list.",
)
@click.option(
    "--scale",
    "scales",
    type=int,
    multiple=True,
    default=(2,),
    show_default=True,
    callback=_scales,
    help="Of the LR patches: 2, 3 or 4; may be given several times.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write (of list: file). [default: one in the workspace's exports]",
)
@click.option(
    "--link",
    type=click.Choice(["hard", "copy"]),
    default="hard",
    show_default=True,
    help="What to do with PNG files of patches that are in the workspace already.",
)
@options.workers
@options.as_json
@options.workspace
def export(
    coreset: str | None,
    to: str,
    scales: tuple[int, ...],
    out: Path | None,
    link: str,
    workers: int,
    as_json: bool,
    workspace: Workspace,
) -> None:
    """Write a core-set for another trainer; see docs/exports.md.

    CORESET is a name in the workspace or a file; where there is one core-set only, it is that.
    The default, folder, suits BasicSR, KAIR, traiNNer-redux and neosr alike; list holds no
    pixels, and 'srprune import' rebuilds the core-set from it elsewhere.

    \b
    Example:
      srprune export --scale 2 --scale 4
      srprune export des_r0.50_o0.05__mse_x2 --to webdataset --out shards
    """
    from srprune.stages.export import export as stage

    with Bars() as bars:
        done = stage(
            workspace,
            coreset,
            to=to,
            scales=scales,
            out=out,
            link=link,
            workers=workers,
            progress=bars,
        )
    if as_json:
        facts = {"export": str(done.place), "again": done.again, **done.stamp}
        click.echo(json.dumps(facts, indent=1))
    else:
        _say(done)


def _say(done: Exported) -> None:
    """After ``export``."""
    stamp = done.stamp
    if done.again:
        click.echo("nothing to do: this export is there already")
    if done.moved:
        click.echo(f"written again for this place: {', '.join(done.moved)}")
    if "what" not in stamp:
        click.echo(
            f"{stamp['num_patches']:,} patches of {stamp['num_images']:,} images listed, without "
            f"pixels: {_bytes(stamp['num_bytes'])}"
        )
        click.echo(f"list: {done.place}")
        return
    scales = ", ".join(f"x{scale}" for scale in stamp["what"]["scales"])
    linked = (
        f", {_bytes(stamp['linked_bytes'])} of them hard links" if stamp["linked_bytes"] else ""
    )
    files = options.number_of(stamp["num_files"], "file")
    click.echo(
        f"{stamp['num_patches']:,} patches, HR and {scales}, in {files} of "
        f"{_bytes(stamp['num_bytes'])}{linked}"
    )
    saved = stamp["saved"]
    how = (
        "counted"
        if saved["num_measured"] == saved["num_patches"]
        else f"estimated from {saved['num_measured']} of them"
    )
    share = saved["num_bytes"] / (saved["num_bytes"] + stamp["num_bytes"])
    click.echo(
        f"saved by pruning: {_bytes(saved['num_bytes'])} ({share:.0%} of the full set), the PNG "
        f"files of the {saved['num_patches']:,} dropped patches ({how})"
    )
    if stamp["weights_left_out"]:
        click.echo(
            f"note: {stamp['what']['format']} has no place for the sampling weights of this "
            "core-set; webdataset, hf and list have"
        )
    click.echo(f"export: {done.place}")


def _bytes(number: int) -> str:
    """Bytes for people, with decimal prefixes."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
