"""``advise``: what to train on, before the long training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.cli.signals import terminated
from srprune.core.configs import find_config
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.stages.advise_plan import Search


@click.command()
@click.option("--config", required=True, help="Training config, such as fsrcnn_x2.yaml.")
@click.option(
    "--steps",
    required=True,
    type=click.IntRange(min=1),
    help="Steps of the training that the advice is for.",
)
@click.option(
    "--ratio", "ratios", type=float, multiple=True, help="To try. [default: 0.1 0.25 0.5 0.75]"
)
@click.option(
    "--offset", "offsets", type=float, multiple=True, help="To try. [default: 0 0.05 0.1]"
)
@click.option(
    "--score",
    "scores",
    multiple=True,
    help="To try. [default: mse, if it is scored, and laplacian]",
)
@click.option(
    "--rule", "rules", multiple=True, help="To try, beside random and full. [default: des]"
)
@click.option(
    "--rung",
    "shares",
    type=float,
    multiple=True,
    help="Share of the steps that a short rung gets. [default: 0.125 0.25 0.5]",
)
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(min=2),
    help="Of the last rung, which has all the steps.",
)
@click.option(
    "--margin",
    default=0.05,
    show_default=True,
    type=options.FiniteRange(min=0, min_open=True),
    help="How much worse than the full set counts as equally good, dB.",
)
@click.option("--name", help="Of the advice. [default: CONFIG__STEPS]")
@click.option("--dry-run", is_flag=True, help="Print what would be run, and stop.")
@click.option("--restart", is_flag=True, help="Throw away what an earlier search left.")
@options.overrides
@options.as_json
@options.device
@options.workspace
def advise(
    config: str,
    steps: int,
    ratios: tuple[float, ...],
    offsets: tuple[float, ...],
    scores: tuple[str, ...],
    rules: tuple[str, ...],
    shares: tuple[float, ...],
    seeds: int,
    margin: float,
    name: str | None,
    dry_run: bool,
    restart: bool,
    overrides: tuple[str, ...],
    as_json: bool,
    device: str,
    workspace: Workspace,
) -> None:
    """Find out whether a core-set is worth it for a network, a pool and a budget.

    Many core-sets are trained for a short time, the best for longer, and one against the full set
    for all the steps, with several seeds. Images of the pool are held out to measure them; no
    benchmark is touched. The answer may be to train on all of it. The same command goes on with a
    search that was interrupted. See docs/advise.md.

    \b
    Example:
      srprune advise --config fsrcnn_x2.yaml --steps 20000 --dry-run
      srprune advise --config fsrcnn_x2.yaml --steps 20000 --ratio 0.25 --ratio 0.5 --score mse
    """
    from srprune.core.config import TrainConfig
    from srprune.core.yaml_file import load
    from srprune.stages.advice import Call
    from srprune.stages.advice_text import advice_text, plan_lines
    from srprune.stages.advise import advise as stage
    from srprune.stages.advise_plan import Space, plan_search

    given = {"ratios": ratios, "offsets": offsets, "scores": scores, "rules": rules}
    given["shares"] = shares
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value}
    search = plan_search(
        load(find_config(config), TrainConfig, overrides),
        workspace,
        steps=steps,
        stem=Path(config).stem,
        space=Space(num_seeds=seeds, margin_db=margin, **chosen),
        name=name,
    )
    plan = _plan(search)
    if dry_run and as_json:
        click.echo(json.dumps(plan, indent=1, allow_nan=False))
        return
    for line in plan_lines(plan):
        click.echo(line, err=as_json)
    if dry_run:
        return
    with Bars() as bars, terminated() as stopping:
        facts = stage(
            search,
            call=Call(config, overrides, workspace.root),
            device=device,
            restart=restart,
            stopping=stopping,
            tell=lambda line: click.echo(line, err=as_json),
            progress=bars,
        )
    if as_json:
        click.echo(json.dumps({**facts, "advice": str(search.path)}, indent=1, allow_nan=False))
        return
    click.echo(f"\n{advice_text(facts)}\n\nadvice: {search.path}")


def _plan(search: Search) -> dict[str, Any]:
    """What is going to be run, as plain values."""
    measured = search.measured
    return {
        "name": search.name,
        "model": search.config.model,
        "scale": search.config.scale,
        "steps": search.steps,
        "candidates": [each.name for each in search.candidates],
        "num_candidates": len(search.candidates),
        "num_patches": len(search.index),
        "held_patches": search.held.num_held,
        "held_out": list(measured),
        "num_measured": sum(map(len, measured.values())),
        "seeds": search.seeds,
        "rungs": [{"steps": steps, "runs": runs} for steps, runs in search.ahead],
        "cost_steps": search.num_steps,
        "cost_times": search.num_steps / search.steps,
        "notes": list(search.notes),
    }
