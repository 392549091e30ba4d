"""select: from scores to a core-set, and what that keeps and drops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.coreset import CoreSet
from srprune.core.errors import InputError, MissingArtifact, UserError
from srprune.core.features import FeatureTable
from srprune.core.groups import GroupTable
from srprune.core.names import near
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace, coreset_name, the_one
from srprune.images.store import CHANNELS
from srprune.scoring import SCORERS
from srprune.selection import RULES
from srprune.selection.budget import Budget, largest
from srprune.selection.coverage import covered_pixels, rows_of_images
from srprune.selection.quota import sizes_of
from srprune.selection.rule import FEATURES, Choice, Labels, Pool, Prepared, Rule, skipped, window
from srprune.stages.extract import read_index
from srprune.stages.features import features_of


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
        num_groups: groups that the rule made and that have patches; 0 for rules without groups.
    """

    name: str
    coreset: CoreSet
    num_patches: int
    num_skipped: int
    score_range: tuple[float, float] | None
    loss_share: float | None
    image_shares: npt.NDArray[np.float64]
    pixel_share: float
    num_groups: int = 0


def select(
    workspace: Workspace,
    *,
    rule: str,
    ratio: float | None = None,
    budget: str | None = None,
    offset: float = 0.0,
    seed: int = 0,
    scores: str | None = None,
    settings: Mapping[str, object] | None = None,
    progress: Progress = silent,
) -> Selection:
    """Choose a core-set and write it, and beside it the groups of rules that make groups.

    Args:
        workspace: holds the patch index and the score tables; features are made where missing.
        rule: a name in the table of rules.
        ratio: share of N that is kept, in (0, 1].
        budget: in place of the ratio: patches such as ``8000``, or bytes such as ``2GB``.
        offset: share of N skipped at the start of the order, in [0, 1).
        seed: of rules that draw.
        scores: name of the score table; needed only where there are several.
        settings: of the rule.
        progress: told while features are made.

    Raises:
        UnknownName: no such rule, setting or feature.
        InputError: ratio, budget, offset and settings that do not fit, several score tables, or a
            rule that chooses in training.
        MissingArtifact: no patch index, or no score table.
        MissingDependency: a rule needs a package that is not installed.
        ArtifactMismatch: the scores are those of another patch index.
    """
    watch = Stopwatch()
    chosen: Rule = RULES.load(rule)
    chosen.check_beforehand()
    values = chosen.checked(settings or {})
    index = read_index(workspace)
    wanted = _budget(ratio, budget)
    first, size = _size(chosen, wanted, ratio, offset, index)  # refuses before any file is read
    parents = {"patches": index.fingerprint}
    table: ScoreTable | None = None
    if chosen.scores:
        scores = scores or _only_scores(workspace)
        table = read_scores(workspace, scores, index)
        parents["scores"] = table.fingerprint
    features: FeatureTable | None = None
    if FEATURES in values:
        features = features_of(workspace, values[FEATURES], index, progress)
        parents["features"] = features.fingerprint
    prepared = chosen.prepare(
        Pool(
            len(index),
            first,
            seed,
            table.scores_N if table else None,
            features.features_ND if features else None,
        ),
        **values,
    )
    if wanted and wanted.num_bytes is not None:
        size = _largest(prepared, wanted.num_bytes, index)
    choice = prepared.take(size)
    name = name_of(chosen, ratio or 0.0, offset, scores, seed, values, wanted)
    params = {
        "rule": rule,
        "ratio": ratio if wanted is None else size / len(index),
        "offset": offset,
        "seed": seed if chosen.seeded else None,
        "scores": scores if chosen.scores else None,
        "num_patches": len(index),
        "num_skipped": first,
        **({"budget": budget} if wanted else {}),
        **({"settings": plain(values)} if values else {}),
    }
    path = workspace.coreset(name)
    coreset = _already_there(path, choice, parents, params)
    if coreset is None:
        coreset = CoreSet.write(
            path,
            choice.ids,
            parents=parents,
            params=params,
            made=watch.made(),
            weights=choice.weights,
        )
    groups_N = prepared.groups_N
    del prepared, choice  # an order of all patches may hang on them
    found = describe(name, coreset, index, table)
    if groups_N is not None:
        del index, table
        keys = ("rule", "offset", "seed", "settings")
        about = {key: params[key] for key in keys if key in params}
        write_groups(workspace.groups(name), groups_N, parents, about, watch)
        sizes_K = sizes_of(groups_N, int(groups_N.max()) + 1)
        found = replace(found, num_groups=int(np.count_nonzero(sizes_K)))
    return found


def name_of(
    rule: Rule,
    ratio: float,
    offset: float,
    scores: str | None,
    seed: int,
    settings: Mapping[str, Any],
    budget: Budget | None = None,
) -> str:
    """Name of a core-set; settings stand in it where they are not the default."""
    return coreset_name(
        rule.name,
        ratio,
        offset,
        scores if rule.scores else None,
        seed,
        budget=budget.name if budget else None,
        settings={key: value for key, value in settings.items() if value != rule.defaults[key]},
        seeded=rule.seeded,
    )


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a rule as they stand in a header."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()}


def _budget(ratio: float | None, budget: str | None) -> Budget | None:
    if (ratio is None) == (budget is None):
        raise InputError("give either a ratio or a budget, and not both.")
    return None if budget is None else Budget.parse(budget)


def _size(
    rule: Rule, budget: Budget | None, ratio: float | None, offset: float, index: PatchIndex
) -> tuple[int, int]:
    """Patches that are skipped and kept; 0 kept where bytes decide."""
    if offset and not rule.offset:
        raise InputError(f"offset is {offset:g}, but rule {rule.name} takes none. Leave it out.")
    if budget is None:
        assert ratio is not None
        return window(ratio, offset, len(index))
    first = skipped(offset, len(index))
    if budget.num_bytes is not None:
        if not rule.nested:
            raise InputError(
                f"budget is {budget.name}, but with rule {rule.name} fewer patches may be other "
                "patches, so no size is the largest that fits. Give a ratio or a number of patches."
            )
        return first, 0
    assert budget.patches is not None
    if first + budget.patches > len(index):
        raise InputError(
            f"a budget of {budget.patches} and offset {offset:g} need {first + budget.patches} "
            f"patches, {first + budget.patches - len(index)} more than the {len(index)} there are. "
            "Make one of them smaller."
        )
    return first, budget.patches


def _largest(prepared: Prepared, num_bytes: int, index: PatchIndex) -> int:
    """Size of the largest core-set whose pixels fit, each counted once."""

    def fits(size: int) -> bool:
        return CHANNELS * covered_pixels(index, prepared.take(size).ids) <= num_bytes

    size = largest(fits, prepared.most)
    if not size:
        raise InputError(
            f"a budget of {num_bytes:,} bytes holds no patch: one has "
            f"{CHANNELS * index.size**2:,} bytes. Choose a larger one."
        )
    return size


def _already_there(
    path: Path, choice: Choice, parents: Mapping[str, str], params: Mapping[str, object]
) -> CoreSet | None:
    try:
        there = CoreSet.read(path)
    except UserError:
        return None
    same = there.header.parents == parents and there.header.params.items() >= params.items()
    same = same and np.array_equal(there.patch_ids, choice.ids)
    if choice.weights is None or there.weights is None:
        return there if same and choice.weights is there.weights else None
    return there if same and np.array_equal(there.weights, choice.weights) else None


def write_groups(
    path: Path,
    labels_N: Labels,
    parents: Mapping[str, str],
    params: Mapping[str, object],
    watch: Stopwatch,
) -> None:
    """Write a table of groups, unless just this one is there.

    Args:
        path: of the table.
        labels_N: (N,) group of each patch; -1 is none.
        parents: fingerprints of what they were made from.
        params: the rule and its settings.
        watch: started before they were made.
    """
    try:
        there = GroupTable.read(path)
    except UserError:
        pass
    else:
        if (there.header.parents, there.header.params) == (parents, params) and np.array_equal(
            there.labels_N, labels_N
        ):
            return
    GroupTable.write(path, labels_N, parents=parents, params=params, made=watch.made())


def describe(name: str, coreset: CoreSet, index: PatchIndex, table: ScoreTable | None) -> Selection:
    """Work out what a core-set keeps."""
    score_range, loss_share = _kept(coreset, table.scores_N) if table else (None, None)
    starts_I, ends_I = rows_of_images(index, coreset.patch_ids)
    return Selection(
        name=name,
        coreset=coreset,
        num_patches=len(index),
        num_skipped=int(coreset.header.params.get("num_skipped", 0)),
        score_range=score_range,
        loss_share=loss_share,
        image_shares=(ends_I - starts_I) / index.patches_per_image,
        pixel_share=covered_pixels(index, coreset.patch_ids) / covered_pixels(index),
    )


def _kept(
    coreset: CoreSet, scores_N: npt.NDArray[np.float64]
) -> tuple[tuple[float, float], float | None]:
    """Lowest and highest kept score, and the kept share of the sum of all."""
    kept = scores_N[coreset.patch_ids]
    total = float(scores_N.sum())
    share = float(kept.sum()) / total if total > 0 else None
    return (float(kept.min()), float(kept.max())), share


def read_scores(workspace: Workspace, name: str, index: PatchIndex) -> ScoreTable:
    """A score table by name, checked against the patch index.

    Raises:
        InputError: the name is a path; it would lead core-sets named after it astray, too.
        MissingArtifact: there is none; the message names the command that makes it.
        ArtifactMismatch: it is of another patch index.
    """
    path = workspace.scores(name)
    there = [path.stem for path in workspace.score_tables()]
    if Path(name).name != name:
        raise InputError(
            f"'{name}' is a path; give the name of a score table in {workspace.root / 'scores'}. "
            f"Known: {', '.join(there) or 'none'}."
        )
    if not path.exists():
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
