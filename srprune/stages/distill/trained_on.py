"""The patches that a generator was trained on, found again in its workspace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import read_header
from srprune.core.coreset import CoreSet
from srprune.core.errors import MissingArtifact, UserError
from srprune.core.groups import NO_GROUP, GroupTable
from srprune.core.patches import PatchIndex
from srprune.core.workspace import Workspace
from srprune.distill.generator import Generator


def ids_trained_on(
    workspace: Workspace, generator: Generator, index: PatchIndex
) -> npt.NDArray[np.int64]:
    """Ids of the patches that a generator was trained on: those of its core-set with a group.

    Args:
        workspace: holds groups and core-set, under any name.
        generator: that was trained on them.
        index: the patches.

    Raises:
        MissingArtifact: one of them is gone.
    """
    parents, remedy = generator.header.parents, "Make it again, or fine-tune the generator anew."
    groups = _by_fingerprint(
        workspace.groups("any").parent, parents.get("groups", ""), f"groups. {remedy}"
    )
    grouped_N = GroupTable.read(groups, patches=index.fingerprint).labels_N != NO_GROUP
    ids = np.flatnonzero(grouped_N)
    if "coreset" in parents:
        coreset = _by_fingerprint(
            workspace.coreset("any").parent, parents["coreset"], f"core-set. {remedy}"
        )
        ids = np.intersect1d(ids, CoreSet.read(coreset, patches=index.fingerprint).patch_ids)
    return ids


def _by_fingerprint(folder: Path, fingerprint: str, what: str) -> Path:
    """The table of a folder that has a fingerprint, whatever its name is now.

    Raises:
        MissingArtifact: none has.
    """
    for path in sorted(folder.glob("*.parquet")):
        try:
            if read_header(path).fingerprint == fingerprint:
                return path
        except UserError:  # another one may do
            continue
    raise MissingArtifact(
        f"{folder} no longer holds what the generator was trained on, {fingerprint} as its {what}"
    )
