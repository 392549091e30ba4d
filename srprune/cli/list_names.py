"""``list``: which names there are, a line about each. Only the facts of the models load torch."""

from __future__ import annotations

import json
from collections.abc import Callable

import click

from srprune.cli import options


def _scorers() -> dict[str, str]:
    from srprune.core.explained import explained
    from srprune.scoring import SCORERS

    return explained(SCORERS)


def _rules() -> dict[str, str]:
    from srprune.core.explained import explained
    from srprune.selection import RULES

    return explained(RULES)


def _routers() -> dict[str, str]:
    from srprune.core.explained import explained
    from srprune.wbsr import ROUTERS

    return explained(ROUTERS)


def _losses() -> dict[str, str]:
    from srprune.core.explained import explained
    from srprune.training import LOSSES

    return explained(LOSSES)


def _exports() -> dict[str, str]:
    from srprune.core.explained import explained
    from srprune.exports import EXPORTS

    return explained(EXPORTS)


def _benchmarks() -> dict[str, str]:
    from srprune.images.benchmarks import BENCHMARKS, PHOTOS, PHOTOS_HELD_OUT, PHOTOS_TITLE

    names = {
        name: f"{spec.title}, {spec.num_images} images: {spec.about}"
        for name, spec in BENCHMARKS.items()
    }
    about = f"{PHOTOS_TITLE}, {len(PHOTOS_HELD_OUT)} images: inside scikit-image, always there"
    return {**names, PHOTOS: about}


def _configs() -> dict[str, str]:
    from srprune.core.configs import find_config, known_configs
    from srprune.core.explained import first_comment

    return {name: first_comment(find_config(name)) for name in known_configs()}


def _studies() -> dict[str, str]:
    from srprune.core.configs import STUDIES, find_config, known_configs
    from srprune.core.explained import first_comment

    return {name: first_comment(find_config(name, STUDIES)) for name in known_configs(STUDIES)}


def _datasets() -> dict[str, str]:
    from srprune.images.datasets import DATASETS

    return {name: f"{dataset.title}: {dataset.terms}" for name, dataset in DATASETS.items()}


LISTS: dict[str, Callable[[], dict[str, str]]] = {
    "scorers": _scorers,
    "rules": _rules,
    "routers": _routers,
    "losses": _losses,
    "exports": _exports,
    "benchmarks": _benchmarks,
    "datasets": _datasets,
    "configs": _configs,
    "studies": _studies,
}


@click.command("list")
@click.argument("what", metavar="WHAT", type=click.Choice(["models", *LISTS]))
@options.as_json
def list_names(what: str, as_json: bool) -> None:
    """List the names that options and configs take, a line about each.

    WHAT is models, scorers (what 'score --method' takes), rules, routers (what decides in a
    supernet), losses, exports, benchmarks, datasets (what 'download' takes), configs or studies.
    What is in a workspace is told by 'srprune inspect'.

    Of models it tells the facts. Parameters and FLOPs are those at x2, the latter for 1280x720 px
    of SR and two a multiply-add; the receptive field is the side of the square of LR px that
    decides a pixel.

    \b
    Example:
      srprune list rules
      srprune list models --json
    """
    if what == "models":
        facts = _model_facts()
        click.echo(json.dumps(facts, indent=1) if as_json else _aligned(facts))
        return
    names = LISTS[what]()
    if as_json:
        click.echo(json.dumps(names, indent=1))
        return
    width = max(map(len, names))
    for name, about in names.items():
        click.echo(f"{name:{width}}  {about}".rstrip())


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
    from srprune.reporting.tables import align

    cells = [[*rows[0]], *([_cell(value) for value in row.values()] for row in rows)]
    sides = "".join("<" if isinstance(value, str) else ">" for value in rows[0].values())
    return "\n".join(align(cells, sides))


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
