"""What a study file says: a grid over base configs, seeds, and what is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from srprune.core.artifact import flat
from srprune.core.config import ExtractConfig, Seed, Strict
from srprune.core.errors import ConfigError
from srprune.core.names import near, unknown
from srprune.core.run_config import EvaluateConfig, StageConfig
from srprune.core.yaml_file import load, parse
from srprune.scoring import SCORERS

Level = dict[str, Any]
Axes = Annotated[dict[str, dict[str, Level]], Field(min_length=1)]


class ScoreConfig(Strict):
    """A score table that the study makes."""

    method: str = "mse"
    """Name in the table of scorers."""
    scorers: tuple[str, ...] = ()
    """Scoring models of the study, by name."""
    context: Literal["patch", "image"] = "patch"
    include_rim: bool = False


class StudyConfig(Strict):
    """A study. A cell is one level of each axis and one seed; each is a training run."""

    title: str
    """One line above the report."""
    question: str = ""
    """What the study asks, in a sentence or more."""
    images: str
    """Folder of HR training images, ``photos``, or a data set such as ``div2k``, which is looked
    for under --data and downloaded where it is missing."""
    extract: ExtractConfig = ExtractConfig()
    distilled: dict[str, StageConfig] = Field(default={})
    """Synthesised sets that the study makes, by name; their configs are those of distillation."""
    scorers: dict[str, StageConfig] = Field(default={"srcnn": StageConfig(config="srcnn.yaml")})
    """Scoring models, each trained on all patches; by name."""
    scores: dict[str, ScoreConfig] = Field(default={"mse": ScoreConfig(scorers=("srcnn",))})
    """Score tables that pruning.score may name, beside the methods that need no model."""
    set: Level = Field(default={})
    """Config keys of every cell, which axes may override."""
    axes: Axes
    """Axis to level to config keys, such as ``pruning.ratio``. Some keys are the study's own:
    ``config`` names the base file, ``steps`` is a share of the budget, ``seeds`` is how many of the
    seeds are run; ``router``, ``flops_budget``, ``tile`` and ``overlap`` say how a supernet is
    measured, so that levels may share a run."""
    compare: str
    """The axis whose first level the others are compared with, such as the full set."""
    contrasts: dict[str, tuple[str, str]] = Field(default={})
    """Questions of their own, by name: a level of that axis, and the one it is held against."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    evaluate: EvaluateConfig = EvaluateConfig()
    margin_db: Annotated[float, Field(gt=0)] = 0.05
    """Differences of PSNR-Y within it count as equivalent."""
    paper: Literal[1, 2, 3] | None = None
    """The table of Moser et al. 2024 that stands beside ours."""
    budgets: dict[Literal["smoke", "cpu", "gpu", "paper"], dict[str, Any]] = Field(default={})
    """What ``--budget`` changes: a part of this file, merged into it; null takes a key out."""

    @field_validator("set")
    @classmethod
    def _dotted(cls, level: Level) -> Level:
        """One way to write a key, so that a later one finds an earlier one."""
        return flat(level)

    @field_validator("axes")
    @classmethod
    def _all_dotted(cls, axes: dict[str, dict[str, Level]]) -> dict[str, dict[str, Level]]:
        return {
            axis: {name: flat(level) for name, level in levels.items()}
            for axis, levels in axes.items()
        }

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if twice := [seed for n, seed in enumerate(self.seeds) if seed in self.seeds[:n]]:
            raise ValueError(f"seed {twice[0]} stands twice in seeds; keep one")
        if self.compare not in self.axes:
            raise ValueError(str(unknown("axis", self.compare, self.axes, within="compare: ")))
        for name, pair in self.contrasts.items():
            if len(set(pair)) == 1:
                raise ValueError(f"contrasts.{name} compares {pair[0]} with itself")
            for level in pair:
                if level not in self.axes[self.compare]:
                    within = f"contrasts.{name}: "
                    raise ValueError(
                        str(unknown("level", level, self.axes[self.compare], within=within))
                    )
        for axis, levels in self.axes.items():
            if not levels:
                raise ValueError(f"axes.{axis} has no level")
        for name, score in self.scores.items():
            if score.method not in SCORERS:
                raise ValueError(str(unknown("method", score.method, SCORERS)))
            if score.method != name and name in SCORERS:
                raise ValueError(f"scores.{name} is called like a method but is {score.method}")
            for scorer in score.scorers:
                if scorer not in self.scorers:
                    within = f"scores.{name}.scorers: "
                    raise ValueError(str(unknown("scorer", scorer, self.scorers, within=within)))
        return self


def read_study(path: Path, budget: str | None = None, overrides: Sequence[str] = ()) -> StudyConfig:
    """Read a study, with one of its budgets merged in.

    Args:
        path: the file.
        budget: ``smoke``, ``cpu``, ``gpu`` or ``paper``; None takes the file as it stands.
        overrides: settings ``a.b=value`` over all of it.

    Raises:
        ConfigError: faults of the file, of the budget or of the overrides.
        UnknownName: a budget that the study does not have.
    """
    study = load(path, StudyConfig, () if budget else overrides)
    if budget is None:
        return study
    if budget not in study.budgets:
        raise unknown("budget", budget, study.budgets)
    there = _plain(study)
    change = _dotted_too(study.budgets[budget], there)
    if vain := list(_in_vain(there, change)):
        raise ConfigError([f"budgets.{budget}.{each} ({path})." for each in vain])
    merged = _merged(there, change)
    axes, contrasts = merged.get("axes"), merged.get("contrasts")
    levels = axes.get(study.compare) if isinstance(axes, Mapping) else None
    first = next(iter(study.axes[study.compare]))
    compared = merged.get("compare") == study.compare
    if compared and isinstance(levels, Mapping) and first not in levels:
        # else the next level would be in its place without a word
        fault = (
            f"budgets.{budget}.axes.{study.compare} takes out {first!r}, which all other levels "
            f"are compared with. Keep it, or put another one first ({path})."
        )
        raise ConfigError([fault])
    if isinstance(levels, Mapping) and isinstance(contrasts, dict):  # else it is told below
        for name, pair in study.contrasts.items():  # dropped levels need not be named in both
            if not set(pair) <= set(levels):
                contrasts.pop(name, None)
    text = yaml.safe_dump(merged, sort_keys=False, allow_unicode=True)
    try:
        return parse(text, StudyConfig, f"{path} with budget {budget}", overrides)
    except ConfigError as error:  # lines of the merged text are no lines of a file
        raise ConfigError([_without_line(fault) for fault in error.faults]) from error


def _plain(study: StudyConfig) -> dict[str, Any]:
    values = json.loads(study.model_dump_json(exclude={"budgets"}))
    assert isinstance(values, dict)
    return values


def _dotted_too(budget: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """A budget whose ``set`` and levels have dotted keys, as those have that it changes.

    null over a group of keys, such as ``validation``, becomes null over each of them.
    """

    def level(change: Any, own: Any) -> Any:
        if not isinstance(change, Mapping):
            return change
        keys = own if isinstance(own, Mapping) else {}
        found: dict[str, Any] = {}
        for key, value in flat(change).items():
            group = [each for each in keys if each.startswith(f"{key}.")] if value is None else []
            found |= dict.fromkeys(group) if group and key not in keys else {key: value}
        return dict.fromkeys(key for key in replaced(found) if key in keys) | found

    made = dict(budget)
    if "set" in made:
        made["set"] = level(made["set"], there["set"])
    if isinstance(made.get("axes"), Mapping):
        made["axes"] = {**made["axes"]}
        for axis, levels in made["axes"].items():
            own = there["axes"].get(axis, {})
            if isinstance(levels, Mapping):
                made["axes"][axis] = {k: level(each, own.get(k)) for k, each in levels.items()}
    return made


def replaced(part: Mapping[str, Any]) -> list[str]:
    """Keys that a ``set`` or a level puts out of force: a budget is in steps or in epochs."""
    pair = ("budget.steps", "budget.epochs")
    given = [key for key in pair if part.get(key) is not None]
    return [key for key in pair if key not in given] if len(given) == 1 else []


def _in_vain(there: Any, change: Any, within: str = "") -> Iterator[str]:
    """Each null of a change that takes nothing out of what is there, in words."""
    known = there if isinstance(there, Mapping) else {}
    for key, value in change.items() if isinstance(change, Mapping) else ():
        if value is None and key not in known:
            meant = near(key, known)
            hint = f" Did you mean: {meant}?" if meant else ""
            yield f"{within}{key} is null, which takes a key out, but there is none such.{hint}"
        yield from _in_vain(known.get(key), value, f"{within}{key}.")


def _merged(there: Any, change: Any) -> Any:
    """A change merged into what is there, as RFC 7386 (JSON Merge Patch) says."""
    if not isinstance(change, Mapping):
        return change
    merged = dict(there) if isinstance(there, Mapping) else {}
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _without_line(fault: str) -> str:
    head, sign, _ = fault.rpartition(", line ")
    return f"{head})." if sign else fault
