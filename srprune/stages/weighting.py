"""Weighting in place of cutting: difficulty classes for HES, pixels for the mixture of BDLoss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from srprune.core.config import BalanceConfig, SamplingConfig, TrainConfig
from srprune.core.errors import InputError
from srprune.core.groups import NO_GROUP
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.seeding import hashed
from srprune.core.workspace import Workspace
from srprune.data.patches import Ids, PatchPool
from srprune.models.domain import Domain
from srprune.selection.hes import check_classes, lengths, probabilities
from srprune.selection.quota import sizes_of
from srprune.selection.stratified import CUTS
from srprune.stages.coresets import write_groups
from srprune.stages.features import features_of, lr_features_of
from srprune.stages.training_set import TrainingSet
from srprune.training.mixture import Mixture

MIXTURE = "mixture.json"  # in the folder of a run

Floats = npt.NDArray[np.float64]


def hes_weights(
    config: TrainConfig,
    chosen: TrainingSet,
    pool: PatchPool,
    workspace: Workspace,
    progress: Progress = silent,
) -> Floats:
    """How often each patch of a core-set is drawn in the second phase of HES.

    Writes the classes, from easy to hard, as the groups ``hes_lr_x2_K10__<core-set>``.

    Args:
        config: of the run, with ``sampling``.
        chosen: what it trains on.
        pool: the patches, with LR.
        workspace: gets features and groups.
        progress: told while gradients are computed.

    Returns:
        (P,) a patch's share of all draws.

    Raises:
        InputError: patches that are chosen or weighted in another way already, more classes than
            patches, a class without patches, or a delta of which the powers vanish.
    """
    sampling = config.sampling
    assert sampling is not None
    if chosen.adaptive or chosen.weights is not None:
        raise InputError(
            f"sampling is {sampling.name}, but the rule {config.pruning.rule} says itself how "
            "often a patch is drawn. Choose another pruning.rule, or leave sampling out."
        )
    watch, index = Stopwatch(), pool.index
    if sampling.of == "lr":
        table = lr_features_of(workspace, "gradient", pool, progress)
    else:
        table = features_of(workspace, "gradient", index, progress)
    labels_P = _classes(sampling, lengths(table.features_ND[chosen.patch_ids], sampling.length))
    labels_N = np.full(len(index), NO_GROUP, dtype=np.int32)
    labels_N[chosen.patch_ids] = labels_P
    of = f"lr_x{pool.scale}" if sampling.of == "lr" else "hr"
    kind = "".join(f"_{x}" for x in (sampling.cuts, sampling.length) if x in ("width", "sum"))
    name = f"hes_{of}_K{sampling.classes}{kind}__{chosen.name}"
    parents = {**chosen.parents, "features": table.fingerprint}
    params = sampling.model_dump(mode="json", include={"name", "classes", "cuts", "length", "of"})
    write_groups(workspace.groups(name), labels_N, parents, params, watch)
    sizes_K = sizes_of(labels_P, sampling.classes)
    shares_K = probabilities(sizes_K, sampling.delta, "sampling.") / sizes_K
    weights_P: Floats = shares_K[labels_P]
    return weights_P


def _classes(sampling: SamplingConfig, lengths_P: Floats) -> npt.NDArray[np.int32]:
    """(P,) class of each patch, from 0, the easiest."""
    count = sampling.classes
    check_classes(count, len(lengths_P), "sampling.", "the core-set")
    labels_P = CUTS[sampling.cuts](lengths_P, count, np.ones(len(lengths_P), dtype=bool))
    empty = np.flatnonzero(sizes_of(labels_P, count) == 0)
    if len(empty):
        remedy = "fewer classes" + (", or sampling.cuts quantile" * (sampling.cuts == "width"))
        raise InputError(
            f"sampling.classes is {count}, but class {empty[0] + 1} of them, counted from the "
            f"easiest, has no patches ({len(empty)} have none). Choose {remedy}."
        )
    return labels_P


def write_mixture(
    path: Path,
    balance: BalanceConfig,
    pool: PatchPool,
    patch_ids: Ids,
    domain: Domain,
    seed: int,
) -> None:
    """Fit what the loss ``bd`` of a run balances by, and write it.

    The other arguments and the errors are those of :func:`mixture_of`.
    """
    mixture_of(balance, pool, patch_ids, domain, seed).write(path)


def mixture_of(
    balance: BalanceConfig, pool: PatchPool, patch_ids: Ids, domain: Domain, seed: int
) -> Mixture:
    """Fit the mixture that the loss ``bd`` balances by, on HR pixels of the patches of a run.

    Args:
        balance: components, how many pixels, and what is balanced.
        pool: the patches.
        patch_ids: (P,) those of the run; each gives as many pixels.
        domain: turns RGB into what the network gives.
        seed: of the places of the pixels, and of the fit.

    Raises:
        InputError: colour with a network on Y, or pixels that no such mixture fits.
        MissingDependency: scikit-learn is not there.
    """
    if balance.of == "colour" and domain.channels == "y":
        raise InputError("balance.of is colour, but the network works on Y. Choose value.")
    each, side = -(-balance.values // len(patch_ids)), pool.index.size
    pixels = np.empty((len(patch_ids), each, 3), dtype=np.uint8)
    for row, patch in enumerate(patch_ids.tolist()):
        place = hashed(seed, "weighting.pixels", patch, np.arange(each)) % np.uint64(side**2)
        top, left = np.divmod(place.astype(np.int64), side)
        pixels[row] = pool.hr_crop(patch, 0, 0, side)[top, left]
    rgb_M311 = torch.from_numpy(pixels.reshape(-1, 3, 1, 1)).float() / 255
    values_MD = domain.target(rgb_M311).flatten(1).double().numpy()
    if balance.of == "value":
        values_MD = values_MD.reshape(-1, 1)
    return Mixture.fit(values_MD, balance.components, seed, domain=domain.channels)
