"""study: which cells there are, what became of them, and what is left to do."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from srprune.core.errors import InputError, UserError
from srprune.core.lock import held, in_turn
from srprune.core.progress import duration
from srprune.core.results import results_name
from srprune.core.workspace import Workspace
from srprune.images.benchmarks import known_as
from srprune.selection.rule import portion
from srprune.stages.distill.road_plan import Road, check_roads, read_road
from srprune.stages.extract import read_index
from srprune.stages.logs import lost
from srprune.studies.config import StudyConfig, read_study
from srprune.studies.grid import Cell, cells_of
from srprune.studies.record import Edits, Ledger, Record
from srprune.training.plan import plan_steps

SHOWN = 3  # cells that a message names


def first_of(cells: Sequence[str]) -> str:
    """The first of what is to be said of cells, and how many more there are."""
    more = f" and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
    return f"{'; '.join(cells[:SHOWN])}{more}"


@dataclass(frozen=True)
class Plan:
    """A study that may be run.

    Attributes:
        name: of its file and budget, such as ``ratio_sweep__cpu``.
        study: with the budget merged in.
        cells: all of them, in the order in which they are run.
        folder: of what the study keeps of its own; runs stand in the workspace.
    """

    name: str
    study: StudyConfig
    cells: tuple[Cell, ...]
    folder: Path

    def part(self, index: int, number: int) -> list[Cell]:
        """Every ``number``-th run from ``index`` on, with all the ways in which it is measured."""
        runs = list(dict.fromkeys(cell.name for cell in self.cells))
        own = {*runs[index::number]}
        return [cell for cell in self.cells if cell.name in own]


def open_study(
    file: Path, workspace: Workspace, budget: str | None = None, overrides: Sequence[str] = ()
) -> Plan:
    """Read a study and lay out its cells; nothing is written.

    Raises:
        ConfigError: faults of the file, and levels that name no config key; all at once.
        UnknownName: a budget, a rule, a model or a score that does not exist.
        InputError: cells that collide, or that want more images than a synthesised set will have.
        MissingArtifact: a config that is not there.
    """
    study = read_study(file, budget, overrides)
    name = f"{file.stem}__{budget}" if budget else file.stem
    cells = cells_of(study)
    roads_of(study, cells)
    return Plan(name, study, cells, workspace.study(name))


def roads_of(
    study: StudyConfig, cells: Sequence[Cell], num_patches: int | None = None
) -> dict[str, Road]:
    """How the synthesised sets of some cells are made, by name.

    Args:
        study: of the cells.
        cells: that train on them, or not.
        num_patches: of the pool, once it is known.

    Raises:
        ConfigError: faults of the config of a set.
        MissingArtifact: such a config is not there.
        InputError: a cell wants more images than its set will have, or a set has none.
    """
    sets = sorted({cell.distilled for cell in cells if cell.distilled})
    roads = {name: read_road(study.distilled[name]) for name in sets}
    wanted = {f"the cell '{cell.label}'": cell.config.pruning for cell in cells}
    check_roads(roads, wanted, num_patches)
    return roads


def begin(plan: Plan, workspace: Workspace, *, edited: bool = False) -> Edits:
    """Hold a study against what it was when it began, and write down what it is now.

    Args:
        plan: of the study as it is now.
        workspace: holds the runs.
        edited: go on with a study some of whose cells were changed; their runs of before count as
            stopped.

    Returns:
        What was edited since.

    Raises:
        InputError: finished cells were changed, and ``edited`` is off; the message names them.
    """
    now = Ledger.of(plan.study, plan.cells)
    with in_turn(plan.folder):
        if edited:
            _void(plan, workspace)
        else:
            check_unedited(plan, workspace)
        before = Ledger.read(plan.folder)
        now.write(plan.folder)
    return before.edits(now) if before else Edits((), (), ())


def _void(plan: Plan, workspace: Workspace) -> None:
    """Count runs of before an edit as stopped, until they are made again or found the same."""
    for name in {*void_cells(plan, workspace).values()} & {cell.name for cell in plan.cells}:
        run = workspace.run(name)
        if record := Record.read(run):
            replace(record, state="stopped", reason="").write(run)


def check_unedited(plan: Plan, workspace: Workspace) -> None:
    """Refuse a study some of whose results are void since it was edited.

    Raises:
        InputError: there are such; the message names them.
    """
    if void := void_cells(plan, workspace):
        raise InputError(
            f"{plan.name} was edited after it began, which makes the results of {len(void)} "
            f"cells void: {first_of([*void])}. Run it with --edited to make these again "
            "(runs of the same configs are found and kept), or undo the edit, which may also be "
            "a --set that was given then or now alone."
        )


def void_cells(plan: Plan, workspace: Workspace) -> dict[str, str]:
    """Labels of the cells that are other runs since the study was edited, with the runs they had.

    Raises:
        ArtifactError: a damaged record, of the study or of a run.
    """
    before = Ledger.read(plan.folder)
    if before is None:
        return {}
    changed = before.edits(Ledger.of(plan.study, plan.cells)).changed
    runs = {label: before.cells[label].split()[0] for label in changed}
    return {label: run for label, run in runs.items() if Record.read(workspace.run(run))}


CellState = Literal["finished", "diverged", "trained", "running", "stopped", "missing", "void"]
"""``trained`` is finished but for its measurement; ``diverged`` also one without a NaN.
``void`` is of before the study was edited."""


@dataclass(frozen=True)
class Status:
    """How far a study is.

    Attributes:
        states: a state a cell, in their order.
        seconds: of training so far, over all cells.
        joules: likewise; None where nothing counted them.
        left_s: seconds of training that are left on one device, from the pace of finished cells of
            the same base config; None where none is finished, or where the steps are not known.
        steps_done: optimizer updates so far.
        steps: of all cells; None where a budget is in epochs and there are no patches yet.
    """

    states: tuple[tuple[Cell, CellState], ...]
    seconds: float
    joules: float | None
    left_s: float | None
    steps_done: int
    steps: int | None

    def __str__(self) -> str:
        """How far, at what cost, and how long: for people."""
        done = self.count("finished") + self.count("diverged")
        text = f"{done} of {len(self.states)} cells, {duration(self.seconds)} of training"
        if self.joules is not None:
            text += f", {self.joules / 3.6e6:.3g} kWh"
        if done < len(self.states) and self.left_s is not None:
            text += f", about {duration(self.left_s)} left on one device"
        return text

    def count(self, state: CellState) -> int:
        """How many cells are in a state."""
        return sum(each == state for _, each in self.states)


def status(plan: Plan, workspace: Workspace) -> Status:
    """Look what became of each cell; nothing is written.

    Raises:
        ArtifactError: a damaged record.
    """
    void = {*void_cells(plan, workspace)}
    kept = {cell.name for cell in plan.cells if cell.label not in void}
    records = {
        cell.name: Record.read(workspace.run(cell.name)) if cell.name in kept else None
        for cell in plan.cells
    }
    done = {
        name: _steps_done(workspace.run(name), record) if name in kept else 0
        for name, record in records.items()
    }
    paces: dict[str, list[float]] = {}
    for cell in plan.cells:
        record = records[cell.name]
        if record and record.state == "finished" and record.steps:
            paces.setdefault(_base(cell), []).append(record.seconds / record.steps)
    left: float | None = 0.0
    total: int | None = 0
    num_patches = _num_patches(plan, workspace)
    states: list[tuple[Cell, CellState]] = []
    counted: set[str] = set()
    for cell in plan.cells:
        record = records[cell.name]
        state = "void" if cell.label in void else _state(cell, record, plan.study, workspace)
        if state in ("missing", "stopped", "trained") and held(workspace.at_work(cell.name)):
            state = "running"
        states.append((cell, state))
        if cell.name in counted:  # measured in several ways, trained once
            continue
        counted.add(cell.name)
        steps = record.steps if record else steps_of(cell, num_patches)
        if steps is None:
            total = left = None
            continue
        total = None if total is None else total + steps
        if steps > done[cell.name] and state != "diverged" and left is not None:
            pace = paces.get(_base(cell))
            left = (
                None if pace is None else left + sum(pace) / len(pace) * (steps - done[cell.name])
            )
    known = [record for record in records.values() if record]
    joules = [record.joules for record in known if record.joules is not None]
    return Status(
        tuple(states),
        sum(record.seconds for record in known),
        sum(joules) if joules else None,
        left,
        sum(done.values()),
        total,
    )


def _state(
    cell: Cell, record: Record | None, study: StudyConfig, workspace: Workspace
) -> CellState:
    """What became of a cell, as the report will have it."""
    if record is None:
        return "missing"
    if record.state != "finished":
        return record.state
    if lost(workspace.run(cell.name), cell.config, record.steps):
        return "diverged"
    return "finished" if _measured(cell, study, workspace) else "trained"


def _measured(cell: Cell, study: StudyConfig, workspace: Workspace) -> bool:
    """Whether there is a table of a cell, whatever it was measured on."""
    benchmarks = [known_as(name) for name in study.evaluate.benchmarks]
    name = results_name(cell.measured_as, benchmarks, study.evaluate.protocol)
    return workspace.results(name).exists()


def _num_patches(plan: Plan, workspace: Workspace) -> int | None:
    """How many patches the study has; None before they are there."""
    try:
        index = read_index(workspace)
    except UserError:  # missing or damaged: the run tells
        return None
    grid = plan.study.extract
    return len(index) if (index.size, index.stride) == (grid.size, grid.stride) else None


def steps_of(cell: Cell, num_patches: int | None) -> int | None:
    """Steps that a cell will get; None where they hang on patches that are not there yet."""
    budget, pruning = cell.config.budget, cell.config.pruning
    if num_patches is None and budget.steps is None:
        return None
    share = Fraction(repr(pruning.ratio))
    return plan_steps(
        budget,
        batch=cell.config.batch,
        num_full=num_patches or share.denominator,
        num_patches=portion(pruning.ratio, num_patches) if num_patches else share.numerator,
        step_matching=pruning.step_matching,
    ).steps


def _base(cell: Cell) -> str:
    return cell.name.partition("__")[0]


def _steps_done(run: Path, record: Record | None) -> int:
    """Steps of a run so far, as its log says."""
    if record and record.state == "finished":
        return record.steps
    try:
        with (run / "log.csv").open(encoding="utf-8", newline="") as file:
            return max((int(row["step"]) for row in csv.DictReader(file)), default=0)
    except (OSError, ValueError, KeyError):
        return 0
