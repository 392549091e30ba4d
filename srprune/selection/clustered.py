"""Clustered: hierarchical condensation (Ding, Liang, Wang, Wang and Yang, IEEE SPL 30, 2023).

First a texture filter: of all patches those with a score above that of rank floor(N/2) from below,
so the upper half; the paper's score is ``sobel``. Then k-means (k = 15, k-means++, 10 starts, at
most 300 iterations) over features of the texture, and an equal number of patches drawn from each
cluster. Followed: the authors' code (QingtangDing/DCSR: ``remove_low_complexity.py``,
``dataset_cluster.py``, ``sample_patches.py``), which fails on a cluster smaller than its part;
here such a cluster gives all it has, and the others give the rest.

The paper's features are the output of DeepTEN, whose weights are not public. The default here is
a texture descriptor of ours, divided by the spread of each of its parts; ``features`` names any
other table of features.
"""

from __future__ import annotations

import math
import warnings
from fractions import Fraction
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from srprune.core.errors import InputError, MissingDependency
from srprune.core.seeding import generator
from srprune.selection.quota import allocate, draw, sizes_of
from srprune.selection.rank_window import hardest
from srprune.selection.rule import Choice, Features, Labels, Pool, Prepared, Rule, Scores

STARTS = 10
ITERATIONS = 300


def _clustered(
    pool: Pool,
    *,
    clusters: Annotated[int, Ge(1), Le(30_000)] = 15,
    textured: Annotated[float, Gt(0), Le(1)] = 0.5,
    features: str = "texture",
) -> Prepared:
    among_N = above(pool.scores, textured) & ~hardest(pool.scores, pool.num_skipped)
    there = int(among_N.sum())
    if there < clusters:
        raise InputError(
            f"the texture filter leaves {there} patches, fewer than {clusters} clusters. "
            "Set fewer clusters, or a larger share textured."
        )
    labels_N = np.full(pool.num_patches, -1, dtype=np.int32)
    labels_N[among_N] = k_means(pool.features[among_N], clusters, pool.seed)
    sizes_K = sizes_of(labels_N, clusters)

    def take(size: int) -> Choice:
        if size > there:
            raise InputError(
                f"the texture filter leaves {there} of {pool.num_patches} patches, "
                f"{size - there} fewer than the {size} asked for. "
                "Keep fewer, or set a larger share textured."
            )
        return Choice(draw(labels_N, allocate(sizes_K, size), pool.seed, "selection.clustered"))

    return Prepared(take, there, labels_N)


clustered = Rule(_clustered, nested=True)


def above(scores_N: Scores, share: float) -> npt.NDArray[np.bool_]:
    """(N,) true for scores strictly above those of the easiest 1 - ``share`` of N.

    Ties with the last one that is dropped are dropped, too, as the paper's code does.
    """
    dropped = len(scores_N) - math.ceil(Fraction(repr(share)) * len(scores_N))
    if not dropped:
        return np.ones(len(scores_N), dtype=bool)
    kept_N: npt.NDArray[np.bool_] = scores_N > np.partition(scores_N, dropped - 1)[dropped - 1]
    return kept_N


def k_means(features_ND: Features, clusters: int, seed: int, *, divided: bool = True) -> Labels:
    """(N,) the cluster of each vector; fewer clusters where vectors are all but equal.

    Args:
        features_ND: the vectors.
        clusters: how many.
        seed: of the first centres.
        divided: divide the parts of the vectors by their spread first.

    Raises:
        MissingDependency: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits  # comes with scikit-learn
    except ImportError:
        raise MissingDependency(
            "k-means needs scikit-learn. Run: pip install 'srprune[select]'"
        ) from None
    values_ND = features_ND.astype(np.float64)
    values_ND -= values_ND.mean(axis=0)
    if divided:
        spread_D = values_ND.std(axis=0)
        values_ND /= np.where(spread_D > 0, spread_D, 1)
    distinct = len(np.unique(values_ND, axis=0))  # equal vectors cannot be parted
    means = KMeans(
        min(clusters, distinct),
        init="k-means++",
        n_init=STARTS,
        max_iter=ITERATIONS,
        random_state=int(generator(seed, "selection.clustered.k-means").integers(2**31)),
    )
    # sums of several threads would depend on their number
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of vectors that are nearly equal
        labels_N: Labels = means.fit_predict(values_ND).astype(np.int32)
    return labels_N
