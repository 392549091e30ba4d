"""select: from scores to a core-set, and what that keeps and drops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srprune.core.coreset import CoreSet
from srprune.core.errors import MissingArtifact, UserError
from srprune.core.names import near
from srprune.core.patches import ALIGNMENT, PatchIndex
from srprune.core.provenance import Stopwatch
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace, coreset_name, the_one
from srprune.scoring import SCORERS
from srprune.selection import RULES
from srprune.selection.rank_window import window
from srprune.stages.extract import read_index

Ids = npt.NDArray[np.int64]

UNRANKED = ("random",)  # rules that need no score table


@dataclass(frozen=True)
class Selection:
    """A core-set with everything a person asks about it.

    Attributes:
        name: of the core-set.
        coreset: the ids.
        num_patches: N.
        num_skipped: patches passed over by the offset.
        score_range: lowest and highest kept score; None for rules that do not rank.
        loss_share: share of the sum of all scores that is kept; None likewise.
        image_shares: (images,) share of each image's patches that is kept.
        pixel_share: share of the pool's pixels that the kept patches cover, overlaps counted once.
    """

    name: str
    coreset: CoreSet
    num_patches: int
    num_skipped: int
    score_range: tuple[float, float] | None
    loss_share: float | None
    image_shares: npt.NDArray[np.float64]
    pixel_share: float


def select(
    workspace: Workspace,
    *,
    rule: str,
    ratio: float,
    offset: float = 0.0,
    seed: int = 0,
    scores: str | None = None,
) -> Selection:
    """Choose a core-set and write it.

    Args:
        workspace: holds the patch index and the score tables.
        rule: ``des``, ``asc`` or ``random``.
        ratio: share of N that is kept, in (0, 1].
        offset: share of N skipped at the start of the order, in [0, 1).
        seed: of ``random``.
        scores: name of the score table; needed only where there are several.

    Raises:
        UnknownName: no such rule.
        InputError: ratio and offset that do not fit, or several score tables.
        MissingArtifact: no patch index, or no score table.
        ArtifactMismatch: the scores are those of another patch index.
    """
    watch = Stopwatch()
    choose = RULES.load(rule)
    index = read_index(workspace)
    first, _ = window(ratio, offset, len(index))  # refuses before any file is read
    parents = {"patches": index.fingerprint}
    table: ScoreTable | None = None
    if rule in UNRANKED:
        scores = None
        scores_N = np.zeros(len(index))
    else:
        scores = scores or _only_scores(workspace)
        table = read_scores(workspace, scores, index)
        parents["scores"] = table.fingerprint
        scores_N = table.scores_N
    name = coreset_name(rule, ratio, offset, scores, seed)
    path = workspace.coreset(name)
    params = {
        "rule": rule,
        "ratio": ratio,
        "offset": offset,
        "seed": seed if rule in UNRANKED else None,
        "scores": scores,
        "num_patches": len(index),
        "num_skipped": first,
    }
    ids = choose(scores_N, ratio, offset, seed)
    coreset = _already_there(path, ids, parents, params)
    if coreset is None:
        coreset = CoreSet.write(path, ids, parents=parents, params=params, made=watch.made())
    return describe(name, coreset, index, table)


def _already_there(
    path: Path, ids: Ids, parents: Mapping[str, str], params: Mapping[str, object]
) -> CoreSet | None:
    try:
        there = CoreSet.read(path)
    except UserError:
        return None
    same = there.header.parents == parents and there.header.params.items() >= params.items()
    return there if same and np.array_equal(there.patch_ids, np.sort(ids)) else None


def describe(name: str, coreset: CoreSet, index: PatchIndex, table: ScoreTable | None) -> Selection:
    """Work out what a core-set keeps."""
    kept = table.scores_N[coreset.patch_ids] if table else None
    total = float(table.scores_N.sum()) if table else 0.0
    images = len(index.images)
    everything = np.arange(len(index))
    kept_per_image = np.bincount(index.image_N[coreset.patch_ids], minlength=images)
    return Selection(
        name=name,
        coreset=coreset,
        num_patches=len(index),
        num_skipped=int(coreset.header.params["num_skipped"]),
        score_range=(float(kept.min()), float(kept.max())) if kept is not None else None,
        loss_share=float(kept.sum()) / total if kept is not None and total > 0 else None,
        image_shares=kept_per_image / index.patches_per_image,
        pixel_share=covered_pixels(index, coreset.patch_ids) / covered_pixels(index, everything),
    )


def read_scores(workspace: Workspace, name: str, index: PatchIndex) -> ScoreTable:
    """A score table by name, checked against the patch index.

    Raises:
        MissingArtifact: there is none; the message names the command that makes it.
        ArtifactMismatch: it is of another patch index.
    """
    path = workspace.scores(name)
    if not path.exists():
        there = [path.stem for path in workspace.score_tables()]
        close = near(name, there)
        hint = f" Did you mean: {close}?" if close else ""
        method = name.rpartition("_x")[0] or name
        make = f" Run 'srprune score --method {method}' first." if method in SCORERS else ""
        raise MissingArtifact(
            f"there is no score table '{name}'.{hint} Known: {', '.join(there) or 'none'}.{make}"
        )
    return ScoreTable.read(path, patches=index.fingerprint)


def _only_scores(workspace: Workspace) -> str:
    tables = workspace.score_tables()
    return the_one(tables, "score table", "--scores", "srprune score").stem


def covered_pixels(index: PatchIndex, ids: npt.NDArray[np.int64]) -> int:
    """Pixels that patches cover, overlaps counted once; windows lie on a grid of 12 px."""
    side = index.size // ALIGNMENT
    covered = 0
    for number, image in enumerate(index.images):
        own = ids[index.image_N[ids] == number]
        mask = np.zeros((image.height // ALIGNMENT, image.width // ALIGNMENT), dtype=bool)
        for top, left in zip(
            index.top_N[own] // ALIGNMENT, index.left_N[own] // ALIGNMENT, strict=True
        ):
            mask[top : top + side, left : left + side] = True
        covered += int(mask.sum())
    return covered * ALIGNMENT**2
