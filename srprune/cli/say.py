"""What the commands print on stdout: the result of each stage, in a few lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from srprune.core.patches import PatchIndex
from srprune.core.results import EvalTable
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.images.benchmarks import title_of

if TYPE_CHECKING:
    from torch import device as Device

    from srprune.stages.coresets import Selection
    from srprune.stages.evaluate import TilingCheck
    from srprune.stages.fit import Job
    from srprune.training.distributed import World


def extracted(index: PatchIndex, workspace: Workspace) -> None:
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


def planned(job: Job, device: Device, world: World) -> None:
    """Before training starts."""
    import torch

    from srprune.models.build import parameter_count
    from srprune.stages.fit import initial

    config = job.config
    network, _, start = initial(job, torch.device("cpu"))
    click.echo(
        f"{config.model} x{config.scale}, {parameter_count(network):,} parameters, "
        f"seed {config.seed}, on {device}"
        + (f" and {world.size - 1} more" if world.size > 1 else "")
    )
    if start:
        click.echo(f"starts from {start}")
    place = {"device": f"on {device}", "host": "in main memory", "disk": "in the memory map"}
    click.echo(
        f"core-set: {job.train_set}, {job.num_bytes / 1e6:,.0f} MB of pixels, held "
        f"{place[job.residency(device, world)]}"
    )
    click.echo(str(job.plan))


def leaking(job: Job, images: Sequence[str]) -> None:
    """Before training starts, where the validation benchmark holds training images."""
    if images:
        names = ", ".join(images[:5]) + (", ..." if len(images) > 5 else "")
        click.echo(
            f"warning: {len(images)} images of the benchmark {job.config.validation.benchmark} are "
            f"also in the core-set ({names}); its figures say nothing about other images.",
            err=True,
        )


def trained(job: Job) -> None:
    """After training."""
    log = job.folder / "validation.csv"
    if log.exists():
        columns, *rows = log.read_text().splitlines()
        if rows:
            figures = dict(zip(columns.split(","), rows[-1].split(","), strict=True))
            click.echo("validation: " + ", ".join(f"{k} {v}" for k, v in figures.items()))
            below = float(figures.get("psnr_bicubic", "-inf")) - float(figures.get("psnr", "inf"))
            if below > 0:
                click.echo(
                    f"note: the scoring model is still {below:.1f} dB below bicubic; its ranking "
                    "may be coarse. More steps: --restart --set budget.steps=N"
                )
    click.echo(f"weights: {job.weights}")


def scored(name: str, table: ScoreTable, workspace: Workspace) -> None:
    """After ``score``."""
    low, middle, high = np.quantile(table.scores_N, (0, 0.5, 1))
    click.echo(
        f"{len(table):,} patches scored by {table.method}: "
        f"lowest {low:.4g}, median {middle:.4g}, highest {high:.4g}"
    )
    click.echo(f"scores: {workspace.scores(name)}")


def selection_facts(selection: Selection) -> dict[str, Any]:
    """What ``select`` tells, as plain values."""
    shares = selection.image_shares
    return {
        "coreset": selection.name,
        "num_patches": selection.num_patches,
        "num_skipped": selection.num_skipped,
        "num_kept": len(selection.coreset),
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


def selected(selection: Selection, workspace: Workspace, as_json: bool) -> None:
    """After ``select``."""
    facts = selection_facts(selection)
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
    click.echo(
        f"share of each image: lowest {share['lowest']:.0%}, median {share['median']:.0%}, "
        f"highest {share['highest']:.0%}; {share['images_without']} images lose all "
        "their patches"
    )
    click.echo(f"unique pixels covered: {selection.pixel_share:.1%}")
    click.echo(f"core-set: {workspace.coreset(selection.name)}")


def measured(tables: Sequence[EvalTable], per_image: bool, as_json: bool) -> None:
    """After ``eval``."""
    from srprune.reporting.tables import evaluation_table, json_text

    if as_json:
        texts = [json_text(table.rows, table.header) for table in tables]
        click.echo(json.dumps([json.loads(text) for text in texts], indent=1))
        return
    for table in tables:
        click.echo(evaluation_table(table.rows, per_image=per_image))
        if how := table.header.params.get("inference"):
            click.echo(f"restored with {_options(how)}")
        click.echo()


def checked(checks: Sequence[TilingCheck], as_json: bool) -> None:
    """After ``eval --check-tiling``."""
    if as_json:
        facts = [{**asdict(check), "covered": check.covered} for check in checks]
        click.echo(json.dumps(facts, indent=1))
        return
    for check in checks:
        click.echo(
            f"model {check.model}   scale x{check.scale}   {_options(asdict(check.inference))}"
        )
        if check.radius is None:
            click.echo("the network may see the whole image: no overlap is sure to cover that")
        else:
            verb = "covers" if check.covered else "does not cover"
            click.echo(f"the overlap {verb} the {check.radius} LR px that the network sees")
        width = max(len(gap.image) for gap in check.gaps)
        for gap in check.gaps:
            title = title_of(gap.benchmark)
            click.echo(f"{title}  {gap.image:<{width}}  largest difference {gap.difference:.1e}")
        click.echo()


def _options(how: dict[str, Any]) -> str:
    """The fields of an Inference that are not the defaults, in words."""
    words = [f"tiles of {how['tile']} LR px, overlap {how['overlap']}"] if how["tile"] else []
    words += ["self-ensemble"] if how["self_ensemble"] else []
    words += [how["precision"]] if how["precision"] != "fp32" else []
    return "; ".join(words)
