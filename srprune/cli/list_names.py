"""``list``: which names there are. Only the facts of the models load torch."""

from __future__ import annotations

import json

import click

from srprune.cli import options


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
