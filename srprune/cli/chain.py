"""``run``: the whole chain."""

from __future__ import annotations

import json
from pathlib import Path

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.cli.signals import terminated
from srprune.core.configs import find_config
from srprune.core.workspace import DEFAULT, VARIABLE, Workspace


@click.command()
@click.argument("config")
@options.overrides
@options.workers
@options.roots
@options.device
@options.as_json
@click.option(
    "-w",
    "--workspace",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=VARIABLE,
    help="Folder of all artifacts. [default: ./workspace/CONFIG]",
)
def run(
    config: str,
    overrides: tuple[str, ...],
    workers: int,
    roots: list[Path],
    device: str,
    as_json: bool,
    workspace: Path | None,
) -> None:
    """Run the whole chain of a config: extract, pretrain, score, select, train, eval, report.

    Only what is missing is made: an interrupted run goes on, a second call does no work twice.

    \b
    Example:
      srprune run configs/demo.yaml
    """
    from srprune.stages.chain import resolve, run_chain

    resolved = resolve(find_config(config), overrides)
    place = Workspace(workspace or DEFAULT / Path(config).stem)
    with Bars() as bars, terminated() as stopping:
        report = run_chain(
            resolved,
            place,
            roots=roots,
            device=device,
            workers=workers,
            stopping=stopping,
            tell=lambda line: click.echo(line, err=as_json),
            progress=bars,
        )
    if as_json:
        written = [str(file) for file in report.files]
        facts = {**report.facts, "written": written, "not_written": report.missing}
        click.echo(json.dumps(facts, indent=1, allow_nan=False))
        return
    click.echo(f"\n{report.text}\n")
    for file in report.files:
        click.echo(f"written: {file}")
    for line in report.missing:
        click.echo(f"not written: {line}")
