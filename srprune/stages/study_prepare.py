"""study: what its cells share, made before any of them is trained."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial

from srprune.core.artifact import canonical
from srprune.core.config import TrainConfig
from srprune.core.configs import find_config
from srprune.core.errors import InputError, LeakError, about
from srprune.core.lock import exclusive, in_turn
from srprune.core.patches import PatchIndex
from srprune.core.yaml_file import load
from srprune.images.benchmarks import Benchmark
from srprune.scoring import RECONSTRUCTION
from srprune.selection.rule import portion
from srprune.stages.distill.road import distil
from srprune.stages.distill.road_plan import Road
from srprune.stages.evaluate import BICUBIC, evaluate_model, open_candidate
from srprune.stages.extract import ImageSource, check_kept, extract
from srprune.stages.job import check_crops, lag_of
from srprune.stages.leak import shared_with
from srprune.stages.pool import open_pool
from srprune.stages.pool_images import find_images
from srprune.stages.pretrain import held_out_validation, plan_pretraining
from srprune.stages.remake import made
from srprune.stages.score import Options, score
from srprune.stages.study_plan import roads_of, steps_of
from srprune.stages.study_setting import Setting, fit_or_remake
from srprune.studies.config import ScoreConfig, StudyConfig
from srprune.studies.grid import Cell

NETWORK = {"model", "model_args", "scale", "lr_crop", "skip_rim"}  # what crops have to fit


def prepare(study: StudyConfig, cells: Sequence[Cell], setting: Setting) -> None:
    """Make what all cells need: patches, LR, scoring models, score tables, bicubic's figures.

    One process makes them; others that share the workspace wait meanwhile. Synthesised sets take
    longer, and not every cell needs them: :func:`prepare_set` makes each when its turn comes.

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
        roads_of(study, cells, len(index))  # a set that is too small is refused at once
        tables = {
            scale: _tables(study, cells, scale) for scale in sorted({c.config.scale for c in cells})
        }
        _check(cells, index)
        models = {
            scale: _scoring_models(study, scores.values(), scale, index)
            for scale, scores in tables.items()
        }
        for note in _averages(cells, len(index)):
            setting.tell(f"warning: {note}")
        _check_leak(index, setting.benchmarks)
        for scale, scores in tables.items():
            open_pool(workspace, scale, progress)
            for name, config in models[scale].items():
                _pretrain(config, f"{name}_x{scale}", setting)
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


def prepare_set(name: str, road: Road, setting: Setting) -> None:
    """Make a synthesised set that cells train on, or find it.

    Args:
        name: of the set.
        road: how it is made.
        setting: where and how; :func:`prepare` has been called.

    Raises:
        Busy: another process is making it.
        UserError: what the stages raise.
    """
    with exclusive(setting.workspace.at_work(f"set_{name}")):
        distil(
            setting.workspace,
            name,
            road,
            device=setting.where,
            edited=setting.edited,
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
            with about(f"cell '{cell.label}'"):
                check_crops(config, index.size)


def _averages(cells: Sequence[Cell], num_patches: int) -> Iterable[str]:
    """What is to be said of moving averages that steps are too few for, once each."""
    notes: dict[str, None] = {}
    for cell in cells:
        steps = steps_of(cell, num_patches)
        if steps and (behind := lag_of(cell.config, steps)):
            notes[f"{cell.config.model}: {behind}"] = None
    return notes


def _check_leak(index: PatchIndex, benchmarks: Sequence[Benchmark]) -> None:
    """Refuse, before anything is trained, to measure on a training image.

    Raises:
        LeakError: an image of a benchmark has the pixels of one of the pool.
    """
    for benchmark in benchmarks:
        if shared := shared_with(benchmark, index.images):
            name, path = next(iter(shared.items()))
            raise LeakError(
                f"{name} of {benchmark.title} is also a training image ({path}, the same pixels). "
                "Choose other benchmarks (evaluate.benchmarks), or train without it (images)."
            )


def _tables(study: StudyConfig, cells: Sequence[Cell], scale: int) -> dict[str, ScoreConfig]:
    """The score tables that cells of a scale rank by, by name."""
    named = sorted({cell.score for cell in cells if cell.score and cell.config.scale == scale})
    return {name: study.scores.get(name, ScoreConfig(method=name)) for name in named}


def _scoring_models(
    study: StudyConfig, tables: Iterable[ScoreConfig], scale: int, index: PatchIndex
) -> dict[str, TrainConfig]:
    """The scoring models that tables need, by name, each as it is to be trained.

    Raises:
        InputError: settings that the patches do not allow.
    """
    configs = {}
    for name in dict.fromkeys(each for table in tables for each in table.scorers):
        stage = study.scorers[name]
        changes = {**stage.set, "scale": scale, "pruning.ratio": 1, "pruning.offset": 0}
        configs[name] = load(
            find_config(stage.config),
            TrainConfig,
            [f"{key}={json.dumps(value)}" for key, value in changes.items()],
        )
        with about(f"scorers.{name} at x{scale} ({stage.config})"):
            check_crops(configs[name], index.size)
    return configs


def _pretrain(config: TrainConfig, name: str, setting: Setting) -> None:
    """Train a scoring model on all patches, unless it is there."""
    job = plan_pretraining(config, setting.workspace, name=name, progress=setting.heeding)
    fit_or_remake(job, held_out_validation(config, job.pool, setting.where), setting)
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
    table_name, _ = made(make, partial(make, restart=True), edited=setting.edited)
    setting.tell(f"scores {table_name}")
