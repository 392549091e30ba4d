"""eval --check-tiling: how far SR from tiles is from SR of whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from srprune.core.errors import InputError
from srprune.core.out_of_memory import memory_errors
from srprune.core.progress import Progress, silent
from srprune.images.benchmarks import Benchmark
from srprune.images.decode import naming
from srprune.images.tensor import from_uint8
from srprune.models.inference import Inference
from srprune.models.restorer import NetworkRestorer
from srprune.stages.evaluate import Candidate
from srprune.stages.routing import lr_of

OUT_OF_MEMORY = "Whole images are restored, too: name smaller ones with --benchmark."


@dataclass(frozen=True)
class Gap:
    """The largest absolute difference between two SR images, of values clipped to [0, 1]."""

    benchmark: str
    image: str
    difference: float


@dataclass(frozen=True)
class TilingCheck:
    """How far SR from tiles is from SR of whole images.

    Attributes:
        model: its name.
        scale: 2, 3 or 4.
        inference: the tiles, with the overlap that the model gets.
        radius: LR px that the model sees around a pixel; None if that is all, or not known.
        gaps: one an image.
    """

    model: str
    scale: int
    inference: Inference
    radius: int | None
    gaps: tuple[Gap, ...]

    @property
    def covered(self) -> bool:
        """True if the overlap reaches as far as the model sees."""
        overlap, radius = self.inference.overlap, self.radius
        return overlap is not None and radius is not None and overlap >= radius


def check_tiling(
    candidate: Candidate,
    benchmarks: Sequence[Benchmark],
    inference: Inference,
    *,
    device: torch.device,
    progress: Progress = silent,
) -> TilingCheck:
    """Restore each image, as RGB, in tiles and as a whole, everything else alike.

    Args:
        candidate: the model, run plainly.
        benchmarks: their HR images are shrunk and restored.
        inference: with a tile.
        device: where the model is.
        progress: told after each image.

    Raises:
        ImageError: an image that cannot be decoded.
        InputError: bicubic, which is never tiled, or an image that the model cannot take or that
            is too large for the memory of the device.
    """
    restorer = candidate.subject.restorer
    if not isinstance(restorer, NetworkRestorer):
        raise InputError(f"{restorer.name} is never tiled: there is nothing to check.")
    settled = inference.settled(restorer)
    tiled = settled.wrap(restorer)
    whole = replace(settled, tile=None, overlap=None).wrap(restorer)
    images = [(benchmark, name) for benchmark in benchmarks for name in benchmark.images]
    gaps: list[Gap] = []
    for benchmark, name in images:
        path = benchmark.folder / name
        with naming(path):
            lr_B3hw = _lr_of(path, restorer.scale, device)
            with memory_errors(OUT_OF_MEMORY):
                apart = tiled(lr_B3hw).clamp(0, 1) - whole(lr_B3hw).clamp(0, 1)
        gaps.append(Gap(benchmark.name, name, apart.abs().max().item()))
        progress("check", len(gaps), len(images), benchmark.title)
    return TilingCheck(
        candidate.subject.model, restorer.scale, settled, restorer.radius, tuple(gaps)
    )


def _lr_of(path: Path, scale: int, device: torch.device) -> Tensor:
    """(1, 3, h, w) LR in [0, 1] of an HR image."""
    return from_uint8(lr_of(path, scale)[None], device)
