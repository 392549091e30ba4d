"""Planning a search for advice: what is tried, what is held out, what it costs at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from srprune.core.config import WITHOUT_EFFECT, PruningConfig, TrainConfig
from srprune.core.errors import InputError, MissingArtifact
from srprune.core.patches import PatchIndex
from srprune.core.workspace import Workspace
from srprune.models.build import outline
from srprune.scoring import NO_MODEL, RECONSTRUCTION, SCORERS
from srprune.selection import RULES
from srprune.selection.rule import FEATURES, Rule, portion
from srprune.stages.coresets import read_scores
from srprune.stages.extract import read_index
from srprune.stages.held_out import PROTOCOL, Split, check_measurable, split
from srprune.stages.job import check_crops, lag_of
from srprune.stages.restorers import find_weights, run_names
from srprune.stages.training_set import score_name
from srprune.studies.halving import SHARES, Candidate, candidates, rung_steps, runs_ahead
from srprune.training.optimizer import make_optimizer

RATIOS = (0.1, 0.25, 0.5, 0.75)
OFFSETS = (0.0, 0.05, 0.1)
SEEDS = 3  # of the last rung
MARGIN_DB = 0.05  # how much worse than the full set counts as equally good
LOSS, CHEAP = "mse", "laplacian"  # scores that are tried where none are named


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        ratios: shares of the patches that are kept.
        offsets: shares that are skipped.
        rules: names, beside ``random``.
        scores: methods or tables; none: ``mse`` where it is scored, and ``laplacian``.
        shares: of the steps, of the short rungs.
        num_seeds: of the last rung, at least 2.
        margin_db: how much worse than the full set counts as equally good.
    """

    ratios: Sequence[float] = RATIOS
    offsets: Sequence[float] = OFFSETS
    rules: Sequence[str] = ("des",)
    scores: Sequence[str] = ()
    shares: Sequence[float] = SHARES
    num_seeds: int = SEEDS
    margin_db: float = MARGIN_DB


@dataclass(frozen=True)
class Search:
    """A search, planned; nothing is written yet.

    Attributes:
        workspace: holds patches and scores, gets the advice.
        name: of the advice.
        config: of the training; its pruning and budget are what is searched.
        steps: of the real budget.
        space: what is searched.
        index: the patches.
        held: what is held out.
        methods: score table to the method that makes it.
        candidates: core-sets that are tried.
        rungs: steps of the short rungs.
        init: weights that every run starts from; None starts fresh.
        notes: what a user should know before it begins.
    """

    workspace: Workspace
    name: str
    config: TrainConfig
    steps: int
    space: Space
    index: PatchIndex
    held: Split
    methods: Mapping[str, str]
    candidates: Sequence[Candidate]
    rungs: tuple[int, ...]
    init: Path | None
    notes: Sequence[str]

    @property
    def folder(self) -> Path:
        """Holds the runs."""
        return self.workspace.root / "advice" / self.name

    @property
    def path(self) -> Path:
        """The advice."""
        return self.workspace.root / "advice" / f"{self.name}.json"

    @property
    def seeds(self) -> list[int]:
        """Of the last rung; none of them is that of the short rungs, which chose the finalist."""
        first = self.config.seed + 1
        return list(range(first, first + self.space.num_seeds))

    @property
    def ahead(self) -> list[tuple[int, int]]:
        """Steps and number of runs of every rung, at most."""
        return runs_ahead(self.candidates, self.rungs, self.steps, self.space.num_seeds)

    @property
    def num_steps(self) -> int:
        """Steps of all runs together, at most."""
        return sum(steps * runs for steps, runs in self.ahead)

    @cached_property
    def params(self) -> dict[str, Any]:
        """Everything that decides the advice beside its parents, as plain values."""
        searched = {**WITHOUT_EFFECT, "pruning": True, "budget": True}
        return {
            "config": self.config.model_dump(mode="json", exclude=searched),
            "steps": self.steps,
            "rungs": list(self.rungs),
            "seeds": self.seeds,
            "margin_db": self.space.margin_db,
            "protocol": PROTOCOL,
            "num_patches": len(self.index),
            "held_out": self.measured,
            "candidates": [each.name for each in self.candidates],
        }

    @property
    def measured(self) -> dict[str, list[int]]:
        """Patches that are measured, by path of the held-out image."""
        return {
            self.index.images[image].path: ids.tolist() for image, ids in self.held.measured.items()
        }


def plan_search(
    config: TrainConfig,
    workspace: Workspace,
    *,
    steps: int,
    stem: str,
    space: Space | None = None,
    name: str | None = None,
) -> Search:
    """Plan a search; writes nothing.

    Args:
        config: of the training; its pruning, its budget and its validation are passed over.
        workspace: holds the patches and the score tables.
        steps: of the real budget.
        stem: what the name of the advice begins with, such as ``fsrcnn_x2``.
        space: what is searched.
        name: of the advice; by default stem and steps.

    Raises:
        UnknownName: no such rule or model.
        InputError: ratios, offsets or rungs out of range, too few steps, patches or images, or a
            config that weights patches.
        MissingArtifact: no patches, or scores that need a scoring model and are not there.
    """
    space = space or Space()
    if config.sampling:
        raise InputError(
            f"sampling is {config.sampling.name}; advise compares core-sets of which all patches "
            "are drawn alike. Leave it out: --set sampling=null."
        )
    network, _ = outline(config.model, config.scale, config.model_args)  # a fault here is cheap
    make_optimizer(network, config.optimizer, network.last_layer)
    rules = [_rule(each) for each in space.rules]
    rungs = rung_steps(steps, space.shares)
    index = read_index(workspace)
    check_crops(config, index.size)
    check_measurable(index, config.scale)
    held = split(index, config.seed)
    notes = []
    if config.pruning != PruningConfig():
        notes.append("the pruning of the config is not used: it is what is searched.")
    if behind := lag_of(config, min([*rungs, steps])):
        notes.append(f"in the shortest rung {behind}.")
    methods: dict[str, str] = {}
    if any(rule.scores for rule in rules):
        methods, note = _methods(space.scores, workspace, config.scale, index)
        notes += [note] if note else []
    among, too_much = candidates(rules, space.ratios, space.offsets, list(methods))
    if too_much:
        names = ", ".join(each.name for each in too_much)
        notes.append(f"left out, as ratio and offset add up to more than 1: {names}.")
    smallest = portion(min(each.ratio for each in among), len(held.train_ids))
    if config.batch > smallest:
        raise InputError(
            f"batch is {config.batch}, but ratio {min(space.ratios):g} of the "
            f"{len(held.train_ids)} patches that are not held out keeps {smallest}. Give larger "
            "ratios (--ratio), or a smaller batch (--set batch=N)."
        )
    init = None
    if config.init.weights is not None:
        init = find_weights(config.init.weights, workspace)
        if init is None:
            raise MissingArtifact(
                f"there are no weights '{config.init.weights}' to start from (init.weights): "
                f"neither a file nor a finished run (there: {run_names(workspace)})."
            )
        notes.append("the weights to start from may have seen the held-out images.")
    return Search(
        workspace,
        name or f"{stem}__{steps}",
        config,
        steps,
        space,
        index,
        held,
        methods,
        among,
        rungs,
        init,
        notes,
    )


def _rule(name: str) -> Rule:
    """A rule that can choose among a part of the patches."""
    rule: Rule = RULES.load(name)
    rule.check_beforehand()
    if FEATURES in rule.defaults or rule.weighted:
        what = "draws patches by weight" if rule.weighted else "needs features"
        raise InputError(
            f"--rule is {name}, which {what}; advise tries rules that do not, such as des, asc, "
            "ccs and stratified."
        )
    return rule


def _methods(
    given: Sequence[str], workspace: Workspace, scale: int, index: PatchIndex
) -> tuple[dict[str, str], str]:
    """Score tables that are there or cheap to make, by name, and a note."""
    note = ""
    wanted = list(given)
    if not wanted:
        wanted = [LOSS, CHEAP]
        if not workspace.scores(score_name(LOSS, scale)).exists():
            wanted.remove(LOSS)
            note = (
                f"there are no {LOSS} scores at x{scale}, so only {CHEAP} is tried; "
                "'srprune pretrain' and 'srprune score' make them."
            )
    tables = {}
    for method in wanted:
        table = score_name(method, scale)
        made_here = method in SCORERS and not RECONSTRUCTION.get(method, NO_MODEL).least
        if workspace.scores(table).exists() or not made_here:
            read_scores(workspace, table, index)  # a fault here is cheap
        tables[table] = method
    return tables, note
