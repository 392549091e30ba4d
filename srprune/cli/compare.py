"""What ``inspect A B`` prints of two core-sets, or of two score tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from srprune.core.artifact import Header
from srprune.core.coreset import CoreSet
from srprune.core.errors import ArtifactMismatch, InputError, UserError
from srprune.core.inventory import find_artifact, read_any_header
from srprune.core.patches import PatchIndex
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.reporting.overlap import (
    image_shares,
    kept_by_tenth,
    largest_differences,
    overlap,
    spearman,
    top_overlaps,
)
from srprune.reporting.tables import align

IMAGES = 8  # with the largest differences
BAR = 20  # characters of a share of 1

Facts = dict[str, Any]


def compare(names: Sequence[str], workspace: Workspace, as_json: bool) -> None:
    """Print how two artifacts agree.

    Args:
        names: of two core-sets or two score tables, or their files.
        workspace: where names are looked up; its patch index and score tables say more.
        as_json: print JSON.

    Raises:
        MissingArtifact: there is no such artifact.
        InputError: not two core-sets, and not two score tables.
        ArtifactMismatch: they are of different patch indexes.
    """
    files = [find_artifact(name, workspace) for name in names]
    headers = [_header(file) for file in files]
    kinds = {header.kind for header in headers}
    if kinds not in ({"CoreSet"}, {"ScoreTable"}):
        held = " and ".join(f"{f} holds {h.kind}" for f, h in zip(files, headers, strict=True))
        raise InputError(
            f"{held}; two core-sets or two score tables are needed to compare. "
            "Run 'srprune inspect' to see what there is."
        )
    indexes = [header.parents.get("patches") for header in headers]
    if indexes[0] != indexes[1]:
        raise ArtifactMismatch(
            f"{files[0]} was made from patch index {indexes[0]}, {files[1]} from {indexes[1]}: "
            "their patch ids mean different patches. Make both from one index."
        )
    if kinds == {"CoreSet"}:
        facts = _coresets(files, workspace, str(indexes[0]))
        say = _say_coresets
    else:
        facts, say = _tables(files), _say_tables
    if as_json:
        click.echo(json.dumps(facts, indent=1))
    else:
        say(facts)


def _header(file: Path) -> Header:
    if file.is_dir() and file.suffix != ".parquet":
        raise InputError(
            f"{file} is a folder; two core-sets or two score tables are needed to compare."
        )
    return read_any_header(file)


def _coresets(files: Sequence[Path], workspace: Workspace, patches: str) -> Facts:
    """Two core-sets of one index."""
    a, b = (CoreSet.read(file) for file in files)
    both = overlap(a.patch_ids, b.patch_ids, int(a.header.params["num_patches"]))
    facts: Facts = {
        "kind": "CoreSet",
        "a": _named(files[0], a.header),
        "b": _named(files[1], b.header),
        "patches": patches,
        **asdict(both),
        "only_a": both.only_a,
        "only_b": both.only_b,
        "jaccard": both.jaccard,
        "chance_both": both.chance_both,
        "chance_jaccard": both.chance_jaccard,
        "images": None,
        "scores": {},
        "left_out": {},
    }
    try:
        index = PatchIndex.read(workspace.patches)
        if index.fingerprint != patches:
            raise ArtifactMismatch(f"{workspace.patches} is another index ({index.fingerprint}).")
        facts["images"] = _images(a, b, index)
    except UserError as error:
        facts["left_out"]["images"] = str(error)
    for path in workspace.score_tables():
        try:
            table = ScoreTable.read(path, patches=patches)
        except UserError as error:
            facts["left_out"][path.stem] = str(error)
            continue
        ranges, shares = kept_by_tenth([a.patch_ids, b.patch_ids], table.scores_N)
        facts["scores"][path.stem] = [
            {"from": low, "to": high, "a": of_a, "b": of_b}
            for (low, high), of_a, of_b in zip(
                ranges.tolist(), shares[0].tolist(), shares[1].tolist(), strict=True
            )
        ]
    return facts


def _images(a: CoreSet, b: CoreSet, index: PatchIndex) -> Facts:
    """What each keeps of each image."""
    number = len(index.images)
    of_a, of_b = (image_shares(each.patch_ids, index.image_N, number) for each in (a, b))
    rows = [
        {"image": index.images[i].path, "a": float(of_a[i]), "b": float(of_b[i])}
        for i in largest_differences(of_a, of_b, IMAGES)
    ]
    return {
        "number": number,
        "without_a": int((of_a == 0).sum()),
        "without_b": int((of_b == 0).sum()),
        "mean_difference": float(np.abs(of_a - of_b).mean()),
        "largest_differences": rows,
    }


def _tables(files: Sequence[Path]) -> Facts:
    """Two score tables of one index."""
    a, b = (ScoreTable.read(file) for file in files)
    return {
        "kind": "ScoreTable",
        "a": _named(files[0], a.header),
        "b": _named(files[1], b.header),
        "patches": a.header.parents.get("patches"),
        "num_patches": len(a),
        "spearman": spearman(a.scores_N, b.scores_N),
        "top": [asdict(top) for top in top_overlaps(a.scores_N, b.scores_N)],
    }


def _named(file: Path, header: Header) -> Facts:
    return {"name": file.stem, "path": str(file), "fingerprint": header.fingerprint}


def _say_coresets(facts: Facts) -> None:
    total = facts["num_patches"]
    for key in ("a", "b"):
        kept = facts[f"size_{key}"]
        click.echo(f"{key.upper()}: {facts[key]['name']}, {kept:,} of {total:,} patches")
    click.echo(
        f"in both {facts['both']:,} ({facts['both'] / facts['size_a']:.1%} of A, "
        f"{facts['both'] / facts['size_b']:.1%} of B; by chance {facts['chance_both']:,.0f}), "
        f"in A alone {facts['only_a']:,}, in B alone {facts['only_b']:,}"
    )
    click.echo(f"Jaccard {facts['jaccard']:.4f}, by chance {facts['chance_jaccard']:.4f}")
    if images := facts["images"]:
        click.echo(
            f"\nshare kept of each of {images['number']:,} images: {images['mean_difference']:.1%} "
            f"apart in the mean; images without a patch: A {images['without_a']:,}, "
            f"B {images['without_b']:,}"
        )
        rows = images["largest_differences"]
        if rows:
            lines = [["furthest apart", "A", "B"]]
            lines += [[row["image"], f"{row['a']:.0%}", f"{row['b']:.0%}"] for row in rows]
            click.echo("\n".join(f"  {line}" for line in align(lines, "<>>")))
    for name, bins in facts["scores"].items():
        click.echo(f"\nshare kept of each tenth of the scores {name}, the hardest first")
        lines = [["lowest", "highest", "", "A", "", "B"]]
        lines += [
            [f"{each['from']:.4g}", f"{each['to']:.4g}", *_bar(each["a"]), *_bar(each["b"])]
            for each in bins
        ]
        click.echo("\n".join(f"  {line}" for line in align(lines, ">><><>")))
    for name, why in facts["left_out"].items():
        click.echo(f"note: without {name}: {why}")


def _bar(share: float) -> tuple[str, str]:
    """A share as a bar and in percent."""
    return ("#" * round(BAR * share)).ljust(BAR, "."), f"{share:.0%}"


def _say_tables(facts: Facts) -> None:
    for key in ("a", "b"):
        click.echo(f"{key.upper()}: {facts[key]['name']}, {facts['num_patches']:,} scores")
    rho = facts["spearman"]
    click.echo(
        "rank correlation (Spearman): "
        + ("not defined, a table is constant" if rho is None else f"{rho:.4f}")
    )
    lines = [["hardest", "patches", "in both", "by chance"]]
    lines += [
        [f"{top['share']:.0%}", f"{top['size']:,}", f"{top['both']:.1%}", f"{top['chance']:.1%}"]
        for top in facts["top"]
    ]
    click.echo("\n".join(f"  {line}" for line in align(lines, ">>>>")))
