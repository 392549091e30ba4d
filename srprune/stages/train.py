"""train: a network on a core-set, or on the full set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from srprune.core.config import TrainConfig
from srprune.core.errors import InputError
from srprune.core.out_of_memory import memory_errors
from srprune.core.progress import Progress, silent
from srprune.core.results import benchmark_means
from srprune.core.workspace import Workspace
from srprune.evaluation.protocol import check_size
from srprune.evaluation.run import Subject, evaluate
from srprune.images.benchmarks import Benchmark, find_benchmark
from srprune.images.decode import naming, read_shape
from srprune.models.build import load_weights, outline
from srprune.models.restorer import NetworkRestorer, restorer_of
from srprune.reporting.curves import write_curves
from srprune.stages.evaluate import files_of
from srprune.stages.extract import read_index
from srprune.stages.job import Job, check_batch, check_crops
from srprune.stages.leak import shared_with
from srprune.stages.pool import open_pool
from srprune.stages.preview import write_preview
from srprune.stages.restorers import initial_weights
from srprune.stages.training_set import training_set
from srprune.stages.weighting import hes_weights
from srprune.training.loop import Validation
from srprune.training.optimizer import make_optimizer


def plan_training(
    config: TrainConfig,
    workspace: Workspace,
    *,
    stem: str,
    name: str | None = None,
    coreset: Path | None = None,
    remake: bool = False,
    progress: Progress = silent,
) -> Job:
    """Find or make the core-set of a config, and plan the run.

    Args:
        config: the training config.
        workspace: holds patches, scores, core-sets; gets the run.
        stem: what the run's name begins with, such as ``fsrcnn_x2``.
        name: of the run; by default made of stem, core-set and seed.
        coreset: a core-set file to train on instead of what ``config.pruning`` asks for.
        remake: choose again where the core-set that is there was made from other inputs.
        progress: told while LR is made.

    Raises:
        MissingArtifact: patches, scores or a synthesised set that are not there yet.
        InputError: settings that do not go together.
        ArtifactMismatch: a core-set or scores of another patch index.
    """
    network, _ = outline(config.model, config.scale, config.model_args)  # a fault here is cheap
    make_optimizer(network, config.optimizer, network.last_layer)
    check_crops(config, read_index(workspace).size)
    pool = open_pool(workspace, config.scale, progress)
    chosen = training_set(config, workspace, pool.index, coreset, remake, progress)
    weights, origin = chosen.weights, None
    if chosen.distilled:
        if config.sampling:
            raise InputError(
                "sampling is by classes of the pool's patches, and pruning.rule distilled trains "
                "on synthesised images. Leave sampling out."
            )
        origin, pool = pool.index, open_pool(Workspace(chosen.distilled), config.scale, progress)
    if config.sampling:
        weights = hes_weights(config, chosen, pool, workspace, progress)
    run = name or f"{stem}__{chosen.name}__seed{config.seed}"
    init, mark = initial_weights(config, workspace)
    job = Job(
        workspace.run(run),
        config,
        pool,
        chosen.patch_ids,
        chosen.name,
        {**chosen.parents, **mark},
        init,
        patch_weights=weights,
        adaptive=chosen.adaptive,
        origin=origin,
    )
    check_batch(job)
    return job


VALIDATION_OUT_OF_MEMORY = (
    "Validation restores whole images: name a benchmark of smaller ones in validation.benchmark, "
    "or null."
)


def validation(config: TrainConfig, roots: list[Path], device: torch.device) -> Validation | None:
    """What is measured on the way: PSNR-Y and SSIM-Y (rgb8@1) of the config's benchmark.

    Raises:
        MissingArtifact: the benchmark is not there.
        ImageError: an image that is none; it shows at once, not when it is to be measured.
        InputError: an image that is too small, likewise.
    """
    if config.validation.benchmark is None:
        return None
    benchmark = find_benchmark(config.validation.benchmark, roots)
    fresh, domain = outline(config.model, config.scale, config.model_args)
    _check_sizes(benchmark, restorer_of(config.model, fresh, domain, "not trained"))

    def measure(network: nn.Module) -> Mapping[str, float]:
        restorer = restorer_of(config.model, network, domain, "in training")
        with memory_errors(VALIDATION_OUT_OF_MEMORY):
            rows = evaluate(Subject(restorer, config.model), [benchmark], "rgb8@1", device)
        return {metric: value for (_, metric), value in benchmark_means(rows).items()}

    return Validation(files_of([benchmark])[benchmark.name], measure)


def _check_sizes(benchmark: Benchmark, restorer: NetworkRestorer) -> None:
    scale = restorer.scale
    for name in benchmark.images:
        path = benchmark.folder / name
        with naming(path):
            height, width = read_shape(path)
            check_size(height, width, scale)
            restorer.check_size(height // scale, width // scale)


def shared_images(job: Job, roots: list[Path]) -> list[str]:
    """Images of the validation benchmark that the core-set holds too, found by content.

    Raises:
        ImageError: an image that cannot be decoded.
    """
    if job.config.validation.benchmark is None:
        return []
    benchmark = find_benchmark(job.config.validation.benchmark, roots)
    index = job.pool.index
    images = [index.images[i] for i in np.unique(index.image_N[job.reachable_ids])]
    return list(shared_with(benchmark, images))


def curves(job: Job) -> Path | None:
    """Draw loss and PSNR of a finished run; None where nothing was logged.

    Raises:
        MissingDependency: matplotlib is not there.
    """
    path = job.folder / "curves.png"
    if path.exists() and path.stat().st_mtime >= job.weights.stat().st_mtime:
        return path
    return path if write_curves(job.folder, path) else None


def preview(job: Job, roots: list[Path], device: torch.device) -> Path | None:
    """Picture a finished run on its validation benchmark; None where it has none.

    Raises:
        MissingDependency: torchvision is not there, or was built for another torch.
    """
    if job.config.validation.benchmark is None:
        return None
    network, domain, header = load_weights(job.weights)
    restorer = restorer_of(job.config.model, network.to(device), domain, header.fingerprint)
    path = job.folder / "preview.png"
    write_preview(restorer, find_benchmark(job.config.validation.benchmark, roots), path, device)
    return path
