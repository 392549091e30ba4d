"""``inspect``: what a file holds. It loads no torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from srprune.cli import options
from srprune.core.artifact import read_header
from srprune.core.weights import read_weights_header

SHOWN = 60  # characters of a value in the plain form


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@options.as_json
def inspect(file: Path, as_json: bool) -> None:
    """Say what an artifact holds and how it was made.

    \b
    Example:
      srprune inspect workspace/scores/mse_x2.parquet
      srprune inspect workspace/scorers/srcnn_x2/weights.safetensors
    """
    header = read_weights_header(file) if file.suffix == ".safetensors" else read_header(file)
    if as_json:
        click.echo(json.dumps(asdict(header), indent=1))
        return
    click.echo(f"{header.kind} {header.fingerprint} (format {header.format})")
    groups = (
        ("made from", header.parents),
        ("with", header.params),
        ("by", header.made),
        ("facts", header.info),
    )
    for title, values in groups:
        for name, value in values.items():
            text = value if isinstance(value, str) else json.dumps(value)
            text = text if len(text) <= SHOWN else text[:SHOWN] + " ..."
            click.echo(f"  {title:9}  {name}: {text}")
            title = ""
    for line in _figures(file, header.kind):
        click.echo(f"  {'holds':9}  {line}")


def _figures(file: Path, kind: str) -> list[str]:
    """A line or two about the content of a known kind; reading it also checks that it is whole."""
    import numpy as np

    from srprune.core.coreset import CoreSet
    from srprune.core.patches import PatchIndex
    from srprune.core.results import EvalTable, benchmark_means
    from srprune.core.scores import ScoreTable

    if kind == "PatchIndex":
        index = PatchIndex.read(file)
        return [f"{len(index):,} patches of {index.size} px from {len(index.images):,} images"]
    if kind == "ScoreTable":
        scores_N = ScoreTable.read(file).scores_N
        points = np.quantile(scores_N, (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1))
        return [
            f"{len(scores_N):,} scores",
            "0, 5, 25, 50, 75, 95, 100%: " + ", ".join(f"{p:.4g}" for p in points),
        ]
    if kind == "CoreSet":
        coreset = CoreSet.read(file)
        return [f"{len(coreset):,} of {coreset.header.params['num_patches']:,} patches"]
    if kind == "EvalTable":
        means = benchmark_means(EvalTable.read(file).rows)
        return [
            f"{benchmark} {metric}: {value:.4f}" for (benchmark, metric), value in means.items()
        ]
    return []
