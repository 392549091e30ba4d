"""``distill synthesise``: images drawn from a generator, as a set to train on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.cli.signals import terminated
from srprune.core.progress import duration
from srprune.core.workspace import Workspace, the_one

if TYPE_CHECKING:
    from srprune.distill.provenance import DistilledSet, Sample

SHOWN = 5  # near-copies that are named


@click.command()
@click.argument("generator", required=False)
@click.option("--per-category", type=click.IntRange(min=1), help="Images of each category.")
@click.option("--ratio", type=float, help="In its place: images as a share of all patches.")
@click.option(
    "--guidance",
    type=float,
    default=4.0,
    show_default=True,
    help="Classifier-free: 1 guides not, more exaggerates what is typical of a category.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Of the sampler.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Images at a time.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the noise that images are made from.",
)
@options.name("Of the set. [default: GENERATOR_nIMAGES__seedSEED]")
@click.option("--reject-copies", is_flag=True, help="Draw near-copies of training patches anew.")
@click.option(
    "--vae",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the generator's pre-trained autoencoder, where it was moved.",
)
@click.option("--restart", is_flag=True, help="Throw away what an earlier call left.")
@options.as_json
@options.device
@options.workspace
def synthesise(
    generator: str | None,
    per_category: int | None,
    ratio: float | None,
    guidance: float,
    steps: int,
    batch: int,
    seed: int,
    name: str | None,
    reject_copies: bool,
    vae: Path | None,
    restart: bool,
    as_json: bool,
    device: str,
    workspace: Workspace,
) -> None:
    """Draw new images from a generator, as many of each category.

    GENERATOR is one that 'srprune distill finetune' trained; it may be left out where there is but
    one. The set stands in distilled/NAME: images, where each comes from, and a patch index, as a
    workspace of its own. A stopped call goes on when it is given again.

    \b
    Example:
      srprune distill synthesise --per-category 10
      srprune distill synthesise dit_small__seed0 --ratio 0.0068 --seed 1
    """
    if (per_category is None) == (ratio is None):
        raise click.UsageError("give either --per-category or --ratio")
    if ratio is not None and not 0 < ratio <= 1:  # NaN, too
        raise click.UsageError(f"--ratio is {ratio:g}; it must be above 0 and at most 1")
    if not 0 <= guidance < math.inf:
        raise click.UsageError(f"--guidance is {guidance:g}; it must be 0 or above")
    if generator is None:
        found = workspace.generators()
        make = "srprune distill finetune"
        generator = the_one(found, "generator", "srprune distill synthesise", make).name

    from srprune.distill.config import SynthesiseConfig
    from srprune.models.device import pick_device
    from srprune.stages.distill.synthesise import synthesise as stage

    config = SynthesiseConfig(
        ratio=ratio,
        per_category=per_category,
        guidance=guidance,
        sampling_steps=steps,
        batch=batch,
        seed=seed,
        reject_copies=reject_copies,
    )
    with Bars() as bars, terminated() as stopping:
        distilled = stage(
            workspace,
            generator,
            config,
            name=name,
            device=pick_device(device),
            vae=vae,
            restart=restart,
            stopping=stopping,
            progress=bars,
        )
    if as_json:
        click.echo(json.dumps(_facts(distilled), indent=1, allow_nan=False))
    else:
        _say(distilled)


def _facts(distilled: DistilledSet) -> dict[str, Any]:
    """What is told, as plain values."""
    params, info = distilled.header.params, distilled.header.info
    return {
        "path": str(distilled.folder),
        "num_images": len(distilled),
        "num_pixels": len(distilled) * params["size"] ** 2,
        "size": params["size"],
        "counts": params["counts"],
        "rejected": params["rejected"],
        "near_copies": [_copy(sample) for sample in distilled.near_copies],
        "highest_correlation": max(sample.highest_correlation for sample in distilled.samples),
        "highest_psnr_db": _finite(max(sample.psnr_db for sample in distilled.samples)),
        "seconds": info["seconds"],
        "parents": distilled.header.parents,
        "fingerprint": distilled.fingerprint,
    }


def _copy(sample: Sample) -> dict[str, Any]:
    return {
        "image": sample.image,
        "patch_id": sample.patch_id,
        "mirrored": sample.mirrored,
        "correlation": sample.correlation,
        "psnr_db": _finite(sample.psnr_db),
    }


def _finite(decibels: float) -> float | None:
    """JSON has no infinity, the PSNR of equal images."""
    return decibels if math.isfinite(decibels) else None


def _say(distilled: DistilledSet) -> None:
    """The same for people."""
    params, seconds = distilled.header.params, distilled.header.info["seconds"]
    counts, size = params["counts"], params["size"]
    each = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} or {max(counts)}"
    click.echo(
        f"{options.number_of(len(distilled), 'image')} of {size}x{size} px, {each} of each of "
        f"{len(counts)} categories, drawn in {duration(seconds)}"
    )
    if params["rejected"]:
        reasons = ", ".join(f"{count:,} {why}" for why, count in params["rejected"].items())
        click.echo(f"rejected and drawn anew: {reasons}")
    copies = distilled.near_copies
    samples = distilled.samples
    click.echo(
        f"near-copies of training patches: {len(copies):,}; correlation at most "
        f"{max(sample.highest_correlation for sample in samples):.3f}, PSNR of the patches that "
        f"correlate most at most {max(sample.psnr_db for sample in samples):.1f} dB"
    )
    for sample in copies[:SHOWN]:
        mirrored = ", mirrored" if sample.mirrored else ""
        click.echo(
            f"  {sample.image}: patch {sample.patch_id}{mirrored}, correlation "
            f"{sample.correlation:.3f}, PSNR {sample.psnr_db:.1f} dB"
        )
    if len(copies) > SHOWN:
        click.echo(f"  and {len(copies) - SHOWN:,} more: column near_copy of images.parquet")
    click.echo(f"set: {distilled.folder}")
