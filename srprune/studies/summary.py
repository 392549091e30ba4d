"""From finished runs to the rows of a study's table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError
from srprune.core.estimate import estimate
from srprune.core.findings import Contrast, Cost, Difference, Diverged, Finding, Key, Row
from srprune.core.results import METRICS
from srprune.studies.bootstrap import DRAWS
from srprune.studies.grid import FULL
from srprune.studies.observation import Curve, Observation
from srprune.studies.statistics import difference, paired
from srprune.studies.verdicts import decided

PSNR = METRICS[0]
RANDOM = "random"

Floats = npt.NDArray[np.float64]
Levels = tuple[str, ...]
K = TypeVar("K")


def summarise(
    observations: Sequence[Observation],
    *,
    axes: Mapping[str, Sequence[str]],
    compare: str,
    margin_db: float = 0.05,
    draws: int = DRAWS,
) -> tuple[Row, ...]:
    """Group runs into rows, one a combination of levels, and compare the rows.

    A row is compared with that of the first level of ``compare``, all other levels equal, and with
    its control: the core-set of the rule ``random`` of the same ratio, scale and steps that trains
    the same network by the same recipe, whichever its levels are. Differences are taken seed by
    seed, over the seeds that both rows have. All differences of one metric to baselines, over all
    rows and benchmarks, are one table for Holm's correction; those to controls are another.

    Args:
        observations: all runs of the study, those that are still to come included.
        axes: axis to its levels, in order.
        compare: the axis whose first level is the baseline of the others.
        margin_db: differences of PSNR-Y within it count as equivalent. For SSIM-Y there is no
            margin, so no difference of it is called equivalent.
        draws: of the bootstrap.

    Returns:
        The rows in the order of the axes; what the paper prints is not in them.

    Raises:
        InputError: figures of two protocols, two sets of images in one benchmark, a figure twice
            or NaN, a seed twice in one row, or runs of one row that are not the same experiment.
    """
    groups = _grouped(observations, axes)
    place = list(axes).index(compare)
    baselines: dict[Levels, _Group] = {}
    rivals: dict[Levels, _Group] = {}
    for levels, group in groups.items():
        first = (*levels[:place], axes[compare][0], *levels[place + 1 :])
        if first != levels and first in groups:
            baselines[levels] = groups[first]
        if control := _control(group, groups.values()):
            rivals[levels] = control
    to_baseline, to_control = (
        _compared(
            {levels: (groups[levels], other) for levels, other in others.items()}, margin_db, draws
        )
        for others in (baselines, rivals)
    )
    return tuple(
        group.row(to_baseline.get(levels, {}), to_control.get(levels, {}), baselines.get(levels))
        for levels, group in groups.items()
    )


def contrasts(
    observations: Sequence[Observation],
    *,
    axes: Mapping[str, Sequence[str]],
    compare: str,
    pairs: Mapping[str, tuple[str, str]],
    margin_db: float = 0.05,
    draws: int = DRAWS,
) -> tuple[Contrast, ...]:
    """Compare levels of one axis with each other, as they are asked for by name.

    All of them, over all levels of the other axes and all benchmarks, are one table for Holm's
    correction: they are few and were asked for beforehand.

    Args:
        observations: all runs of the study.
        axes: axis to its levels, in order.
        compare: the axis.
        pairs: what is asked, with the level and the one that is taken from it.
        margin_db: as in :func:`summarise`.
        draws: of the bootstrap.

    Raises:
        InputError: as :func:`summarise`.
    """
    groups = _grouped(observations, axes)
    place = list(axes).index(compare)
    found: dict[tuple[str, Levels], tuple[_Group, _Group]] = {}
    for name, (level, other) in pairs.items():
        for levels, group in groups.items():
            rival = (*levels[:place], other, *levels[place + 1 :])
            if levels[place] == level and rival in groups:
                found[name, levels] = (group, groups[rival])
    told = _compared(found, margin_db, draws)
    return tuple(
        Contrast(
            name,
            {axis: each for axis, each in zip(axes, levels, strict=True) if axis != compare},
            *pairs[name],
            told[name, levels],
        )
        for name, levels in found
        if told.get((name, levels))
    )


def _grouped(
    observations: Sequence[Observation], axes: Mapping[str, Sequence[str]]
) -> dict[Levels, _Group]:
    """Runs by their levels, in the order of the axes."""
    _check_figures([each for each in observations if each.counts])
    by_levels: dict[Levels, list[Observation]] = {}
    for each in observations:
        by_levels.setdefault(tuple(each.levels[axis] for axis in axes), []).append(each)
    order = [levels for levels in itertools.product(*axes.values()) if levels in by_levels]
    return {levels: _Group(by_levels[levels]) for levels in order}


class _Group:
    """The runs of one combination of levels."""

    def __init__(self, runs: Sequence[Observation]) -> None:
        self.first = runs[0]
        self.runs = sorted(runs, key=lambda each: each.seed)
        for one, other in itertools.pairwise(self.runs):
            if one.seed == other.seed:
                raise InputError(
                    f"there are two runs of '{one.label}'. Keep one of them: a seed counts once."
                )
        self.finished = {each.seed: each for each in self.runs if each.counts}
        self.costs = [each.cost for each in self.finished.values() if each.cost]
        for each in self.runs:
            if _experiment(each) != _experiment(self.first):
                raise _mixed(self.first, each)
        for each in self.finished.values():
            if each.cost and each.cost.steps != self.costs[0].steps:
                raise _mixed(next(iter(self.finished.values())), each)

    @property
    def steps(self) -> int | None:
        """Of all its finished runs."""
        return self.costs[0].steps if self.costs else None

    @cached_property
    def figures(self) -> dict[Key, dict[int, Floats]]:
        """By benchmark and metric, then by seed: a figure an image, in the order of the names."""
        by_key: dict[Key, dict[int, Floats]] = {}
        for seed, run in self.finished.items():
            values: dict[Key, dict[str, float]] = {}
            for row in run.rows:
                values.setdefault((row.benchmark, row.metric), {})[row.image] = row.value
            for key, by_image in values.items():
                by_key.setdefault(key, {})[seed] = np.array(
                    [by_image[image] for image in sorted(by_image)]
                )
        return by_key

    @property
    def images(self) -> dict[str, list[str]]:
        """By benchmark, in the order of the figures."""
        run = next(iter(self.finished.values()))
        names: dict[str, set[str]] = {}
        for row in run.rows:
            names.setdefault(row.benchmark, set()).add(row.image)
        return {benchmark: sorted(images) for benchmark, images in names.items()}

    def seeds_with(self, other: _Group) -> list[int]:
        """Seeds that both have finished."""
        return [seed for seed in self.finished if seed in other.finished]

    def tables(self, key: Key, other: _Group) -> tuple[Floats, Floats]:
        """Figures of both, a line a common seed and a column an image."""
        seeds = self.seeds_with(other)
        own_SI, other_SI = (
            np.stack([group.figures[key][seed] for seed in seeds]) for group in (self, other)
        )
        return own_SI, other_SI

    def row(
        self,
        to_baseline: Mapping[Key, Difference],
        to_control: Mapping[Key, Difference],
        baseline: _Group | None,
    ) -> Row:
        """What is told of it."""
        findings = {}
        for key, figures in self.figures.items():
            means = {seed: float(values_I.mean()) for seed, values_I in figures.items()}
            findings[key] = Finding(
                value=estimate(list(means.values())),
                by_seed=means,
                to_baseline=to_baseline.get(key),
                to_control=to_control.get(key),
            )
        lost = [Diverged(each.seed, each.diverged) for each in self.runs if each.diverged]
        done = {*self.finished, *(each.seed for each in lost)}
        return Row(
            levels=dict(self.first.levels),
            rule=self.first.rule,
            ratio=self.first.ratio,
            offset=self.first.offset,
            score=self.first.score,
            settings=self.first.settings,
            scale=self.first.scale,
            cost=_mean_cost(self.costs) if self.costs else None,
            seeds=tuple(self.finished),
            missing=tuple(each.seed for each in self.runs if each.seed not in done),
            diverged=tuple(lost),
            findings=findings,
            curve=_mean_curve([each.curve for each in self.finished.values()]),
            gains=self._gains(baseline) if baseline else None,
        )

    def _gains(self, baseline: _Group) -> dict[Key, float] | None:
        """Mean difference of PSNR-Y to the baseline, image by image."""
        if not self.seeds_with(baseline):
            return None
        gains: dict[Key, float] = {}
        for benchmark, images in self.images.items():
            if (benchmark, PSNR) in self.figures:
                with np.errstate(invalid="ignore"):  # +inf and -inf of one image
                    gains_I = paired(*self.tables((benchmark, PSNR), baseline)).mean(axis=0)
                gains.update(
                    ((benchmark, image), float(gain))
                    for image, gain in zip(images, gains_I, strict=True)
                )
        return gains


def _control(own: _Group, groups: Iterable[_Group]) -> _Group | None:
    """The random core-set to set beside a row; of several, one of the same offset if there is."""
    if own.first.rule in (RANDOM, FULL) or own.steps is None:
        return None
    fitting = [
        other
        for other in groups
        if other.first.rule == RANDOM
        and (other.first.ratio, other.first.scale) == (own.first.ratio, own.first.scale)
        and (other.steps, other.first.recipe) == (own.steps, own.first.recipe)
    ]
    return min(fitting, key=lambda other: other.first.offset != own.first.offset, default=None)


def _compared(
    pairs: Mapping[K, tuple[_Group, _Group]], margin_db: float, draws: int
) -> dict[K, dict[Key, Difference]]:
    """Differences of groups to others, decided metric by metric."""
    tables: dict[str, list[tuple[K, Key, Difference]]] = {}
    for name, (own, other) in pairs.items():
        if not own.seeds_with(other):
            continue
        for key in own.figures:
            margin = margin_db if key[1] == PSNR else None
            told = difference(*own.tables(key, other), margin, draws=draws)
            tables.setdefault(key[1], []).append((name, key, told))
    found: dict[K, dict[Key, Difference]] = {name: {} for name in pairs}
    for metric, table in tables.items():
        margin = margin_db if metric == PSNR else None
        verdicts = decided([each for _, _, each in table], margin)
        for (name, key, _), verdict in zip(table, verdicts, strict=True):
            found[name][key] = verdict
    return found


def _check_figures(runs: Sequence[Observation]) -> None:
    """Refuse figures that cannot stand in one table."""
    expected: dict[str, set[tuple[str, str]]] = {}
    for run in runs:
        protocol = runs[0].rows[0].protocol
        held: dict[str, set[tuple[str, str]]] = {}
        for row in run.rows:
            if row.protocol != protocol:
                raise InputError(
                    f"'{run.label}' was measured by {row.protocol} and '{runs[0].label}' by "
                    f"{protocol}; figures of two protocols do not compare. Evaluate all runs of "
                    "a study with one protocol."
                )
            where = f"{row.metric} of {row.image} of {row.benchmark}"
            if math.isnan(row.value):
                raise InputError(f"'{run.label}': {where} is NaN. Evaluate the run anew.")
            figures = held.setdefault(row.benchmark, set())
            if (row.image, row.metric) in figures:
                raise InputError(f"'{run.label}' holds {where} twice. Evaluate the run anew.")
            figures.add((row.image, row.metric))
        expected = expected or held
        for benchmark in {**expected, **held}:
            if held.get(benchmark) != expected.get(benchmark):
                raise InputError(
                    f"'{run.label}' and '{runs[0].label}' were not measured on the same images "
                    f"and metrics of {benchmark}. Evaluate all runs of a study on the same "
                    "benchmarks, whole."
                )


def _experiment(run: Observation) -> tuple[object, ...]:
    return run.rule, run.settings, run.ratio, run.offset, run.score, run.scale, run.recipe


def _mixed(one: Observation, other: Observation) -> InputError:
    return InputError(
        f"'{one.label}' and '{other.label}' are not the same experiment: they differ in rule, "
        "settings, ratio, offset, score, scale, steps or recipe. Was the study edited in between? "
        "Run it anew in another folder."
    )


def _mean_cost(costs: Sequence[Cost]) -> Cost:
    whole = len(costs)

    def mean(values: Sequence[float | None]) -> float | None:
        """Of all seeds: over some, it would be of other runs than the rest of the line."""
        known = [value for value in values if value is not None]
        return sum(known) / whole if len(known) == whole else None

    visited = mean([each.num_visited for each in costs])
    return Cost(
        num_patches=round(sum(each.num_patches for each in costs) / whole),
        num_bytes=round(sum(each.num_bytes for each in costs) / whole),
        steps=costs[0].steps,
        num_visited=None if visited is None else round(visited),
        seconds=sum(each.seconds for each in costs) / whole,
        joules=mean([each.joules for each in costs]),
        flops_share=mean([each.flops_share for each in costs]),
        restore_s=mean([each.restore_s for each in costs]),
        set_s=mean([each.set_s for each in costs]),
    )


def _mean_curve(curves: Sequence[Curve]) -> Curve:
    """Means over the steps that all curves have."""
    at = [dict(curve) for curve in curves]
    common = sorted(set.intersection(*map(set, at))) if at else []
    return tuple((step, sum(each[step] for each in at) / len(at)) for step in common)
