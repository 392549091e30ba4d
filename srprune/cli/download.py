"""``download``: public data sets, checked and ready for ``extract`` and ``eval``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srprune.cli import options
from srprune.cli.progress import Bars

if TYPE_CHECKING:
    from srprune.stages.download import Job


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("."),
    show_default=True,
    help="Folder that gets a folder for each part.",
)
@click.option(
    "--part",
    "parts",
    multiple=True,
    help="train_hr, train_lr_x2, valid_hr, ... of div2k, hr of the others; again for more. "
    "[default: what srprune reads]",
)
@click.option(
    "--mirror",
    metavar="URL",
    help="Address of a folder that holds the archives, in place of the source's.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done; ask no server.")
@options.as_json
def download(
    names: tuple[str, ...],
    out: Path,
    parts: tuple[str, ...],
    mirror: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Download data sets: div2k, set5, set14, bsd100, urban100; manga109 tells where to ask.

    Each archive is checked by size and SHA-256 and unpacked into FOLDER/DIV2K_train_HR,
    FOLDER/Set5/HR and so on. An interrupted download goes on where it stopped; a finished one is
    checked and not repeated. The four benchmarks are in one archive: name them in one command.

    \b
    Example:
      srprune download div2k
      srprune download set5 set14 bsd100 urban100 --out benchmarks
      srprune download div2k --part train_lr_x2 --dry-run
    """
    from srprune.stages import download as stage

    jobs = stage.plan(names, out, parts=parts, mirror=mirror)
    if dry_run:
        _say_plan(jobs, out, as_json)
        return
    with Bars() as bars:
        receipts = stage.download(jobs, out, progress=bars)
    if as_json:
        rows = [{"folder": str(j.folder)} | r.facts() for j, r in zip(jobs, receipts, strict=True)]
        click.echo(json.dumps(rows, indent=1))
        return
    for job, receipt in zip(jobs, receipts, strict=True):
        state = "was there already, unchanged" if job.there else f"from {receipt.url}"
        click.echo(f"{job.folder}: {receipt.num_images} images, {state}")
        known = "as published" if receipt.published else "none is published; as seen"
        click.echo(f"  SHA-256 {receipt.sha256} ({known})")
        click.echo(f"  terms: {receipt.terms}")


def _say_plan(jobs: list[Job], out: Path, as_json: bool) -> None:
    """Of ``--dry-run``."""
    from srprune.images.downloads.disk import MB, free_space

    free = free_space(out)
    rows: list[dict[str, Any]] = [
        {
            "dataset": job.dataset,
            "part": job.part,
            "url": job.url,
            "size": job.spec.archive.size,
            "sha256": job.spec.archive.sha256,
            "folder": str(job.folder),
            "num_images": job.spec.num_images,
            "there": job.there,
            "free": free,
            "terms": job.terms,
        }
        for job in jobs
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        state = ", there already" if row["there"] else ""
        click.echo(f"{row['folder']}: {row['num_images']} images{state}")
        click.echo(f"  from {row['url']}, {row['size'] / MB:,.1f} MB")
        click.echo(f"  SHA-256 {row['sha256'] or 'not published: size and content are checked'}")
        click.echo(f"  terms: {row['terms']}")
    todo = {row["url"]: row["size"] for row in rows if not row["there"]}
    fetched = sum(todo.values()) / MB
    click.echo(f"to fetch: {fetched:,.1f} MB, and about as much for the images")
    click.echo(f"free in {out}: {free / MB:,.1f} MB")
