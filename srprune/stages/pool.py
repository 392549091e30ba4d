"""Opening the patches of a workspace at a scale, with LR made where it is missing."""

from __future__ import annotations

import contextlib
import os

from srprune.core.artifact import digest
from srprune.core.errors import MissingArtifact
from srprune.core.lock import in_turn
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.workspace import Workspace
from srprune.data.patches import PatchPool
from srprune.images import bicubic
from srprune.images.packed_store import PackedStore
from srprune.images.pixels import build_pixels, finish_pixels, open_pixels
from srprune.images.store import PixelStore
from srprune.stages.extract import open_hr, read_index

DEGRADATION = "matlab-bicubic-uint8-symmetric"  # what LR is, in every artifact


def open_pool(
    workspace: Workspace, scale: int, progress: Progress = silent, *, with_lr: bool = True
) -> PatchPool:
    """Patches with their LR twins, or HR patches alone.

    LR is MATLAB's bicubic of the whole image, kept in a store of its own, compressed if HR is.

    Raises:
        MissingArtifact: no patch index, or its pixels are gone.
    """
    index = read_index(workspace)
    hr = open_hr(workspace, index)
    lr = _open_lr(workspace, index, hr, scale, progress) if with_lr else None
    return PatchPool(index, hr, lr, scale)


def _open_lr(
    workspace: Workspace, index: PatchIndex, hr: PixelStore, scale: int, progress: Progress
) -> PixelStore:
    path = workspace.lr_pixels(scale)
    key = digest(index.pixels, str(scale), DEGRADATION)
    shapes = [(height // scale, width // scale) for height, width in hr.shapes]
    names = [f"LR x{scale} of {image.path}" for image in index.images]
    compress = isinstance(hr, PackedStore)
    with contextlib.suppress(MissingArtifact):
        return open_pixels(path, key, shapes, names)
    with in_turn(path.parent, progress=progress):
        with contextlib.suppress(MissingArtifact):  # another process was faster
            return open_pixels(path, key, shapes, names)
        build_pixels(
            path,
            key,
            shapes,
            lambda i: (bicubic.downscale(hr.image(i), scale), ""),
            compress=compress,
            label=f"LR x{scale}",
            workers=os.cpu_count() or 1,
            progress=progress,
        )
        return finish_pixels(path, key, shapes, compress=compress, names=names)
