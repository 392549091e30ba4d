"""Scoring all patches of an index, batch by batch, going on after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import atomic_path
from srprune.core.progress import Progress, silent
from srprune.data.patches import Ids, PatchPool

SAVE_EVERY = 5.0  # seconds: what a kill can cost

Scorer = Callable[[Ids, PatchPool], npt.NDArray[np.float64]]


def score_patches(
    pool: PatchPool,
    scorer: Scorer,
    *,
    batch: int,
    partial: Path,
    plan: str,
    progress: Progress = silent,
) -> npt.NDArray[np.float64]:
    """Scores of all patches.

    Args:
        pool: the patches.
        scorer: (patch ids, pool) -> scores.
        batch: patches at a time; changes scores by less than 1e-5 of their value.
        partial: where finished scores are kept on the way; removed by the caller in the end.
        plan: fingerprint of index, scorer and batch; a partial file of another plan is ignored.
        progress: told after each batch.

    Returns:
        (N,) float64.
    """
    scores_N = np.zeros(len(pool))
    done = _load(partial, plan, scores_N)
    saved = time.monotonic()
    for first in range(done, len(pool), batch):
        ids = np.arange(first, min(first + batch, len(pool)))
        scores_N[ids] = scorer(ids, pool)
        done = first + len(ids)
        if time.monotonic() - saved > SAVE_EVERY:
            with atomic_path(partial) as temporary, open(temporary, "wb") as file:
                np.savez(file, plan=np.array(plan), scores=scores_N[:done])
            saved = time.monotonic()
        progress("score", done, len(pool))
    return scores_N


def _load(partial: Path, plan: str, scores_N: npt.NDArray[np.float64]) -> int:
    """Fill in what an earlier attempt has scored; return how many that are."""
    try:
        with open(partial, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            if str(file["plan"]) != plan:
                return 0
            scores = file["scores"]
    except Exception:  # missing; or damaged, when numpy and zipfile raise nearly anything
        return 0
    scores_N[: len(scores)] = scores
    return len(scores)
