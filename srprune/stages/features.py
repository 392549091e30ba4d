"""Features of patches: computed once from the pixels, kept in the workspace."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError, UserError
from srprune.core.features import FeatureTable
from srprune.core.names import unknown
from srprune.core.parallel import in_threads
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.workspace import Workspace
from srprune.data.patches import PatchPool
from srprune.images.descriptors import FEATURES, Descriptor
from srprune.images.store import PixelStore
from srprune.stages.extract import open_hr


def features_of(
    workspace: Workspace, name: str, index: PatchIndex, progress: Progress = silent
) -> FeatureTable:
    """A table of features by name; ours are made where they are missing or of other patches.

    Args:
        workspace: holds the patches and their pixels; gets the table.
        name: ``texture``, ``gradient``, ``dhash``, or that of a table made elsewhere.
        index: the patches.
        progress: told after each image.

    Raises:
        UnknownName: neither one of ours nor a table of the workspace.
        MissingArtifact: the pixels are gone.
        ArtifactMismatch: a table made elsewhere is of other patches.
    """
    path = workspace.features(name)
    if name not in FEATURES:
        others = [each.stem for each in sorted(path.parent.glob("*.parquet"))]
        if name not in others:  # a name, never a path
            raise unknown("feature", name, [*FEATURES, *others])
        return _whole(FeatureTable.read(path, patches=index.fingerprint), name, index)
    if there := _there(path, name, index):
        return there
    return _made(path, name, name, index, open_hr(workspace, index), 1, progress)


def lr_features_of(
    workspace: Workspace, name: str, pool: PatchPool, progress: Progress = silent
) -> FeatureTable:
    """The same of the patches' LR, kept beside those of HR as ``gradient_lr_x2``.

    Args:
        workspace: gets the table.
        name: of one of our features.
        pool: the patches, with LR.
        progress: told after each image.
    """
    index, title = pool.index, f"{name}_lr_x{pool.scale}"
    path = workspace.features(title)
    if there := _there(path, title, index):
        return there
    return _made(path, title, name, index, pool.lr_store, pool.scale, progress)


def _there(path: Path, title: str, index: PatchIndex) -> FeatureTable | None:
    """A table of ours, if it is of these patches."""
    try:
        there = FeatureTable.read(path, patches=index.fingerprint)
    except UserError:
        return None
    return there if there.header.params == {"features": title} else None


def _made(
    path: Path,
    title: str,
    name: str,
    index: PatchIndex,
    pixels: PixelStore,
    scale: int,
    progress: Progress,
) -> FeatureTable:
    watch = Stopwatch()
    descriptor: Descriptor = FEATURES.load(name)
    return FeatureTable.write(
        path,
        _compute(descriptor, title, index, pixels, scale, progress),
        descriptor.names,
        parents={"patches": index.fingerprint},
        params={"features": title},
        made=watch.made(),
    )


def _compute(
    descriptor: Descriptor,
    name: str,
    index: PatchIndex,
    pixels: PixelStore,
    scale: int,
    progress: Progress,
) -> npt.NDArray[np.float32]:
    """(N, D) of images that are ``scale`` times smaller than those of the index."""
    features_ND = np.empty((len(index), len(descriptor.names)), dtype=np.float32)
    ends = np.cumsum(index.patches_per_image)

    def one(image: int) -> None:
        own = slice(ends[image] - index.patches_per_image[image], ends[image])
        features_ND[own] = descriptor.compute(
            pixels.image(image),
            index.top_N[own] // scale,
            index.left_N[own] // scale,
            index.size // scale,
        )

    images = range(len(index.images))
    for done, (_, future) in enumerate(in_threads(one, images, os.cpu_count() or 1), start=1):
        future.result()
        progress(f"features {name}", done, len(images))
    return features_ND


def _whole(table: FeatureTable, name: str, index: PatchIndex) -> FeatureTable:
    if len(table) != len(index):
        raise InputError(
            f"the features '{name}' have {len(table)} rows, and there are {len(index)} patches. "
            "Make them again, a row a patch."
        )
    return table
