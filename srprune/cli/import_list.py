"""``import``: a core-set that came without pixels. It loads no torch."""

from __future__ import annotations

import json
from pathlib import Path

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.core.workspace import Workspace

SHOWN = 5  # renamed images that are told


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@options.workers
@options.as_json
@options.workspace
def import_list(
    file: Path, images: Path, workers: int, as_json: bool, workspace: Workspace
) -> None:
    """Rebuild a core-set from a list and the images that it was chosen from.

    FILE was written by 'srprune export --to list'. The images are found in the folder IMAGES by
    the hash of their pixels, whatever they are called; patch index and core-set come out with
    the fingerprints that they had.

    \b
    Example:
      srprune import des_r0.50_o0.05__mse_x2.json DIV2K_train_HR
    """
    from srprune.stages.import_list import import_list as stage

    with Bars() as bars:
        done = stage(file, images, workspace, workers=workers, progress=bars)
    if as_json:
        facts = {
            "coreset": done.name,
            "fingerprint": done.coreset.fingerprint,
            "patches": done.index.fingerprint,
            "num_images": len(done.index.images),
            "num_patches": len(done.index),
            "num_kept": len(done.coreset),
            "renamed": done.renamed,
        }
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(
        f"{len(done.coreset):,} of {len(done.index):,} patches from {len(done.index.images):,} "
        f"images, as listed: patches {done.index.fingerprint}, core-set "
        f"{done.coreset.fingerprint}"
    )
    for name, path in list(done.renamed.items())[:SHOWN]:
        click.echo(f"{name} is called {path} here")
    if len(done.renamed) > SHOWN:
        click.echo(f"and {len(done.renamed) - SHOWN:,} more with other names")
    click.echo(f"core-set: {workspace.coreset(done.name)}")
