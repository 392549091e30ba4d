"""Scoring all patches of an index, batch by batch, going on after a kill."""

from __future__ import annotations

import time
from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from srprune.core.artifact import atomic_path
from srprune.core.errors import InputError
from srprune.core.out_of_memory import is_out_of_memory
from srprune.core.progress import Progress, silent
from srprune.data.patches import Ids, PatchPool

SAVE_EVERY = 5.0  # seconds: what a kill can cost

Scorer = Callable[[Ids, PatchPool], npt.NDArray[np.float64]]
Scores = npt.NDArray[np.float64]
Cells = npt.NDArray[np.float32]
Kept = TypeVar("Kept", Scores, Cells)


def score_patches(
    pool: PatchPool,
    scorer: Scorer,
    *,
    batch: int,
    partial: Path,
    plan: str,
    rank: int = 0,
    processes: int = 1,
    wait: Callable[[], None] = lambda: None,
    progress: Progress = silent,
    cells_NHW: Cells | None = None,
    within: range | None = None,
) -> Scores:
    """Scores of all patches, or of those that fall to this process.

    Batches are the same however many processes there are, so scores are, too. Where a device has no
    room for a batch, it is halved, for good.

    Args:
        pool: the patches.
        scorer: (patch ids, pool) -> scores.
        batch: patches at a time; changes scores by less than 1e-5 of their value.
        partial: ``NAME.part``; ``NAME.part0.npz`` and so on keep finished scores on the way, and
            are removed by the caller in the end.
        plan: fingerprint of index, scorer and batch; partial files of another plan are ignored.
        rank: number of this process.
        processes: how many share the work.
        wait: returns when all of them have called it.
        progress: told after each batch.
        cells_NHW: error maps, NaN at first, which the scorer fills in as it goes; kept with the
            scores.
        within: patch ids that are scored; None for all.

    Returns:
        (N,) float64; NaN where another process has the score, and without ``within``.

    Raises:
        InputError: there is not enough memory for a single patch.
    """
    scores_N = np.full(len(pool), np.nan)
    for part in parts_of(partial):
        _take(part, plan, scores_N, cells_NHW)
    wait()  # all have seen the same files before one of them writes
    within = within or range(len(pool))
    batches = [range(first, min(first + batch, within.stop)) for first in within[::batch]]
    left = [ids for ids in batches if np.isnan(scores_N[ids.start : ids.stop]).any()]
    share = np.array_split(np.arange(len(left)), processes)[rank]
    own = [left[number] for number in share]
    done, limit, saved = len(within) - sum(map(len, own)), batch, time.monotonic()
    for each in own:
        ids = np.arange(each.start, each.stop)
        limit = _score(scorer, ids, pool, limit, scores_N)
        done += len(ids)
        if time.monotonic() - saved > SAVE_EVERY:
            _keep(partial.with_name(f"{partial.name}{rank}.npz"), plan, scores_N, cells_NHW)
            saved = time.monotonic()
        progress("score", done, len(within))
    return scores_N


def parts_of(partial: Path) -> list[Path]:
    """The files that processes left on the way."""
    return sorted(partial.parent.glob(f"{escape(partial.name)}*.npz"))


def forget(partial: Path) -> None:
    """Remove what processes left on the way, and what a killed one was just writing."""
    cut_off = partial.parent.glob(f".{escape(partial.name)}*.npz.*.part")
    for left in [*parts_of(partial), *cut_off]:
        left.unlink(missing_ok=True)


def merged(parts: list[Kept]) -> Kept:
    """The scores, or error maps, of several processes as one array."""
    whole = parts[0].copy()
    for part in parts[1:]:
        missing = np.isnan(whole)
        whole[missing] = part[missing]
    return whole


def _score(scorer: Scorer, ids: Ids, pool: PatchPool, limit: int, scores_N: Scores) -> int:
    """Score a batch in pieces of at most ``limit`` patches; return what fits from now on."""
    first = 0
    while first < len(ids):
        piece = ids[first : first + limit]
        try:
            scores_N[piece] = scorer(piece, pool)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if limit == 1:
                raise InputError(
                    "there is not enough memory to score a single patch. Extract smaller patches, "
                    "or choose another --device."
                ) from error
            limit = min(limit, len(piece)) // 2 or 1
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            continue
        first += len(piece)
    return limit


def _keep(part: Path, plan: str, scores_N: Scores, cells_NHW: Cells | None) -> None:
    """Write what is finished, atomically."""
    arrays: dict[str, Any] = {"plan": np.array(plan), "scores": scores_N}
    if cells_NHW is not None:
        arrays["cells"] = cells_NHW[~np.isnan(scores_N)]
    with atomic_path(part) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def _take(part: Path, plan: str, scores_N: Scores, cells_NHW: Cells | None) -> None:
    """Fill in what an earlier attempt has finished."""
    try:
        with open(part, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            if str(file["plan"]) != plan:
                return
            scores = file["scores"]
            there = ~np.isnan(scores)
            if cells_NHW is not None:
                cells_NHW[there] = file["cells"]
            scores_N[there] = scores[there]
    except Exception:  # damaged: numpy and zipfile raise nearly anything
        return
