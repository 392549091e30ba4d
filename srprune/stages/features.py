"""Features of patches: computed once from the pixels, kept in the workspace."""

from __future__ import annotations

import os

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
    try:
        there = FeatureTable.read(path, patches=index.fingerprint)
    except UserError:
        pass
    else:
        if there.header.params == {"features": name}:
            return there
    watch = Stopwatch()
    descriptor: Descriptor = FEATURES.load(name)
    features_ND = _compute(descriptor, name, index, open_hr(workspace, index), progress)
    return FeatureTable.write(
        path,
        features_ND,
        descriptor.names,
        parents={"patches": index.fingerprint},
        params={"features": name},
        made=watch.made(),
    )


def _compute(
    descriptor: Descriptor, name: str, index: PatchIndex, hr: PixelStore, progress: Progress
) -> npt.NDArray[np.float32]:
    features_ND = np.empty((len(index), len(descriptor.names)), dtype=np.float32)
    ends = np.cumsum(index.patches_per_image)

    def one(image: int) -> None:
        own = slice(ends[image] - index.patches_per_image[image], ends[image])
        features_ND[own] = descriptor.compute(
            hr.image(image), index.top_N[own], index.left_N[own], index.size
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
