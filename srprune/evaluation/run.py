"""Measuring a restorer on benchmarks, image by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from srprune.core.progress import Progress, silent
from srprune.core.restorer import Restorer
from srprune.core.results import EvalRow
from srprune.evaluation.protocol import PROTOCOLS, Pixels
from srprune.images.benchmarks import Benchmark
from srprune.images.decode import decode, naming

OnImage = Callable[[Benchmark, str, Pixels], None]


@dataclass(frozen=True)
class Subject:
    """Who is measured: the columns of its rows.

    Attributes:
        restorer: the model.
        model: its name in tables, such as ``fsrcnn``.
        train_set: name of its core-set, ``full``, or ``none``.
        seed: of its training; -1 without training.
    """

    restorer: Restorer
    model: str
    train_set: str = "none"
    seed: int = -1


def evaluate(
    subject: Subject,
    benchmarks: Sequence[Benchmark],
    protocol: str,
    device: torch.device,
    *,
    on_hr: OnImage | None = None,
    on_sr: OnImage | None = None,
    progress: Progress = silent,
) -> list[EvalRow]:
    """PSNR-Y and SSIM-Y of every image.

    Args:
        subject: the model and where it comes from.
        benchmarks: images to measure on.
        protocol: ``rgb8@1`` or ``y@1``.
        device: where the model is.
        on_hr: called with each HR image before it is measured, such as a leak guard.
        on_sr: called with each SR image, such as to save it.
        progress: told after each image.

    Raises:
        ImageError: an image that cannot be decoded; the message names it.
        InputError: an image that is too small, or a model that the protocol cannot measure.
    """
    measure = PROTOCOLS[protocol]
    restorer = subject.restorer
    rows: list[EvalRow] = []
    total = sum(len(benchmark.images) for benchmark in benchmarks)
    for benchmark in benchmarks:
        for name in benchmark.images:
            path = benchmark.folder / name
            with naming(path):
                hr = decode(path)
            if on_hr:
                on_hr(benchmark, name, hr)
            with naming(path):
                figures = measure(restorer, hr, device)
            if on_sr:
                on_sr(benchmark, name, figures.sr)
            rows += [
                EvalRow(
                    model=subject.model,
                    train_set=subject.train_set,
                    seed=subject.seed,
                    scale=restorer.scale,
                    benchmark=benchmark.name,
                    image=name,
                    metric=metric,
                    value=value,
                    protocol=protocol,
                )
                for metric, value in (("psnr_y", figures.psnr_y), ("ssim_y", figures.ssim_y))
            ]
            progress("evaluate", len(rows) // 2, total, benchmark.title)
    return rows
