"""Categories of patches: features of each, and k-means over those of a core-set.

Cho et al. (IEEE SPL 32, 2025) take image features of CLIP and k = 7; the groups stand in for the
class labels that a class-conditional diffusion model asks for.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import atomic_path
from srprune.core.errors import InputError
from srprune.core.features import Features
from srprune.core.groups import NO_GROUP, Labels
from srprune.core.progress import Progress, silent
from srprune.data.patches import Ids, PatchPool
from srprune.selection.clustered import k_means

SAVE_EVERY = 30.0  # seconds: what a kill can cost


class PatchFeatures(Protocol):
    """One kind of features, ready to look at patches.

    Attributes:
        names: of the D features.
        parents: fingerprints of what they ask beside the patches, such as weights.
        divided: whether k-means divides each feature by its spread; published features are taken
            as they are.
        batch: patches at a time.
    """

    names: tuple[str, ...]
    parents: dict[str, str]
    divided: bool
    batch: int

    def __call__(self, ids: Ids, pool: PatchPool) -> Features:
        """(B, D) float32."""


def features_of_all(
    features: PatchFeatures,
    pool: PatchPool,
    *,
    label: str,
    partial: Path,
    plan: str,
    progress: Progress = silent,
) -> Features:
    """(N, D) float32, a row for each patch of the pool; a killed call is gone on with.

    Args:
        features: what is computed.
        pool: the patches.
        label: for the progress.
        partial: keeps finished rows on the way, and is removed by the caller in the end.
        plan: fingerprint of pool and features; a partial file of another plan is ignored.
        progress: told after each batch.
    """
    features_ND = np.empty((len(pool), len(features.names)), dtype=np.float32)
    done, saved = _taken(partial, plan, features_ND), time.monotonic()
    for first in range(done, len(pool), features.batch):
        ids = np.arange(first, min(first + features.batch, len(pool)))
        features_ND[ids] = features(ids, pool)
        done = int(ids[-1]) + 1
        if time.monotonic() - saved > SAVE_EVERY:
            with atomic_path(partial) as temporary, open(temporary, "wb") as file:
                np.savez(file, plan=np.array(plan), rows=features_ND[:done])
            saved = time.monotonic()
        progress(label, done, len(pool))
    return features_ND


def _taken(partial: Path, plan: str, features_ND: Features) -> int:
    """Fill in what an earlier attempt has finished; how many rows that is."""
    try:
        with open(partial, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            if str(file["plan"]) != plan:
                return 0
            rows = file["rows"]
            features_ND[: len(rows)] = rows
            return len(rows)
    except Exception:  # missing or damaged: numpy and zipfile raise nearly anything
        return 0


def check_enough(num_patches: int, categories: int, coreset: str) -> None:
    """Refuse more categories than patches.

    Args:
        num_patches: of the core-set.
        categories: asked for.
        coreset: its name, for the message.

    Raises:
        InputError: a category would have no patch.
    """
    if num_patches < categories:
        raise InputError(
            f"{coreset} has {num_patches} patches, fewer than {categories} categories. "
            "Ask for fewer categories, or select more patches."
        )


def categories_of(
    features_ND: Features,
    patch_ids: npt.NDArray[np.int64],
    categories: int,
    seed: int,
    *,
    divided: bool,
) -> Labels:
    """(N,) category of each patch that is named, 0 to ``categories`` - 1; -1 of all others.

    Args:
        features_ND: of all patches.
        patch_ids: (kept,) those to be parted.
        categories: how many.
        seed: of k-means.
        divided: divide each feature by its spread over the patches that are parted.

    Raises:
        InputError: a category has no patch, because vectors are equal.
        MissingDependency: scikit-learn is not installed.
    """
    own = k_means(features_ND[patch_ids], categories, seed, divided=divided)
    found = len(np.unique(own))
    if found < categories:
        raise InputError(
            f"the features of the {len(patch_ids)} patches fall into {found} "
            f"categor{'y' if found == 1 else 'ies'}, so {categories - found} of {categories} would "
            f"be empty: too many patches look the same. Ask for at most {found}, or take other "
            "features."
        )
    labels_N: Labels = np.full(len(features_ND), NO_GROUP, dtype=np.int32)
    labels_N[patch_ids] = own
    return labels_N
