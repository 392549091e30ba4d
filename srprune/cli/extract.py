"""``extract``: HR images become patches."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.inventory import take_inventory
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.core.patches import PatchIndex
    from srprune.core.progress import Progress
    from srprune.images.subimages import SubImages

SUB_IMAGES, META_INFO = "folder-of-subimages", "basicsr-meta"


@click.command()
@click.argument("images")
@click.option("--size", type=int, help="Side of a patch, HR px. [default: 480]")
@click.option("--stride", type=int, help="Distance of patches, HR px. [default: 240]")
@click.option(
    "--from",
    "cut",
    type=click.Choice([SUB_IMAGES, META_INFO]),
    help="Take files that are cut already, each as one patch: all of the folder, or those of "
    "--meta-info.",
)
@click.option(
    "--meta-info",
    type=click.Path(path_type=Path),
    help=f"BasicSR's list of files, for --from {META_INFO}.",
)
@click.option("--skip-bad", is_flag=True, help="Go on without images that cannot be used.")
@click.option("--write-patches", is_flag=True, help="Also write every patch as a PNG file.")
@click.option(
    "--compress",
    is_flag=True,
    help="Keep the pixels compressed, without loss: about half the bytes, slower to read.",
)
@options.workers
@options.as_json
@options.workspace
def extract(
    images: str,
    size: int | None,
    stride: int | None,
    cut: str | None,
    meta_info: Path | None,
    skip_bad: bool,
    write_patches: bool,
    compress: bool,
    workers: int,
    as_json: bool,
    workspace: Workspace,
) -> None:
    """Cut a folder of HR images into patches (sub-images).

    IMAGES is searched with its subfolders; 'photos' takes the photographs inside scikit-image.
    Each image is decoded once, into a memory-mapped store; patches are windows over it. A workspace
    holds one patch index: give other images, or another grid, another --workspace.

    \b
    Example:
      srprune extract DIV2K_train_HR
      srprune extract photos --size 96 --stride 48
      srprune extract DIV2K_train_HR_sub --from folder-of-subimages
    """
    from srprune.core.config import ExtractConfig
    from srprune.images.benchmarks import check_typed
    from srprune.stages.extract import ImageSource
    from srprune.stages.extract import extract as stage

    if cut is None and meta_info is not None:
        raise click.UsageError(f"--meta-info goes with --from {META_INFO}.")
    with Bars() as bars:
        if cut is None:
            check_typed(images)
            source = ImageSource.find(images)
        else:
            if size is not None or stride is not None:
                raise click.UsageError("with --from, --size and --stride are those of the files.")
            found = _sub_images(cut, Path(images), meta_info, workers, bars)
            source = ImageSource(Path(images), found.names)
            size = stride = found.size
        defaults = ExtractConfig()
        index = stage(
            source,
            ExtractConfig.model_construct(  # the stage checks
                size=defaults.size if size is None else size,
                stride=defaults.stride if stride is None else stride,
            ),
            workspace,
            skip_bad=skip_bad,
            write_patches=write_patches,
            compress=compress,
            workers=workers,
            progress=bars,
        )
    if as_json:
        click.echo(json.dumps(_facts(index, workspace), indent=1))
    else:
        _say(index, workspace)


def _sub_images(
    cut: str, folder: Path, meta_info: Path | None, workers: int, progress: Progress
) -> SubImages:
    """The files that ``--from`` asks for."""
    from srprune.images.subimages import sub_images_of_folder, sub_images_of_meta_info

    if cut == SUB_IMAGES:
        if meta_info is not None:
            raise click.UsageError(f"--meta-info goes with --from {META_INFO}.")
        return sub_images_of_folder(folder, workers=workers, progress=progress)
    if meta_info is None:
        raise click.UsageError(f"--from {META_INFO} needs --meta-info FILE.")
    return sub_images_of_meta_info(folder, meta_info, workers=workers, progress=progress)


def _facts(index: PatchIndex, workspace: Workspace) -> dict[str, Any]:
    """What ``extract`` tells, as plain values."""
    assert index.header is not None
    return {
        "path": str(workspace.patches),
        "num_patches": len(index),
        "size": index.size,
        "stride": index.stride,
        "num_images": len(index.images),
        "num_pixels": sum(image.height * image.width for image in index.images),
        "skipped": index.header.info["skipped"],
        "same_content": index.header.info["same_content"],
        "fingerprint": index.fingerprint,
    }


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
        "patches per image: "
        + ", ".join(f"{n} x {options.number_of(times, 'image')}" for n, times in shown)
        + more
    )
    for name, why in index.header.info["skipped"].items():
        click.echo(f"skipped: {name} {why}")
    for names in index.header.info["same_content"]:
        click.echo(f"note: the same pixels are in {', '.join(names)}")
    strangers = [entry for entry in take_inventory(workspace) if "patches" in entry.missing]
    if strangers:
        click.echo(
            f"note: {options.number_of(len(strangers), 'artifact')} in {workspace.root} "
            f"{'was' if len(strangers) == 1 else 'were'} made from other patches; "
            "'srprune inspect' names them"
        )
    click.echo(f"index: {workspace.patches}")
