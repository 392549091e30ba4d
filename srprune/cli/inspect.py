"""``inspect`` and ``list``: what a file holds, and which names there are.

Neither loads torch, but for the facts of the models.
"""

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


@click.command("list")
@click.argument("what", type=click.Choice(["models", "scorers", "rules", "benchmarks", "configs"]))
@options.as_json
def list_names(what: str, as_json: bool) -> None:
    """List the names that options and configs take; of models, the facts, too.

    Parameters and FLOPs are those at x2, the latter for 1280x720 px of SR and two a multiply-add;
    the receptive field is the side of the square of LR px that decides a pixel.

    \b
    Example:
      srprune list rules
      srprune list models --json
    """
    from srprune.core.configs import known_configs
    from srprune.images.benchmarks import BENCHMARKS, PHOTOS
    from srprune.scoring import SCORERS
    from srprune.selection import RULES

    if what == "models":
        facts = _model_facts()
        click.echo(json.dumps(facts, indent=1) if as_json else _aligned(facts))
        return
    names = {
        "scorers": sorted(SCORERS),
        "rules": sorted(RULES),
        "benchmarks": [*BENCHMARKS, PHOTOS],
        "configs": known_configs(),
    }[what]
    click.echo(json.dumps(names) if as_json else "\n".join(names))


def _model_facts() -> list[dict[str, object]]:
    """What each network's spec says; this loads torch, but builds nothing."""
    from srprune.models import MODELS

    facts: list[dict[str, object]] = []
    for name in sorted(MODELS):
        spec = MODELS.load(name).spec
        facts.append(
            {
                "model": name,
                "parameters": spec.parameters,
                "gflops": round(spec.flops / 1e9, 1),
                "receptive_field": "all" if spec.sees_all else spec.receptive_field,
                "input": f"{spec.channels.upper()}, {'bicubic' if spec.pre_upsampled else 'LR'}",
                "scales": " ".join(f"x{scale}" for scale in spec.scales),
                "source": spec.source,
            }
        )
    return facts


def _aligned(rows: list[dict[str, object]]) -> str:
    """Rows as columns, numbers to the right."""
    cells = [[*rows[0]], *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [not isinstance(value, str) for value in rows[0].values()]
    lines = []
    for line in cells:
        columns = zip(line, widths, right, strict=True)
        lines.append("  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in columns).rstrip())
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
