"""``distill select``: the windows that a diffusion model is trained on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.stages.coresets import Selection


@click.command()
@click.option(
    "--score",
    type=click.Choice(["round_trip", "sobel"]),
    default="round_trip",
    show_default=True,
    help="round_trip: PSNR of a bicubic x4 round trip, as the published code has it; sobel: the "
    "mean gradient, as the paper's words have it.",
)
@click.option(
    "--below",
    type=float,
    metavar="DB",
    help="Of round_trip: keep windows below so many dB. [default: 23, without --ratio]",
)
@click.option("--ratio", type=float, help="In place of --below: keep this share, the hardest.")
@options.name("Of the core-set that --below chooses. [default: round_trip_belowDB__round_trip_x4]")
@options.as_json
@options.workspace
def select(
    score: Literal["round_trip", "sobel"],
    below: float | None,
    ratio: float | None,
    name: str | None,
    as_json: bool,
    workspace: Workspace,
) -> None:
    """Choose windows of high gradient from the patches, as a core-set.

    The paper's windows are of 512 px every 256; here sides are multiples of 12, and windows are
    the patches of 'srprune extract', such as --size 480 --stride 240.

    \b
    Example:
      srprune distill select
      srprune distill select --below 26
      srprune distill select --score sobel --ratio 0.1
    """
    from srprune.distill.config import SelectConfig
    from srprune.stages.distill.select import select as stage

    _check(score, below, ratio, name)
    with Bars() as bars:
        selection = stage(
            workspace,
            SelectConfig(score=score, below=below, ratio=ratio),
            name=name,
            progress=bars,
        )
    facts = _facts(selection, workspace)
    click.echo(json.dumps(facts, indent=1) if as_json else _lines(facts))


def _check(score: str, below: float | None, ratio: float | None, name: str | None) -> None:
    """Refuse options that do not go together, in terms of the command line."""
    if ratio is not None and not 0 < ratio <= 1:
        raise click.UsageError(f"--ratio is {ratio:g}; it must be above 0 and at most 1.")
    if below is not None and not -1000 < below < 1000:  # NaN and infinity too
        raise click.UsageError(f"--below is {below:g}; it must be a number of dB, such as 23.")
    if ratio is not None and below is not None:
        raise click.UsageError("give either --below or --ratio, not both.")
    if score == "sobel" and ratio is None:
        raise click.UsageError("--score sobel needs --ratio, the share of windows to keep.")
    if name is not None and ratio is not None:
        raise click.UsageError("--name goes with --below; what --ratio keeps has the usual name.")


def _facts(selection: Selection, workspace: Workspace) -> dict[str, Any]:
    """What ``distill select`` tells, as plain values."""
    from srprune.distill.round_trip import TABLE, psnr_of

    params = selection.coreset.header.params
    facts = {
        "coreset": selection.name,
        "path": str(workspace.coreset(selection.name)),
        "scores": params["scores"],
        "num_patches": selection.num_patches,
        "num_kept": len(selection.coreset),
        "score_range": selection.score_range,
        "images_without": int((selection.image_shares == 0).sum()),
        "pixel_share": selection.pixel_share,
        "fingerprint": selection.coreset.fingerprint,
    }
    if params["scores"] == TABLE and selection.score_range:
        facts["psnr_range"] = psnr_of(selection.score_range)[::-1].tolist()
    return facts


def _lines(facts: dict[str, Any]) -> str:
    """The same for people."""
    kept, total = facts["num_kept"], facts["num_patches"]
    lines = [f"N {total:,}, kept {kept:,} ({kept / total:.1%})"]
    if "psnr_range" in facts:
        low, high = facts["psnr_range"]
        lines.append(f"PSNR of the round trip: {low:.2f} to {high:.2f} dB")
    else:
        low, high = facts["score_range"]
        lines.append(f"scores kept: {low:.4g} to {high:.4g}")
    lines.append(
        f"unique pixels covered: {facts['pixel_share']:.1%}; "
        f"{options.number_of(facts['images_without'], 'image')} without a window"
    )
    return "\n".join([*lines, f"core-set: {facts['path']}"])
