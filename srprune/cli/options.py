"""Options that several commands share."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from srprune.core.workspace import Workspace

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A finite number within bounds; click's own lets nan through any, and inf where none is."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; click's usage error where it is none, not finite or out of bounds."""
        number = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number. Give one, such as 0.5.", param, ctx)
        return float(super().convert(number, param, ctx))


def _workspace(ctx: click.Context, param: click.Parameter, value: Path | None) -> Workspace:
    return Workspace.resolve(value)


def _roots(ctx: click.Context, param: click.Parameter, value: tuple[Path, ...]) -> list[Path]:
    """Where benchmarks are looked for: the option, SRPRUNE_DATA, and the current folder."""
    named = [Path(root) for root in os.environ.get("SRPRUNE_DATA", "").split(os.pathsep) if root]
    return list(value) or [*named, Path(".")]


workspace = click.option(
    "-w",
    "--workspace",
    type=click.Path(path_type=Path, file_okay=False),
    callback=_workspace,
    help="Folder of all artifacts. [default: $SRPRUNE_WORKSPACE or ./workspace]",
)
roots = click.option(
    "--data",
    "roots",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    callback=_roots,
    help="Folder that holds benchmarks, as ROOT/Set5/HR. [default: $SRPRUNE_DATA and .]",
)
scale = click.option(
    "--scale", type=int, callback=lambda c, p, v: check_scale(v), help="2, 3 or 4."
)
device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
workers = click.option(
    "--workers",
    default=os.cpu_count() or 1,
    show_default="cores",
    type=click.IntRange(min=1),
    help="Threads for decoding.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def overriding(example: str) -> Callable[[F], F]:
    """``--set`` of a command that reads a config.

    Args:
        example: a change that its config takes.
    """
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help=f"Change a config key, such as --set {example}.",
    )


overrides = overriding("budget.steps=2000")


def name(text: str) -> Callable[[F], F]:
    """``--name`` of what a command writes into the workspace.

    Args:
        text: the help.
    """
    return click.option("--name", callback=lambda c, p, v: _check_name(v), help=text)


def number_of(number: int, noun: str) -> str:
    """A number and its noun, such as ``1 image`` and ``2 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _check_name(value: str | None) -> str | None:
    """Refuse names that would lead out of the folder of their kind, or hide there."""
    if value is not None and (not value or value.startswith(".") or Path(value).name != value):
        raise click.BadParameter(
            f"'{value}' cannot be the name of a file; leave out slashes, and dots at the start."
        )
    return value


def check_scale(value: int | None) -> int | None:
    """Refuse scales that no model here is built for."""
    if value not in (None, 2, 3, 4):
        raise click.BadParameter(f"scale is {value}; it must be 2, 3 or 4.")
    return value


def going_on(command: F) -> F:
    """``--resume`` and ``--restart`` of commands that train."""
    resume = click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
    restart = click.option("--restart", is_flag=True, help="Throw away what the run left.")
    return resume(restart(command))


def dynamic(command: F) -> F:
    """How supernets are run tile by tile: ``--flops-budget``, ``--router``."""
    for option in (
        click.option(
            "--router",
            help="Of a supernet: what chooses a subnet for each tile. [default: gradient, with "
            "--flops-budget]",
        ),
        click.option(
            "--flops-budget",
            type=FiniteRange(min=0, min_open=True, max=1),
            metavar="SHARE",
            help="Of a supernet: what an image may cost, as a share of the FLOPs of its largest "
            "subnet on the same tiles, such as 0.66.",
        ),
    ):
        command = option(command)
    return command


def inference(command: F) -> F:
    """How networks are run: ``--tile``, ``--overlap``, ``--self-ensemble``, ``--precision``."""
    for option in (
        click.option(
            "--precision",
            type=click.Choice(["fp32", "bf16", "fp16"]),
            default="fp32",
            show_default=True,
            help="Of the network; see docs/protocol.md.",
        ),
        click.option(
            "--self-ensemble",
            is_flag=True,
            help="The mean over 8 flips and quarter turns, the + of EDSR+; 8 times as slow.",
        ),
        click.option(
            "--overlap",
            type=click.IntRange(min=0),
            help="Context of a tile on each side, LR px; with --flops-budget or --router what "
            "neighbours share. [default: what the network sees, at most 64; shared 4]",
        ),
        click.option(
            "--tile",
            type=click.IntRange(min=1),
            help="Restore in tiles with this side, LR px, to save memory.",
        ),
    ):
        command = option(command)
    return command
