"""``study``: a grid of trainings, run, watched and reported. ``status`` loads no torch."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from srprune.cli import options
from srprune.cli.progress import Bars
from srprune.cli.signals import terminated
from srprune.core.configs import STUDIES, find_config
from srprune.core.workspace import Workspace

if TYPE_CHECKING:
    from srprune.core.findings import Row
    from srprune.stages.study_plan import Plan, Status
    from srprune.studies.grid import Cell

RUN, STATUS, REPORT, WHOLE = "run", "status", "report", ""
ACTIONS = (RUN, STATUS, REPORT)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[run|status|report] STUDY")
@click.option("--budget", help="smoke, cpu, gpu or paper: what the study spends.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Processes that share the cells. [default: one a device]",
)
@click.option(
    "--device",
    "devices",
    multiple=True,
    help="auto, cpu, cuda or mps; again for more, such as --device cuda:0 --device cuda:1.",
)
@click.option("--shard", help="I/N, from 0: do the runs I, I+N, I+2N ... alone.")
@click.option("--edited", is_flag=True, help="Go on with a study that was edited after it began.")
@click.option("--dry-run", is_flag=True, help="Print the cells and what becomes of them, and stop.")
@options.overrides
@options.workers
@options.roots
@options.as_json
@options.workspace
def study(
    words: tuple[str, ...],
    budget: str | None,
    jobs: int | None,
    devices: tuple[str, ...],
    shard: str | None,
    edited: bool,
    dry_run: bool,
    overrides: tuple[str, ...],
    workers: int,
    roots: list[Path],
    as_json: bool,
    workspace: Workspace,
) -> None:
    """Run a study: a grid of trainings with seeds, of which only what is missing is made.

    Several processes and machines may run one study in one workspace at the same time. At the end,
    and with 'report' at any time, its tables, verdicts and figures are written; 'run' leaves them
    out. 'status' tells how far the study is, what it has cost and how long it will take.

    \b
    Example:
      srprune study ratio_sweep.yaml --budget smoke -w smoke
      srprune study table1_bsd100_x2.yaml --budget gpu --device cuda:0 --device cuda:1
      srprune study run table1_bsd100_x2.yaml --shard $SLURM_ARRAY_TASK_ID/8
      srprune study status ratio_sweep.yaml --budget smoke -w smoke
    """
    from srprune.stages.study_plan import open_study, status

    action, name = _parsed(words)
    plan = open_study(find_config(name, STUDIES), workspace, budget, overrides)
    cells = _part(plan, shard)
    if action == STATUS or dry_run:
        part = replace(plan, cells=tuple(cells))
        _say_status(status(part, workspace), as_json, cells=dry_run)
        return
    if action in (RUN, WHOLE):
        again = [RUN, name, *_again(budget, overrides, roots, workspace, shard, edited)]
        _run(plan, cells, again, jobs, devices, edited, workers, roots, workspace, as_json)
        if action == RUN and as_json:
            _say_status(status(plan, workspace), as_json, cells=False)
    if action in (REPORT, WHOLE):
        _report(plan, name, budget, overrides, roots, workspace, as_json)


def _parsed(words: tuple[str, ...]) -> tuple[str, str]:
    """Action and study."""
    action, *rest = words if words[0] in ACTIONS else (WHOLE, *words)
    if len(rest) != 1:
        given = f"{len(rest)} are given" if rest else "none is given"
        raise click.UsageError(f"name one study; {given}.")
    return action, rest[0]


def _part(plan: Plan, shard: str | None) -> list[Cell]:
    """The cells of a shard."""
    if shard is None:
        return list(plan.cells)
    index, sign, number = shard.partition("/")
    if sign and index.isdecimal() and number.isdecimal() and int(index) < int(number):
        return plan.part(int(index), int(number))
    raise click.BadParameter(f"--shard is {shard}; it must be I/N with I from 0 to N - 1.")


def _again(
    budget: str | None,
    overrides: tuple[str, ...],
    roots: list[Path],
    workspace: Workspace,
    shard: str | None,
    edited: bool,
) -> list[str]:
    """The options of this call, for another process."""
    words = ["--workspace", str(workspace.root)]
    words += ["--budget", budget] if budget else []
    words += [word for each in overrides for word in ("--set", each)]
    words += [word for root in roots for word in ("--data", str(root))]
    words += ["--shard", shard] if shard else []
    return [*words, *(["--edited"] if edited else [])]


def _run(
    plan: Plan,
    cells: list[Cell],
    again: list[str],
    jobs: int | None,
    devices: tuple[str, ...],
    edited: bool,
    workers: int,
    roots: list[Path],
    workspace: Workspace,
    as_json: bool,
) -> None:
    from srprune.stages.evaluate import find_benchmarks
    from srprune.stages.study import run_cells
    from srprune.stages.study_jobs import run_processes
    from srprune.stages.study_plan import begin
    from srprune.stages.study_prepare import prepare
    from srprune.stages.study_setting import Setting

    def tell(line: str) -> None:
        click.echo(line, err=as_json)

    devices = devices or ("auto",)
    benchmarks = find_benchmarks(plan.study.evaluate.benchmarks, roots)
    for line in begin(plan, workspace, edited=edited).lines():
        tell(line)
    with Bars() as bars, terminated() as stopping:
        setting = Setting(
            workspace,
            roots,
            benchmarks,
            devices[0],
            workers=workers,
            edited=edited,
            stopping=stopping,
            tell=tell,
            progress=bars,
        )
        prepare(plan.study, cells, setting)
        if (jobs or len(devices)) > 1:
            number = jobs or len(devices)
            run_processes(["study", *again], devices, number, stopping, quiet=as_json)
        else:
            run_cells(plan, cells, setting)


def _report(
    plan: Plan,
    name: str,
    budget: str | None,
    overrides: tuple[str, ...],
    roots: list[Path],
    workspace: Workspace,
    as_json: bool,
) -> None:
    from srprune.stages.evaluate import find_benchmarks
    from srprune.stages.study_report import report_study

    settings = [word for each in overrides for word in ("--set", each)]
    budgeted = ["--budget", budget] if budget else []
    command = shlex.join(["srprune", "study", name, *budgeted, *settings])
    benchmarks = find_benchmarks(plan.study.evaluate.benchmarks, roots)
    with Bars() as bars:
        found, report = report_study(plan, workspace, benchmarks, command=command, progress=bars)
    if as_json:
        facts = {
            "study": plan.name,
            "rows": [_facts(row) for row in found.rows],
            "written": [str(file) for file in report.files],
            "not_written": report.missing,
        }
        click.echo(json.dumps(facts, indent=1))
        return
    text = report.files[0].read_text(encoding="utf-8")
    click.echo(f"\n{text}")
    for file in report.files:
        click.echo(f"written: {file}")
    for line in report.missing:
        click.echo(f"not written: {line}")


def _facts(row: Row) -> dict[str, Any]:
    """A row as plain values; the CSV file of the report has every figure."""
    return {
        "levels": dict(row.levels),
        "seeds": row.seeds,
        "missing": row.missing,
        "diverged": {each.seed: each.reason for each in row.diverged},
        "benchmarks": {
            f"{benchmark} {metric}": {
                "mean": each.value.mean,
                "sd": each.value.sd,
                "to_baseline": each.to_baseline and each.to_baseline.over_seeds.mean,
                "verdict": each.to_baseline and each.to_baseline.verdict,
                "to_control": each.to_control and each.to_control.over_seeds.mean,
                "verdict_on_control": each.to_control and each.to_control.verdict,
                "paper": each.paper,
            }
            for (benchmark, metric), each in row.findings.items()
        },
    }


def _say_status(found: Status, as_json: bool, *, cells: bool) -> None:
    """How far a study is; with ``cells`` each of them."""
    if as_json:
        facts = {
            "cells": [
                {"levels": dict(cell.levels), "seed": cell.seed, "run": cell.name, "state": state}
                for cell, state in found.states
            ],
            "seconds": found.seconds,
            "joules": found.joules,
            "left_s": found.left_s,
            "steps_done": found.steps_done,
            "steps": found.steps,
        }
        click.echo(json.dumps(facts, indent=1))
        return
    from srprune.stages.study_plan import CellState

    for cell, state in found.states:
        if cells or state in ("diverged", "running", "stopped", "trained", "void"):
            click.echo(f"{state:>9}  {cell.label}  ({cell.name})")
    click.echo(str(found))
    counts = [(state, found.count(state)) for state in get_args(CellState) if found.count(state)]
    click.echo(", ".join(f"{number} {state}" for state, number in counts))
    steps = "an unknown number of" if found.steps is None else f"{found.steps:,}"
    click.echo(f"{found.steps_done:,} of {steps} steps")
    if found.count("void"):
        click.echo(
            "void: runs of before the study was edited. Run it with --edited to make these again, "
            "or undo the edit, which may also be a --set that was given then or now alone."
        )
