"""distill categorise: the windows of a core-set in groups that look alike."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from srprune.core.artifact import canonical, digest, read_header
from srprune.core.coreset import CoreSet
from srprune.core.errors import InputError, UserError
from srprune.core.features import FeatureTable
from srprune.core.groups import GroupTable
from srprune.core.out_of_memory import memory_errors
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.workspace import Workspace, the_one
from srprune.distill import FEATURES
from srprune.distill.categories import PatchFeatures, categories_of, check_enough, features_of_all
from srprune.distill.clip_features import ClipFeatures, find_weights
from srprune.distill.config import CategoriseConfig
from srprune.distill.round_trip import TABLE
from srprune.models.device import pick_device
from srprune.reporting.group_sheet import group_sheet
from srprune.stages.coresets import write_groups
from srprune.stages.distill.select import RULE as RULE_OF_SELECT
from srprune.stages.export import find_coreset
from srprune.stages.extract import read_index
from srprune.stages.pool import open_pool
from srprune.stages.scoring_models import scoring_models
from srprune.stages.training_set import FULL

CLIP, NETWORK = "clip", "network"
BY_NETWORK = (CLIP, NETWORK)
RULE = "categories"  # in the header of the groups
SCORES = (TABLE, "sobel")  # what 'distill select' looks at


@dataclass(frozen=True)
class Categorised:
    """Patches in categories.

    Attributes:
        name: of the groups.
        groups: a category each patch of the core-set, -1 for all others.
        coreset: its name, or ``full``.
        features: name of the table of features.
        sheet: a picture with patches of each category.
    """

    name: str
    groups: GroupTable
    coreset: str
    features: str
    sheet: Path


def categorise(
    workspace: Workspace,
    config: CategoriseConfig,
    *,
    coreset: str | None = None,
    name: str | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Categorised:
    """Part the patches of a core-set into categories, and draw a sheet of them.

    Features are those of all patches, so that another core-set of the same patches finds them.

    Args:
        workspace: holds patches, core-sets and scoring models; gets features, groups and sheet.
        config: by what, and into how many.
        coreset: its name or file, or ``full`` for all patches; by default the only one of
            'distill select'.
        name: of the groups; by default features, categories, core-set and seed.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``, for features of networks.
        progress: told while features are made.

    Raises:
        UnknownName: no such features.
        MissingArtifact: no patch index, pixels, core-set, scoring model or weights.
        MissingDependency: the features or k-means need a package that is not installed.
        InputError: fewer patches than categories, a category that would be empty, several
            core-sets or scoring models, weights without effect, or not enough memory.
        ArtifactError: weights that are damaged, hostile or of another size.
        ArtifactMismatch: the core-set is of another patch index.
    """
    watch = Stopwatch()
    FEATURES[config.features]  # an unknown name is a fault
    if config.weights is not None and config.features not in BY_NETWORK:
        raise InputError(
            f"weights would have no effect: features {config.features} ask no network. "
            f"Leave them out, or choose one of: {', '.join(BY_NETWORK)}."
        )
    index = read_index(workspace)
    title, chosen = _coreset(workspace, coreset, index)
    ids = np.arange(len(index)) if chosen is None else chosen.patch_ids
    check_enough(len(ids), config.categories, title)
    features, table, divided = _features(workspace, config, index, device, progress)
    labels_N = categories_of(
        table.features_ND, ids, config.categories, config.seed, divided=divided
    )
    name = name or f"{features}_k{config.categories}__{title}__seed{config.seed}"
    parents = {"patches": index.fingerprint, "features": table.fingerprint}
    if chosen is not None:
        parents["coreset"] = chosen.fingerprint
    params = {
        "rule": RULE,
        "features": features,
        "categories": config.categories,
        "seed": config.seed,
        "coreset": title,
    }
    path = workspace.groups(name)
    write_groups(path, labels_N, parents, params, watch)
    sheet = workspace.reports / f"groups_{name}.png"
    pool = open_pool(workspace, 2, progress, with_lr=False)
    group_sheet(lambda i: pool.hr_crop(i, 0, 0, index.size), labels_N, sheet, title=name)
    return Categorised(name, GroupTable.read(path), title, features, sheet)


def _coreset(
    workspace: Workspace, named: str | None, index: PatchIndex
) -> tuple[str, CoreSet | None]:
    """A core-set and its name; None is all patches."""
    if named == FULL:
        return FULL, None
    if named is None:
        path = the_one(
            _selected(workspace), "core-set", "srprune distill categorise", "srprune distill select"
        )
    else:
        path = find_coreset(workspace, named)
    return path.stem, CoreSet.read(path, patches=index.fingerprint)


def _selected(workspace: Workspace) -> list[Path]:
    """Core-sets as 'distill select' makes them: the hardest by one of its scores."""
    found = []
    for path in sorted(workspace.coreset("any").parent.glob("*.parquet")):
        try:
            params = read_header(path).params
        except UserError:  # a damaged one is told of where it is named
            continue
        if params.get("scores") in SCORES and params.get("rule") in (RULE_OF_SELECT, "des"):
            found.append(path)
    return found


def _features(
    workspace: Workspace,
    config: CategoriseConfig,
    index: PatchIndex,
    device: str,
    progress: Progress,
) -> tuple[str, FeatureTable, bool]:
    """Name and table of features, found or made, and whether k-means divides them by spread.

    Features of CLIP that are there are taken without their weights, unless those are named.
    """
    watch, where = Stopwatch(), pick_device(device)
    if config.features == CLIP and config.weights is None:
        with contextlib.suppress(UserError):
            table = FeatureTable.read(workspace.features(CLIP), patches=index.fingerprint)
            if table.header.params == {"features": CLIP}:
                return CLIP, table, ClipFeatures.divided
    with memory_errors("The network that tells the features has no room: choose another --device."):
        name, scale, features = _opened(workspace, config, where)
    path, params = workspace.features(name), {"features": name}
    parents = {"patches": index.fingerprint, **features.parents}
    try:
        table = FeatureTable.read(path)
    except UserError:
        pass
    else:
        if table.header.parents == parents and table.header.params == params:
            return name, table, features.divided
    partial = path.with_name(f"{name}.part.npz")
    pool = open_pool(workspace, scale or 2, progress, with_lr=scale is not None)
    with memory_errors("Extract smaller patches, or choose another --device."):
        features_ND = features_of_all(
            features,
            pool,
            label=f"features {name}",
            partial=partial,
            plan=digest(canonical(parents), canonical(params)),
            progress=progress,
        )
    table = FeatureTable.write(
        path, features_ND, features.names, parents=parents, params=params, made=watch.made()
    )
    partial.unlink(missing_ok=True)
    return name, table, features.divided


def _opened(
    workspace: Workspace, config: CategoriseConfig, device: torch.device
) -> tuple[str, int | None, PatchFeatures]:
    """Features ready to be computed, what their table is called, and the scale of LR they need."""
    kind = FEATURES.load(config.features)
    if config.features == CLIP:
        return CLIP, None, kind(find_weights(config.weights), device)
    if config.features == NETWORK:
        models = workspace.scorers()
        asked = (
            config.weights or the_one(models, "scoring model", "--weights", "srprune pretrain").name
        )
        (opened,) = scoring_models(workspace, "mse", [asked], None, device)
        features = kind(opened.restorer, device)
        return f"network_{opened.restorer.name}", opened.restorer.scale, features
    return config.features, None, kind()
