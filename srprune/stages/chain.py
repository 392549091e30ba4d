"""run: the whole chain from images to a comparison; makes only what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srprune.core.artifact import read_header
from srprune.core.config import PruningConfig, TrainConfig
from srprune.core.configs import find_config
from srprune.core.errors import InputError, about
from srprune.core.progress import Progress, heeding, silent
from srprune.core.run_config import RunConfig, StageConfig
from srprune.core.workspace import Workspace
from srprune.core.yaml_file import load
from srprune.images.grid import check_grid
from srprune.models.build import outline
from srprune.models.device import pick_device
from srprune.reporting.comparison import RunCost, RunResult
from srprune.scoring import NO_MODEL, RECONSTRUCTION, SCORERS
from srprune.selection import RULES
from srprune.selection.rank_window import window
from srprune.stages.coresets import read_scores
from srprune.stages.distill.road import distil, seconds_of
from srprune.stages.distill.road_plan import Road, check_roads, read_road
from srprune.stages.evaluate import (
    BICUBIC,
    evaluate_model,
    find_benchmarks,
    open_candidate,
)
from srprune.stages.extract import ImageSource, check_kept, extract
from srprune.stages.fit import fit
from srprune.stages.job import Job, check_crops
from srprune.stages.lineage import Lineage
from srprune.stages.pretrain import held_out_validation, plan_pretraining
from srprune.stages.report import Report, write_report
from srprune.stages.score import score
from srprune.stages.train import plan_training, validation
from srprune.stages.training_set import score_name

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Resolved:
    """A run config with its base configs read and checked.

    Attributes:
        run: the config.
        pretrain: of the scoring model.
        train: of every arm and seed: arm, seed and training config.
        roads: how synthesised sets are made, by name.
        stem: what the names of the runs begin with.
    """

    run: RunConfig
    pretrain: TrainConfig
    train: list[tuple[str, int, TrainConfig]]
    roads: Mapping[str, Road]
    stem: str


def resolve(path: Path, overrides: tuple[str, ...] = ()) -> Resolved:
    """Read a run config and everything it names, so that every fault shows before any work.

    Raises:
        ConfigError: faults of the run config or of a config that it names.
        UnknownName: a rule, a score or a model that does not exist.
        InputError: settings that do not go together.
    """
    run = load(path, RunConfig, overrides)
    for name, pruning in run.arms.items():
        SCORERS[pruning.score]  # an unknown name is a fault
        if RECONSTRUCTION.get(pruning.score, NO_MODEL).least > 1:
            raise InputError(
                f"arms.{name}.score is {pruning.score}, which compares two models, and a run "
                "trains one. Choose another score."
            )
        RULES.load(pruning.rule).checked(pruning.args, f"arms.{name}.args.")
    pretrain = _stage(run.pretrain, {"scale": run.scale})
    train = [
        (
            name,
            seed,
            _stage(run.train, {"scale": run.scale, "seed": seed, "pruning": _pruning(arm, seed)}),
        )
        for seed in run.seeds
        for name, arm in run.arms.items()
    ]
    check_grid(run.extract.size, run.extract.stride)
    for stage, config in (("pretrain", pretrain), ("train", train[0][2])):
        with about(stage):
            check_crops(config, run.extract.size)
    _, domain = outline(train[0][2].model, run.scale, train[0][2].model_args)
    if run.evaluate.protocol == "y@1" and domain.channels != "y":
        raise InputError("evaluate.protocol is y@1, which measures models of Y; the model is RGB.")
    roads = {name: read_road(stage) for name, stage in run.distilled.items()}
    check_roads(roads, _arms(run))
    return Resolved(run, pretrain, train, roads, Path(run.train.config).stem)


def _arms(run: RunConfig) -> dict[str, PruningConfig]:
    """Arms by where they stand."""
    return {f"arms.{name}": pruning for name, pruning in run.arms.items()}


def _stage(stage: StageConfig, fixed: Mapping[str, Any]) -> TrainConfig:
    """A base config with the run's changes; what the run decides itself cannot be changed."""
    for key in stage.set:
        if key.split(".")[0] in fixed:
            raise InputError(f"'{key}' is set by the run itself; take it out of 'set'.")
    changes = [f"{key}={json.dumps(value)}" for key, value in {**stage.set, **fixed}.items()]
    return load(find_config(stage.config), TrainConfig, changes)


def _pruning(arm: PruningConfig, seed: int) -> dict[str, Any]:
    """An arm for one seed: what is drawn is drawn anew, so its luck is in the interval."""
    values = arm.model_dump()
    return {**values, "seed": arm.seed + seed} if RULES.load(arm.rule).seeded else values


def run_chain(
    resolved: Resolved,
    workspace: Workspace,
    *,
    roots: list[Path],
    device: str = "auto",
    workers: int = 1,
    stopping: Callable[[], bool] = lambda: False,
    tell: Tell = lambda line: None,
    progress: Progress = silent,
) -> Report:
    """Run every stage that has not been run yet, and report.

    Args:
        resolved: from :func:`resolve`.
        workspace: gets everything.
        roots: where benchmarks are looked for.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        workers: threads for decoding.
        stopping: asked after each step of a training; True saves a checkpoint and stops. Asked on
            the way of all else, too, which then leaves nothing half-made.
        tell: told a line about each stage.
        progress: told on the way.

    Raises:
        Stopped: ``stopping`` said so.
        UserError: what the stages raise.
    """
    run, where, heed = resolved.run, pick_device(device), heeding(stopping, progress)
    benchmarks = find_benchmarks(run.evaluate.benchmarks, roots)  # missing ones show at once
    source = ImageSource.find(run.images)
    check_kept(source, run.extract, workspace)
    index = extract(source, run.extract, workspace, workers=workers, progress=heed)
    for pruning in run.arms.values():  # what does not fit is refused before any training
        window(pruning.ratio, pruning.offset, len(index))
    check_roads(resolved.roads, _arms(run), len(index))
    tell(f"{len(index):,} patches of {index.size} px from {len(index.images):,} images")
    ranked = {
        arm.score for arm in run.arms.values() if RULES.load(arm.rule).scores and arm.ratio < 1
    }
    if any(RECONSTRUCTION.get(method, NO_MODEL).least for method in ranked):
        job = plan_pretraining(resolved.pretrain, workspace, progress=heed)
        watch = held_out_validation(resolved.pretrain, job.pool, where)
        fit(
            job,
            device=where,
            resume=True,
            validate=watch,
            stopping=stopping,
            progress=progress,
        )
        tell(f"scoring model {job.folder.name}: {job.plan.steps:,} steps")
    for method in sorted(ranked):
        name, _ = score(
            workspace,
            method=method,
            scale=run.scale,
            device=device,
            tell=tell,
            progress=heed,
        )
        tell(f"scores {name}")

    for name, road in resolved.roads.items():
        distil(
            workspace,
            name,
            road,
            device=where,
            stopping=stopping,
            tell=tell,
            progress=progress,
        )

    lineage, results = Lineage(workspace), list[RunResult]()
    protocol = run.evaluate.protocol
    bicubic = evaluate_model(
        open_candidate(BICUBIC, workspace, run.scale, where),
        benchmarks,
        workspace,
        protocol=protocol,
        device=where,
        progress=heed,
    )
    results.append(RunResult(BICUBIC, -1, 0, 0, bicubic.rows))
    for arm, seed, config in resolved.train:
        job = plan_training(config, workspace, stem=resolved.stem, progress=heed)
        header = fit(
            job,
            device=where,
            resume=True,
            validate=validation(config, roots, where),
            stopping=stopping,
            progress=progress,
        )
        candidate = open_candidate(str(job.folder), workspace, run.scale, where)
        table = evaluate_model(
            candidate, benchmarks, workspace, protocol=protocol, device=where, progress=heed
        )
        cost = RunCost(job.num_bytes, header.made["seconds"], _set_seconds(job, lineage))
        results.append(RunResult(arm, seed, len(job.patch_ids), job.plan.steps, table.rows, cost))
        tell(f"{arm}, seed {seed}: {len(job.patch_ids):,} patches, {job.plan.steps:,} steps")
    return write_report(
        workspace,
        lineage.index,
        results,
        baseline=next(iter(run.arms)),
        scores={
            name: read_scores(workspace, name, index)
            for name in (score_name(method, run.scale) for method in sorted(ranked))
        },
        arms=run.arms,
    )


def _set_seconds(job: Job, lineage: Lineage) -> float | None:
    """Seconds of choosing or synthesising what a job trains on; None for the full set."""
    if "distilled" in job.parents:
        return seconds_of(lineage.workspace, str(job.config.pruning.args["set"]))
    if "coreset" in job.parents:
        return lineage.seconds(read_header(lineage.workspace.coreset(job.train_set)))
    return None
