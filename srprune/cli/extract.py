"""``extract``: HR images become patches."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.core.patches import PatchIndex


@click.command()
@click.argument("images")
@click.option("--size", default=480, show_default=True, help="Side of a patch, HR px.")
@click.option("--stride", default=240, show_default=True, help="Distance of patches, HR px.")
@click.option("--skip-bad", is_flag=True, help="Go on without images that cannot be used.")
@click.option("--write-patches", is_flag=True, help="Also write every patch as a PNG file.")
@options.workers
@options.workspace
def extract(
    images: str,
    size: int,
    stride: int,
    skip_bad: bool,
    write_patches: bool,
    workers: int,
    workspace: Workspace,
) -> None:
    """Cut a folder of HR images into patches (sub-images).

    IMAGES is searched with its subfolders; 'photos' takes the photographs inside scikit-image.
    Each image is decoded once, into a memory-mapped store; patches are windows over it.

    \b
    Example:
      srprune extract DIV2K_train_HR
      srprune extract photos --size 96 --stride 48
    """
    from srprune.core.config import ExtractConfig
    from srprune.stages.extract import ImageSource
    from srprune.stages.extract import extract as stage

    config = ExtractConfig.model_construct(size=size, stride=stride)  # the stage checks
    with Bars() as bars:
        index = stage(
            ImageSource.find(images),
            config,
            workspace,
            skip_bad=skip_bad,
            write_patches=write_patches,
            workers=workers,
            progress=bars,
        )
    _say(index, workspace)


def _say(index: PatchIndex, workspace: Workspace) -> None:
    """After ``extract``."""
    assert index.header is not None
    pixels = sum(image.height * image.width for image in index.images)
    click.echo(
        f"{len(index):,} patches of {index.size} px (stride {index.stride}) from "
        f"{len(index.images):,} images, {pixels / 1e6:.1f} Mpx"
    )
    counts = Counter(index.patches_per_image.tolist())
    shown = counts.most_common(8)
    more = f", {len(counts) - len(shown)} other counts" if len(counts) > len(shown) else ""
    click.echo(
        "patches per image: " + ", ".join(f"{n} x {times:,} images" for n, times in shown) + more
    )
    for name, why in index.header.info["skipped"].items():
        click.echo(f"skipped: {name} {why}")
    for names in index.header.info["same_content"]:
        click.echo(f"note: the same pixels are in {', '.join(names)}")
    click.echo(f"index: {workspace.patches}")
