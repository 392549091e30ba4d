"""study: run the cells of a grid that have not been run yet, alone or beside other processes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from srprune.core.energy import EnergyMeter
from srprune.core.errors import (
    ArtifactMismatch,
    Busy,
    Diverged,
    ImageError,
    LeakError,
    Stopped,
    StorageError,
    UserError,
)
from srprune.core.lock import WAIT_S, exclusive
from srprune.core.results import METRICS, benchmark_means
from srprune.core.run_config import DynamicConfig
from srprune.core.weights import read_weights_header
from srprune.models.device import processor
from srprune.stages.distill.road import seconds_of
from srprune.stages.distill.road_plan import Road
from srprune.stages.dynamic import run_dynamically
from srprune.stages.evaluate import evaluate_model, open_candidate, results_path
from srprune.stages.job import Job
from srprune.stages.route import route, side_for
from srprune.stages.routers import is_fitted, router_path
from srprune.stages.study_plan import Plan, first_of, roads_of, status
from srprune.stages.study_prepare import prepare_set
from srprune.stages.study_setting import Setting, fit_or_remake
from srprune.stages.train import plan_training, validation
from srprune.studies.config import StudyConfig
from srprune.studies.grid import Cell
from srprune.studies.record import Record, State

# What would meet the next cell, too; all else is the cell's own, such as too little memory for it.
OF_ALL = (ArtifactMismatch, ImageError, LeakError, StorageError, Stopped)


def run_cells(plan: Plan, cells: Sequence[Cell], setting: Setting) -> None:
    """Run every cell that is not finished; those that another process runs are waited for.

    A synthesised set is made before the first cell that trains on it. While another process makes
    it, the cells that do without are run.

    Args:
        plan: of the study.
        cells: those of its cells that are to be run, in this order.
        setting: where and how; :func:`prepare` has been called.

    Raises:
        Stopped: ``setting.stopping`` said so; what was done is kept.
        ArtifactMismatch: a run that was made from other inputs than those of the workspace.
        StorageError: the disk is full, or may not be written.
        ImageError: an image of a benchmark that cannot be used.
        UserError: cells that failed by themselves, once all others are finished; or a synthesised
            set that could not be made.
    """
    left = list(cells)
    roads = roads_of(plan.study, cells)
    failed: list[str] = []
    idle = True
    waited = False
    while left:
        busy = []
        for cell in left:
            if setting.stopping():
                raise Stopped("stopped between two cells. Run the study again to go on.")
            if not _set_is_made(cell.distilled, roads, setting):
                busy.append(cell)
                continue
            try:
                made = run_cell(cell, plan.study, setting)
            except Busy:
                busy.append(cell)
                continue
            except OF_ALL:
                raise
            except UserError as error:
                failed.append(cell.label)
                idle = False
                setting.tell(f"{cell.label} failed: {' '.join(str(error).split())}")
                continue
            if made:
                idle = False
                setting.tell(f"{made}; {status(plan, setting.workspace)}")
        if busy and len(busy) == len(left):
            if not waited:
                names = first_of([cell.label for cell in busy])
                setting.tell(f"waiting for other processes: {names}")
                waited = True
            time.sleep(WAIT_S)
        left = busy
    if idle:
        setting.tell(f"nothing was left to do; {status(plan, setting.workspace)}")
    if failed:
        raise UserError(
            f"{len(failed)} of {len(cells)} cells failed, as told above: {'; '.join(failed)}. All "
            "others are finished. The same call tries these again; 'srprune study report' passes "
            "over them."
        )


def _set_is_made(name: str, roads: dict[str, Road], setting: Setting) -> bool:
    """Make the synthesised set of a cell, if it is among ``roads``; False: another process does.

    A set that cannot be made stops the study: it would meet every cell that trains on it.
    """
    if name in roads:
        try:
            prepare_set(name, roads[name], setting)
        except Busy:
            return False
        del roads[name]
    return True


def run_cell(cell: Cell, study: StudyConfig, setting: Setting) -> str:
    """Train and measure one cell; what is there already is not made again.

    Returns:
        What came out, for people; nothing where everything was there.

    Raises:
        Busy: another process runs it.
        Stopped: ``setting.stopping`` said so.
        ArtifactMismatch: a run that was made from other inputs than those of the workspace.
    """
    workspace = setting.workspace
    with exclusive(workspace.at_work(cell.name)):
        job = plan_training(
            cell.config,
            workspace,
            stem="",
            name=cell.name,
            remake=setting.edited,
            progress=setting.heeding,
        )
        before = record = _record_there(cell, job, setting)
        if record is None or record.state == "stopped":
            record = _train(cell, job, record, setting)
        if record.state == "diverged":
            return "" if before is record else f"{cell.label}: {record.reason}"
        candidate = open_candidate(str(job.folder), workspace, cell.config.scale, setting.where)
        if cell.dynamic:
            _ensure_router(job, cell.dynamic, setting)
            candidate = run_dynamically(candidate, cell.dynamic)
            if candidate.note:
                setting.tell(f"{cell.label}: {candidate.note}")
        protocol = study.evaluate.protocol
        measured = results_path(candidate, setting.benchmarks, workspace, protocol).exists()
        table = evaluate_model(
            candidate,
            setting.benchmarks,
            workspace,
            protocol=protocol,
            device=setting.where,
            progress=setting.heeding,
        )
    if before is record and measured:
        return ""
    figures = [
        f"{benchmark} {value:.2f} dB"
        for (benchmark, metric), value in benchmark_means(table.rows).items()
        if metric == METRICS[0]
    ]
    return f"{cell.label}: {', '.join(figures)}"


def _record_there(cell: Cell, job: Job, setting: Setting) -> Record | None:
    """What is known of a run; None where it was not begun, or is to be made again.

    Raises:
        ArtifactMismatch: it was made from other inputs than those of now.
    """
    record = Record.read(job.folder)
    try:
        header, spent = job.finished(), job.spent_s() or 0.0
        if record and record.state == "diverged" and record.parents not in (None, job.parents):
            raise ArtifactMismatch(
                f"{job.folder} is a run that diverged, of other inputs than those of now. Pass "
                "--edited to run it again, or choose another --workspace."
            )
    except ArtifactMismatch:
        if not setting.edited:
            raise
        return None
    if record is None and header:  # trained by hand, or by an older version
        record = _record(cell, job, "finished", "", header.made.get("seconds", 0.0), None, setting)
        record.write(job.folder)
    if record and record.state == "finished" and header is None:  # somebody took its weights away
        return None
    if spent > (record.seconds if record else 0):  # it was killed before it could write this down
        joules = record.joules if record else None
        record = _record(cell, job, "stopped", "", spent, joules, setting)
    return record


def _ensure_router(job: Job, dynamic: DynamicConfig, setting: Setting) -> None:
    """Fit the router of a run, unless it is there: training itself fits ``gradient`` alone.

    One that was fitted for other weights, or on other tiles than those of the level, is fitted
    again: what a level is must not depend on which one came before it.
    """
    run, name, tile = job.folder, dynamic.router, dynamic.tile or side_for(job.pool)
    if is_fitted(run, name, read_weights_header(job.weights).fingerprint, tile):
        return
    if router_path(run, name).exists():
        setting.tell(
            f"the router {name} of {run.name} was fitted for other weights or tiles, and is fitted "
            f"again on tiles of {tile} px at LR"
        )
    route(
        setting.workspace,
        str(run),
        name,
        device=setting.where,
        tile=tile,
        progress=setting.heeding,
    )


def _train(cell: Cell, job: Job, before: Record | None, setting: Setting) -> Record:
    """Train a cell to its end, and record what it cost, however it ends."""
    meter, started = EnergyMeter(), time.perf_counter()
    state: State = "stopped"
    reason = ""
    try:
        watched = replace(setting, progress=meter.watching(setting.progress))
        fit_or_remake(job, validation(cell.config, setting.roots, setting.where), watched)
        state = "finished"
    except Diverged as error:
        state, reason = "diverged", str(error)
    finally:
        seconds, joules = time.perf_counter() - started, meter.joules()
        if before:
            seconds += before.seconds
            joules = None if joules is None else joules + (before.joules or 0)
        record = _record(cell, job, state, reason, seconds, joules, setting)
        record.write(job.folder)
    return record


def _record(
    cell: Cell,
    job: Job,
    state: State,
    reason: str,
    seconds: float,
    joules: float | None,
    setting: Setting,
) -> Record:
    return Record(
        state=state,
        reason=reason,
        steps=job.plan.steps,
        num_patches=len(job.patch_ids),
        num_bytes=job.num_bytes,
        seconds=round(seconds, 3),
        joules=joules,
        device=processor(setting.where),
        set_seconds=seconds_of(setting.workspace, cell.distilled) if cell.distilled else None,
        parents=dict(job.parents),
    )
