"""``inspect``: what is in a workspace, a run or a file, and how two of them agree. No torch."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srprune.cli import options
from srprune.core.errors import InputError
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.core.artifact import Header

SHOWN = 60  # characters of a value in the plain form


@click.command()
@click.argument("artifacts", nargs=-1, metavar="[FILE|RUN|NAME] [OTHER]")
@options.as_json
@options.workspace
def inspect(artifacts: tuple[str, ...], as_json: bool, workspace: Workspace) -> None:
    """Say what is in the workspace, what an artifact holds, or how two agree.

    Without an argument: everything in the workspace, and whether it belongs together. With one, a
    file, a folder of a run or a name in the workspace: what it holds and how it was made. With two
    core-sets or two score tables: what they have in common, and what chance would give.

    \b
    Example:
      srprune inspect
      srprune inspect mse_x2
      srprune inspect workspace/scorers/srcnn_x2/weights.safetensors
      srprune inspect des_r0.50__mse_x2 asc_r0.50__mse_x2
    """
    from srprune.core.inventory import find_artifact, is_workspace

    if len(artifacts) > 2:
        raise click.UsageError("inspect takes at most two: a core-set and another, or two tables.")
    if len(artifacts) == 2:
        from srprune.cli.compare import compare

        compare(artifacts, workspace, as_json)
        return
    place = find_artifact(artifacts[0], workspace) if artifacts else workspace.root
    if place.is_file() or place.suffix == ".parquet":  # a table may be a folder of parts
        _artifact(place, as_json)
    elif _is_run(place):
        _run(place, as_json)
    else:
        from srprune.cli.overview import overview

        if artifacts and not is_workspace(place):
            raise InputError(
                f"{place} is a folder, but neither a run nor a workspace: it holds no "
                "weights.safetensors, config.yaml or patches.parquet. Name another one."
            )
        overview(Workspace(place), as_json)


def _artifact(file: Path, as_json: bool) -> None:
    """One file."""
    from srprune.cli.contents import holding
    from srprune.core.inventory import read_any_header

    header = read_any_header(file)
    facts, lines = holding(file, header)
    if as_json:
        click.echo(json.dumps({**asdict(header), "path": str(file), "holds": facts}, indent=1))
        return
    _say_header(header)
    _say_group("holds", lines)


def _is_run(folder: Path) -> bool:
    from srprune.core.inventory import WEIGHTS

    return any((folder / name).exists() for name in (WEIGHTS, "config.yaml", "checkpoints"))


def _run(folder: Path, as_json: bool) -> None:
    """The folder of a run or a scoring model, finished or not."""
    from srprune.core.inventory import BEST, WEIGHTS, size_of, state_of
    from srprune.core.weights import read_weights_header

    header = read_weights_header(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else None
    num_bytes, _ = size_of(folder)
    facts: dict[str, Any] = {
        "run": folder.resolve().name,
        "path": str(folder),
        "state": state_of(folder),
        "bytes": num_bytes,
        "files": sorted(file.name for file in folder.iterdir() if not file.name.startswith(".")),
        "training": _last_row(folder / "log.csv"),
        "validation": _last_row(folder / "validation.csv"),
        "best": None,
        "weights": asdict(header) if header else None,
    }
    if (folder / BEST).is_file():
        best = read_weights_header(folder / BEST).params
        facts["best"] = {"step": best.get("step"), **best.get("validation", {})}
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(f"run {facts['run']}: {facts['state']}, {num_bytes / 1e6:,.1f} MB")
    if header:
        _say_header(header)
    for title in ("training", "validation", "best"):
        if facts[title]:
            _say_group(title, [", ".join(f"{k} {v}" for k, v in facts[title].items())])
    _say_group("files", [", ".join(facts["files"])])


def _last_row(log: Path) -> dict[str, str] | None:
    """The last whole row of a CSV file; a killed run may have left half a line."""
    if not log.is_file():
        return None
    rows = list(csv.reader(log.read_text(encoding="utf-8", errors="replace").splitlines()))
    whole = [row for row in rows[1:] if len(row) == len(rows[0])]
    return dict(zip(rows[0], whole[-1], strict=True)) if whole else None


def _say_header(header: Header) -> None:
    click.echo(f"{header.kind} {header.fingerprint} (format {header.format})")
    groups = (
        ("made from", header.parents),
        ("with", header.params),
        ("by", header.made),
        ("facts", header.info),
    )
    for title, values in groups:
        texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
        _say_group(title, [f"{name}: {_short(text)}" for name, text in texts.items()])


def _say_group(title: str, lines: list[str]) -> None:
    for number, line in enumerate(lines):
        click.echo(f"  {'' if number else title:10} {line}")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + " ..."
