"""What a run with the rule ``distilled`` trains on: some images of a synthesised set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import check_parent
from srprune.core.config import PruningConfig
from srprune.core.errors import InputError, MissingArtifact
from srprune.core.patches import PatchIndex
from srprune.core.workspace import Workspace
from srprune.distill.provenance import TABLE, check_folder
from srprune.selection.rule import Pool, Rule, portion

MAKE = "srprune distill synthesise"


class Drawn(NamedTuple):
    """Images of a set.

    Attributes:
        ids: rows of the set's own patch index, sorted.
        folder: of the set, which is a workspace of its own.
        fingerprint: of the set.
    """

    ids: npt.NDArray[np.int64]
    folder: Path
    fingerprint: str


def drawn_images(
    rule: Rule,
    pruning: PruningConfig,
    settings: Mapping[str, Any],
    workspace: Workspace,
    index: PatchIndex,
) -> Drawn:
    """Draw as many images as the ratio keeps patches, as many of each category.

    Args:
        rule: ``distilled``.
        pruning: ratio and seed.
        settings: of the rule; ``set`` is the name of the synthesised set.
        workspace: holds it.
        index: the pool's patches, of which the ratio is.

    Raises:
        MissingArtifact: no such set, or none is named and there is not just one.
        ArtifactMismatch: it was synthesised from other patches.
        ArtifactError: it is damaged, or was edited by hand.
        InputError: it has too few images, or images of another size.
    """
    folder = _folder(str(settings["set"]), workspace)
    made = check_folder(folder)
    check_parent(folder / TABLE, made.header, "patches", index.fingerprint, f"Run '{MAKE}' again.")
    size = portion(pruning.ratio, len(index))
    if not 1 <= size <= len(made):
        raise InputError(
            f"pruning.ratio {pruning.ratio:g} of {len(index):,} patches asks for {size:,} images, "
            f"and {folder} has {len(made):,}. Choose a ratio of {1 / len(index):.2g} to "
            f"{len(made) / len(index):.4g}, or synthesise more."
        )
    if made.header.params["size"] != index.size:
        raise InputError(
            f"the images in {folder} have {made.header.params['size']} px, and the patches "
            f"{index.size} px. Run '{MAKE}' again."
        )
    pool = Pool(len(made), seed=pruning.seed, labels_N=made.categories)
    choice = rule.prepare(pool, **settings).take(size)
    return Drawn(choice.ids, folder, made.fingerprint)


def _folder(name: str, workspace: Workspace) -> Path:
    """The folder of a set, by its name or since it is the only one."""
    there = sorted(path.parent for path in workspace.root.glob(f"distilled/*/{TABLE}"))
    names = ", ".join(folder.name for folder in there) or "none"
    if name:
        if workspace.distilled(name) in there:
            return workspace.distilled(name)
        raise MissingArtifact(
            f"there is no synthesised set '{name}' (pruning.args.set; there: {names}). Run "
            f"'{MAKE}' first."
        )
    if len(there) == 1:
        return there[0]
    raise MissingArtifact(
        f"pruning.args.set must name a synthesised set (there: {names})."
        + ("" if there else f" Run '{MAKE}' first.")
    )
