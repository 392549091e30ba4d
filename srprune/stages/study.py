"""study: run the cells of a grid that have not been run yet, alone or beside other processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import torch

from srprune.core.artifact import canonical
from srprune.core.config import DynamicConfig, StageConfig, TrainConfig
from srprune.core.configs import find_config
from srprune.core.energy import EnergyMeter
from srprune.core.errors import ArtifactMismatch, Busy, Diverged, InputError, Stopped
from srprune.core.lock import WAIT_S, exclusive, in_turn
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, heeding, silent
from srprune.core.results import METRICS, benchmark_means
from srprune.core.weights import read_weights_header
from srprune.core.workspace import Workspace
from srprune.core.yaml_file import load
from srprune.images.benchmarks import Benchmark
from srprune.models.device import pick_device, processor
from srprune.scoring import RECONSTRUCTION
from srprune.selection.rule import portion
from srprune.stages.distill.road import distil, seconds_of
from srprune.stages.dynamic import run_dynamically
from srprune.stages.evaluate import (
    BICUBIC,
    evaluate_model,
    open_candidate,
    results_path,
)
from srprune.stages.extract import ImageSource, check_kept, extract
from srprune.stages.fit import fit
from srprune.stages.job import Job, check_crops
from srprune.stages.pool import open_pool
from srprune.stages.pool_images import find_images
from srprune.stages.pretrain import held_out_validation, plan_pretraining
from srprune.stages.route import route, side_for
from srprune.stages.routers import is_fitted, router_path
from srprune.stages.score import Options, score
from srprune.stages.study_plan import Plan, roads_of, status
from srprune.stages.train import plan_training, validation
from srprune.studies.config import ScoreConfig, StudyConfig
from srprune.studies.grid import Cell
from srprune.studies.record import Record, State
from srprune.training.loop import Validate

Tell = Callable[[str], None]

NETWORK = {"model", "model_args", "scale", "lr_crop", "skip_rim"}  # what crops have to fit


@dataclass(frozen=True)
class Setting:
    """Where and how cells are run.

    Attributes:
        workspace: holds all runs; studies share those that are the same.
        roots: where benchmarks are looked for.
        benchmarks: of the study.
        device: of the trainings, such as ``cuda:1``.
        workers: threads for decoding.
        edited: what was made from other inputs than those of now is made again; off: refused.
        stopping: asked after each step of a training; True saves a checkpoint and stops. Asked on
            the way of all else, too, which then leaves nothing half-made.
        tell: told a line about each stage.
        progress: told on the way.
    """

    workspace: Workspace
    roots: list[Path]
    benchmarks: list[Benchmark]
    device: str = "auto"
    workers: int = 1
    edited: bool = False
    stopping: Callable[[], bool] = field(default=lambda: False)
    tell: Tell = field(default=lambda line: None)
    progress: Progress = silent

    @cached_property
    def heeding(self) -> Progress:
        """Of work that keeps no checkpoint."""
        return heeding(self.stopping, self.progress)

    @cached_property
    def where(self) -> torch.device:
        """The device, found."""
        return pick_device(self.device)


def prepare(study: StudyConfig, cells: Sequence[Cell], setting: Setting) -> None:
    """Make what cells share: patches, LR, scoring models, score tables, bicubic's figures.

    One process makes them; others that share the workspace wait meanwhile.

    Args:
        study: of the cells.
        cells: to be run.
        setting: where and how.

    Raises:
        UserError: what the stages raise.
    """
    workspace, progress = setting.workspace, setting.heeding
    with in_turn(workspace.at_work("preparation"), setting.tell, setting.heeding):
        images = find_images(study.images, setting.roots, setting.tell, progress)
        source = ImageSource.find(images)
        if not setting.edited:
            check_kept(source, study.extract, workspace)
        index = extract(
            source, study.extract, workspace, workers=setting.workers, progress=progress
        )
        setting.tell(f"{len(index):,} patches of {index.size} px from {len(index.images):,} images")
        roads = roads_of(study, cells, len(index))  # a set that is too small is refused at once
        _check(cells, index)
        for scale in sorted({cell.config.scale for cell in cells}):
            open_pool(workspace, scale, progress)
            named = sorted({c.score for c in cells if c.score and c.config.scale == scale})
            scores = {name: study.scores.get(name, ScoreConfig(method=name)) for name in named}
            for name in dict.fromkeys(each for table in scores.values() for each in table.scorers):
                _pretrain(study.scorers[name], name, scale, setting)
            for name, table in scores.items():
                _score(table, name, scale, setting)
            evaluate_model(
                open_candidate(BICUBIC, workspace, scale, setting.where),
                setting.benchmarks,
                workspace,
                protocol=study.evaluate.protocol,
                device=setting.where,
                progress=progress,
            )
        for name, road in roads.items():
            distil(
                workspace,
                name,
                road,
                device=setting.where,
                stopping=setting.stopping,
                tell=setting.tell,
                progress=setting.progress,
            )


def _check(cells: Sequence[Cell], index: PatchIndex) -> None:
    """Refuse, before anything is trained, cells that could not be trained when their turn comes."""
    seen: set[str] = set()
    for cell in cells:
        config = cell.config
        kept = portion(config.pruning.ratio, len(index))
        if config.batch > kept:
            raise InputError(
                f"batch is {config.batch}, but the cell '{cell.label}' trains on {kept} of the "
                f"{len(index):,} patches. Choose a batch of at most {kept}, or a larger ratio."
            )
        plain = config.model_dump(mode="json", include=NETWORK)
        if (key := canonical(plain)) not in seen:
            seen.add(key)
            check_crops(config, index.size)


def _pretrain(stage: StageConfig, name: str, scale: int, setting: Setting) -> None:
    """Train a scoring model on all patches, unless it is there."""
    changes = {**stage.set, "scale": scale, "pruning.ratio": 1, "pruning.offset": 0}
    config = load(
        find_config(stage.config), TrainConfig, [f"{k}={json.dumps(v)}" for k, v in changes.items()]
    )
    job = plan_pretraining(
        config, setting.workspace, name=f"{name}_x{scale}", progress=setting.heeding
    )
    _fit(job, held_out_validation(config, job.pool, setting.where), setting)
    setting.tell(f"scoring model {job.folder.name}: {job.plan.steps:,} steps")


def _score(table: ScoreConfig, name: str, scale: int, setting: Setting) -> None:
    """Make a score table, unless it is there."""
    models = table.method in RECONSTRUCTION
    options = Options(context=table.context, include_rim=table.include_rim)
    make = partial(
        score,
        setting.workspace,
        method=table.method,
        scale=scale if models else None,
        scorers=[f"{each}_x{scale}" for each in table.scorers],
        options=options if models else None,
        name=None if name == table.method else f"{name}_x{scale}",
        device=setting.device,
        tell=setting.tell,
        progress=setting.heeding,
    )
    try:
        made, _ = make()
    except ArtifactMismatch:
        if not setting.edited:
            raise
        made, _ = make(restart=True)
    setting.tell(f"scores {made}")


def _fit(job: Job, validate: Validate | None, setting: Setting) -> None:
    """Train a job, or go on with it; with ``edited`` one of other inputs is made again."""
    run = partial(
        fit,
        job,
        device=setting.where,
        validate=validate,
        stopping=setting.stopping,
        progress=setting.progress,
    )
    try:
        run(resume=True)
    except ArtifactMismatch:
        if not setting.edited:
            raise
        setting.tell(f"{job.folder.name} was made from other inputs and is made again")
        run(restart=True)


def run_cells(plan: Plan, cells: Sequence[Cell], setting: Setting) -> None:
    """Run every cell that is not finished; those that another process runs are waited for.

    Args:
        plan: of the study.
        cells: those of its cells that are to be run, in this order.
        setting: where and how; :func:`prepare` has been called.

    Raises:
        Stopped: ``setting.stopping`` said so; what was done is kept.
        ArtifactMismatch: a run that was made from other inputs than those of the workspace.
    """
    left = list(cells)
    while left:
        busy = []
        for cell in left:
            if setting.stopping():
                raise Stopped("stopped between two cells. Run the study again to go on.")
            try:
                made = run_cell(cell, plan.study, setting)
            except Busy:
                busy.append(cell)
                continue
            if made:
                setting.tell(f"{made}; {status(plan, setting.workspace)}")
        if len(busy) == len(left):
            time.sleep(WAIT_S)
        left = busy


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
        header, spent = job.finished(), job.spent_s()
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
        _fit(job, validation(cell.config, setting.roots, setting.where), watched)
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
