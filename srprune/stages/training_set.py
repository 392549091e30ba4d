"""What a run trains on: the core-set that its config asks for, or the full set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srprune.core.config import PruningConfig, TrainConfig
from srprune.core.coreset import CoreSet
from srprune.core.errors import ArtifactMismatch
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.workspace import Workspace
from srprune.scoring import RECONSTRUCTION
from srprune.selection import RULES
from srprune.selection.adaptive import AdaptivePlan, adaptive_plan
from srprune.selection.rule import Rule, skipped
from srprune.stages.coresets import name_of, plain, read_scores, select
from srprune.stages.distill.drawn import drawn_images

FULL = "full"


@dataclass(frozen=True)
class TrainingSet:
    """Patches of a run.

    Attributes:
        name: of the core-set, or ``full``.
        patch_ids: (P,) sorted; of a rule that chooses in training, what it begins with.
        weights: (P,) how often each is drawn beside the others; None: all alike.
        parents: fingerprints of patch index and core-set.
        adaptive: how the patches are chosen anew in training; None keeps them.
        distilled: folder of the synthesised set whose images they are; None: of the workspace's
            own patches.
    """

    name: str
    patch_ids: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None
    parents: Mapping[str, str]
    adaptive: AdaptivePlan | None = None
    distilled: Path | None = None


def training_set(
    config: TrainConfig,
    workspace: Workspace,
    index: PatchIndex,
    given: Path | None = None,
    remake: bool = False,
    progress: Progress = silent,
) -> TrainingSet:
    """Find the core-set of a config, or make it.

    Args:
        config: the training config.
        workspace: holds scores and core-sets; gets what is missing.
        index: the patches.
        given: a core-set file to take instead of what ``config.pruning`` asks for.
        remake: choose again where the core-set that is there was made from other inputs.
        progress: told while features are made.

    Raises:
        UnknownName: no such rule.
        InputError: settings that the rule does not take, or sizes that do not fit.
        MissingArtifact: scores or a synthesised set that are not there yet.
        ArtifactError: a synthesised set that was edited by hand.
        ArtifactMismatch: a core-set or scores of another patch index, or a core-set that was made
            otherwise than its name says.
    """
    pruning = config.pruning
    rule: Rule = RULES.load(pruning.rule)  # a fault even where nothing is pruned
    settings = rule.checked(pruning.args, "pruning.args.")
    parents = {"patches": index.fingerprint}
    if rule.synthesised and not given:
        drawn = drawn_images(rule, pruning, settings, workspace, index)
        name = name_of(rule, pruning.ratio, 0.0, None, pruning.seed, settings)
        parents["distilled"] = drawn.fingerprint
        return TrainingSet(name, drawn.ids, None, parents, distilled=drawn.folder)
    plan = None
    if rule.in_training and not given:
        plan = adaptive_plan(len(index), pruning.ratio, pruning.offset, pruning.seed, settings)
    if given:
        coreset = CoreSet.read(given, patches=index.fingerprint)
        name = given.stem
    elif pruning.ratio == 1 and rule.whole_is_full:
        return TrainingSet(FULL, np.arange(len(index)), None, parents)
    elif plan:
        name = name_of(rule, pruning.ratio, pruning.offset, None, pruning.seed, settings)
        return TrainingSet(name, plan.start_K, None, parents, plan)
    else:
        scores = score_name(pruning.score, config.scale) if rule.scores else None
        name = name_of(rule, pruning.ratio, pruning.offset, scores, pruning.seed, settings)
        path = workspace.coreset(name)
        found = None
        try:
            found = _coreset_there(path, pruning, settings, index, workspace, scores)
        except ArtifactMismatch:
            if not remake:
                raise
        coreset = (
            found
            if found is not None
            else select(
                workspace,
                rule=pruning.rule,
                ratio=pruning.ratio,
                offset=pruning.offset,
                seed=pruning.seed,
                scores=scores,
                settings=pruning.args,
                progress=progress,
            ).coreset
        )
    parents["coreset"] = coreset.fingerprint
    return TrainingSet(name, coreset.patch_ids, coreset.weights, parents)


def _coreset_there(
    path: Path,
    pruning: PruningConfig,
    settings: Mapping[str, object],
    index: PatchIndex,
    workspace: Workspace,
    scores: str | None,
) -> CoreSet | None:
    """The core-set that a config asks for, if it was made already and from what is here.

    Raises:
        ArtifactMismatch: it was made from other patches, other scores or with other settings.
    """
    ranked_by = read_scores(workspace, scores, index).fingerprint if scores else None
    if not path.exists():
        return None
    coreset = CoreSet.read(path, patches=index.fingerprint)
    made = coreset.header.params
    if any(made[key] != getattr(pruning, key) for key in ("rule", "ratio", "offset")) or (
        made.get("settings", {}) != plain(settings)
    ):
        raise ArtifactMismatch(
            f"{path} was made with other settings than its name says (rule {made['rule']}, "
            f"ratio {made['ratio']}, offset {made['offset']}, "
            f"settings {made.get('settings', {})}). Delete it."
        )
    if scores and coreset.header.parents.get("scores") != ranked_by:
        raise ArtifactMismatch(
            f"{path} was made from other scores than {workspace.scores(scores)}. "
            "Run 'srprune select' again; or, with study, pass --edited."
        )
    return coreset


def score_name(score: str, scale: int) -> str:
    """Name of the table of a score: ``mse`` at x2 is ``mse_x2``; ``sobel`` knows no scale."""
    return f"{score}_x{scale}" if score in RECONSTRUCTION else score


def write_active(
    path: Path,
    config: TrainConfig,
    patch_ids: npt.NDArray[np.int64],
    index: PatchIndex,
    made: Mapping[str, object],
) -> CoreSet:
    """Write the patches that a run ended with, of a rule that chooses in training, as a core-set.

    Args:
        path: of the core-set.
        config: of the run.
        patch_ids: (P,) in force at the end.
        index: the patches.
        made: when and with what.
    """
    pruning = config.pruning
    rule: Rule = RULES.load(pruning.rule)
    params = {
        "rule": pruning.rule,
        "ratio": pruning.ratio,
        "offset": pruning.offset,
        "seed": pruning.seed,
        "scores": None,
        "num_patches": len(index),
        "num_skipped": skipped(pruning.offset, len(index)),
        "settings": plain(rule.checked(pruning.args)),
    }
    return CoreSet.write(
        path, patch_ids, parents={"patches": index.fingerprint}, params=params, made=made
    )
