r"""HES, hierarchical equalization sampling (Yu et al., WBSR, NeurIPS 2024), as a core-set.

The paper draws training patches by class: the gradient vector of each patch (mean and standard
deviation of the gradient's magnitude, horizontally and vertically) becomes one number, thresholds
at its quantiles make K = 10 classes from simple to hard, and a class is drawn with a probability
made of the inverse sizes of the classes and a power of delta (equation 8). No code is public and
the printed equation does not say all, so this is the reading taken here:

- One number: the Euclidean length of the vector after each part is divided by its standard
  deviation over all patches. It is not centred first: a flat patch, far below the mean in every
  part, would come out long and pass as hard.
- Classes: ``(t_{k-1}, t_k]`` at quantiles, or with ``cuts: width`` at equal widths.
- Probability of class k, with 1 the simplest: P_k proportional to delta^(K-k) / N_k, so that hard
  classes are drawn more often. (delta^k as printed would draw them less, against the stated aim.)
  Uniform inside a class. The value of delta is not published; 0.9 is ours.
- The core-set holds class k with a share P_k, drawn without replacement; where a class is smaller,
  all of it, and what it lacks goes to the others. The weights bring each class back to exactly P_k
  in training. With ratio 1 that is the paper's second phase on all patches.

The gradient is that of the HR patch; the paper takes it of LR while training.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from srprune.core.errors import InputError
from srprune.selection.quota import allocate, draw, sizes_of
from srprune.selection.rule import Choice, Pool, Prepared, Rule
from srprune.selection.stratified import CUTS


def _hes(
    pool: Pool,
    *,
    classes: Annotated[int, Ge(1), Le(30_000)] = 10,
    delta: Annotated[float, Gt(0), Le(1)] = 0.9,
    cuts: Literal["quantile", "width"] = "quantile",
    features: str = "gradient",
) -> Prepared:
    check_classes(classes, pool.num_patches)
    everything_N = np.ones(pool.num_patches, dtype=bool)
    labels_N = CUTS[cuts](lengths(pool.features), classes, everything_N)
    sizes_K = sizes_of(labels_N, classes)
    chances_K = probabilities(sizes_K, delta)

    def take(size: int) -> Choice:
        taken_K = allocate(sizes_K, size, chances_K.tolist())
        ids = draw(labels_N, taken_K, pool.seed, "selection.hes")
        kept_K = np.where(taken_K > 0, chances_K, 0.0)
        weights_K = kept_K / kept_K.sum() * size / np.maximum(taken_K, 1)
        return Choice(ids, weights_K[labels_N[ids]])

    return Prepared(take, pool.num_patches, labels_N)


hes = Rule(_hes, scores=False, offset=False, weighted=True)


def lengths(
    features_ND: npt.NDArray[np.floating],
    kind: Literal["norm", "sum"] = "norm",
    spread_D: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    """(N,) one number of each vector, its parts divided by their standard deviations.

    Args:
        features_ND: (N, D).
        kind: ``norm`` is the Euclidean length, ``sum`` the sum of the parts.
        spread_D: standard deviations of other vectors to divide by; None takes those of these.
    """
    values_ND = features_ND.astype(np.float64)
    if spread_D is None:
        spread_D = values_ND.std(axis=0)
    values_ND /= np.where(spread_D > 0, spread_D, 1)
    lengths_N: npt.NDArray[np.float64] = (
        np.linalg.norm(values_ND, axis=1) if kind == "norm" else values_ND.sum(axis=1)
    )
    return lengths_N


def check_classes(classes: int, num_patches: int, within: str = "", of: str = "the pool") -> None:
    """Refuse more classes than patches.

    Args:
        classes: K.
        num_patches: N.
        within: what stands before the name of the setting in messages, such as ``sampling.``.
        of: what the patches are of.

    Raises:
        InputError: K is above N.
    """
    if classes > num_patches:
        raise InputError(
            f"{within}classes is {classes}, but {of} has {num_patches} patches. Choose at most "
            f"{num_patches} classes."
        )


def probabilities(
    sizes_K: npt.NDArray[np.int64], delta: float, within: str = ""
) -> npt.NDArray[np.float64]:
    """(K,) P_k proportional to delta^(K-k) / N_k, adding up to 1; 0 for an empty class.

    Args:
        sizes_K: N_k, not all 0.
        delta: above 0, at most 1.
        within: what stands before the name of the setting in messages.

    Raises:
        InputError: a class with patches has a chance that is too small for a float.
    """
    powers_K = delta ** np.arange(len(sizes_K) - 1, -1, -1, dtype=np.float64)
    chances_K = np.where(sizes_K > 0, powers_K / np.maximum(sizes_K, 1), 0.0)
    if (chances_K[sizes_K > 0] < np.finfo(np.float64).tiny).any():
        raise InputError(
            f"{within}delta is {delta:g}; to the power of {len(sizes_K) - 1}, for the easiest of "
            f"{len(sizes_K)} classes, it is too small for a number of 64 bits. Choose a larger "
            f"{within}delta, or fewer {within}classes."
        )
    chances_K /= chances_K.sum()
    return chances_K
