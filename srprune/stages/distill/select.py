"""distill select: the windows that a diffusion model is trained on, as a core-set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import canonical, digest
from srprune.core.coreset import CoreSet
from srprune.core.errors import ArtifactMismatch, InputError, UserError
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace, coreset_name
from srprune.distill.config import SelectConfig
from srprune.distill.round_trip import BELOW, METHOD, SCALE, TABLE, RoundTrip, psnr_of
from srprune.scoring.run import forget, score_patches
from srprune.stages.coresets import Selection, describe, read_scores
from srprune.stages.coresets import select as select_by_rule
from srprune.stages.extract import read_index
from srprune.stages.pool import open_pool
from srprune.stages.score import BATCH, score

RULE = METHOD  # in the header of a core-set that a threshold chose


def select(
    workspace: Workspace,
    config: SelectConfig,
    *,
    name: str | None = None,
    restart: bool = False,
    progress: Progress = silent,
) -> Selection:
    """Choose the windows; scores are made where they are missing, and stay in the workspace.

    With a ratio the core-set is that of ``srprune select --rule des`` on the same scores.

    Args:
        workspace: holds the patches and their pixels; gets scores and core-set.
        config: which windows.
        name: of the core-set that a threshold chooses; by default its rule and the threshold.
        restart: replace Sobel scores of other patches.
        progress: told while patches are scored.

    Raises:
        MissingArtifact: no patch index, or its pixels are gone.
        InputError: no window is below the threshold, or the ratio keeps none.
        ArtifactMismatch: Sobel scores of this name were made from other patches.
    """
    watch = Stopwatch()
    index = read_index(workspace)
    if config.score == "sobel":
        try:
            scores, _ = score(workspace, method="sobel", restart=restart, progress=progress)
        except ArtifactMismatch:
            read_scores(workspace, "sobel", index)  # of other patches: says how to make them again
            raise
    else:
        scores, table = TABLE, round_trip_scores(workspace, index, progress)
    if config.ratio is not None:
        return select_by_rule(workspace, rule="des", ratio=config.ratio, scores=scores)
    below = BELOW if config.below is None else config.below
    psnr_N = psnr_of(table.scores_N)
    ids = np.flatnonzero(psnr_N < below)
    if not len(ids):
        least = int(psnr_N.argmin())
        raise InputError(
            f"none of {len(index)} patches is below {below:g} dB: the lowest PSNR of a bicubic "
            f"x{SCALE} round trip is {psnr_N[least]:.2f} dB, of patch {least}. Set below higher, "
            "or give a ratio, the hardest share."
        )
    threshold = f"below{str(below).removesuffix('.0')}"
    name = name or coreset_name(RULE, 0.0, 0.0, TABLE, 0, budget=threshold)
    params = {
        "rule": RULE,
        "ratio": len(ids) / len(index),
        "offset": 0.0,
        "seed": None,  # none has an effect
        "scores": TABLE,
        "num_patches": len(index),
        "num_skipped": 0,
        "settings": {"below": below},
    }
    parents = {"patches": index.fingerprint, "scores": table.fingerprint}
    coreset = _written(workspace, name, ids, parents, params, watch)
    return describe(name, coreset, index, table)


def round_trip_scores(
    workspace: Workspace, index: PatchIndex, progress: Progress = silent
) -> ScoreTable:
    """The table ``round_trip_x4``, as it is there or made now; a killed one goes on.

    Args:
        workspace: gets the table.
        index: the patches; a table of others is made again.
        progress: told after each batch.

    Raises:
        MissingArtifact: the pixels are gone.
    """
    path, watch = workspace.scores(TABLE), Stopwatch()
    parents, params = (
        {"patches": index.fingerprint},
        {"method": METHOD, "scale": SCALE, "made_by": "srprune distill select"},
    )
    try:
        table = ScoreTable.read(path)
    except UserError:
        pass
    else:
        if table.header.parents == parents and table.header.params == params:
            return table
    partial = path.with_name(f"{TABLE}.part")
    scores_N = score_patches(
        open_pool(workspace, SCALE, progress, with_lr=False),
        RoundTrip(),
        batch=BATCH,
        partial=partial,
        plan=digest(canonical(parents), canonical(params), str(BATCH)),
        progress=progress,
    )
    table = ScoreTable.write(path, scores_N, parents=parents, params=params, made=watch.made())
    forget(partial)
    return table


def _written(
    workspace: Workspace,
    name: str,
    ids: npt.NDArray[np.int64],
    parents: Mapping[str, str],
    params: Mapping[str, Any],
    watch: Stopwatch,
) -> CoreSet:
    """The core-set of this name, unless just this one is there."""
    path = workspace.coreset(name)
    try:
        there = CoreSet.read(path)
    except UserError:
        pass
    else:
        same = there.header.parents == parents and there.header.params.items() >= params.items()
        if same and np.array_equal(there.patch_ids, ids):
            return there
    return CoreSet.write(path, ids, parents=parents, params=params, made=watch.made())
