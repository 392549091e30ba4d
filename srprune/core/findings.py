"""Findings: what a study says, as numbers and verdicts, for every report of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from srprune.core.estimate import Estimate
from srprune.core.tile_map import TileMap

Key = tuple[str, str]  # benchmark and metric, such as ("set5", "psnr_y")
MOST_SEEDS = 99  # a larger Difference.more_seeds reads: more than 99


class Verdict(StrEnum):
    """What may be said of a difference, after the correction for the number of comparisons."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Difference:
    """A row minus another, over pairs of one seed.

    Attributes:
        over_seeds: of the mean over images, a pair a seed, with its t-interval.
        over_images: low and high end of the 95% interval of the mean over seeds and images, both
            drawn again (hierarchical bootstrap); None for one image, or fewer than two pairs.
        p: of the two-sided paired t-test over seeds; None for fewer than two pairs.
        p_adjusted: p after Holm's correction over the table; None where p is.
        p_equivalent: the larger p of the two one-sided tests against the margin, after the same
            correction; None likewise, and for a metric without a margin.
        verdict: in one word.
        more_seeds: about how many more seeds would decide an undecided difference, MOST_SEEDS + 1
            for any larger number; None where it is decided, or fewer than two pairs are there.
    """

    over_seeds: Estimate
    over_images: tuple[float, float] | None
    p: float | None
    p_adjusted: float | None
    p_equivalent: float | None
    verdict: Verdict
    more_seeds: int | None


@dataclass(frozen=True)
class Finding:
    """One row on one benchmark, in one metric.

    Attributes:
        value: of the mean over images, a value a seed.
        by_seed: the values themselves.
        to_baseline: the difference to the first level of the compared axis; None for itself.
        to_control: the difference to the random core-set of the same ratio; None without one.
        paper: what the paper prints for it; None where it prints nothing.
    """

    value: Estimate
    by_seed: Mapping[int, float]
    to_baseline: Difference | None = None
    to_control: Difference | None = None
    paper: float | None = None


@dataclass(frozen=True)
class Cost:
    """What a row costs a seed, as a mean over its seeds.

    Attributes:
        num_patches: patches that have to be there: those kept, or all that training may choose.
        num_bytes: of uint8 pixels, HR and LR, overlaps counted once.
        steps: optimizer updates.
        num_visited: patches that were drawn at least once.
        seconds: of training.
        joules: where the processor or its driver counts them.
        flops_share: of dynamic inference, of the FLOPs of the largest subnet on the same tiles.
        restore_s: of dynamic inference, wall-clock of an image of the benchmarks.
        set_s: seconds of making the synthesised set that it trains on, once for all seeds, or of
            choosing its core-set: scoring model, scores and features with it, which others share.
    """

    num_patches: int
    num_bytes: int
    steps: int
    num_visited: int | None
    seconds: float
    joules: float | None
    flops_share: float | None = None
    restore_s: float | None = None
    set_s: float | None = None


@dataclass(frozen=True)
class Diverged:
    """A run that lost its way: reported, in no mean.

    Attributes:
        seed: of the run.
        reason: in words.
    """

    seed: int
    reason: str


@dataclass(frozen=True)
class Row:
    """One combination of levels, over its seeds.

    Attributes:
        levels: axis to level, in the order of the axes.
        rule: of the core-set; ``full`` for the full set.
        ratio: share of N that is kept.
        offset: share of N that is skipped.
        score: name of the score table; empty for rules that need none.
        scale: 2, 3 or 4.
        cost: None where no seed is finished.
        seeds: finished ones.
        missing: seeds that have not been run.
        diverged: runs in no mean.
        findings: by benchmark and metric; empty where no seed is finished.
        curve: (step, PSNR-Y in dB) on the validation benchmark, means over seeds.
        gains: (benchmark, image) to the mean difference of PSNR-Y to the baseline, dB.
        settings: of the rule, in words, such as ``bound 0.5``; empty for those it has by default.
    """

    levels: Mapping[str, str]
    rule: str
    ratio: float
    offset: float
    score: str
    scale: int
    cost: Cost | None
    seeds: tuple[int, ...]
    missing: tuple[int, ...]
    diverged: tuple[Diverged, ...]
    findings: Mapping[Key, Finding]
    curve: tuple[tuple[int, float], ...] = ()
    gains: Mapping[Key, float] | None = None
    settings: str = ""


@dataclass(frozen=True)
class Contrast:
    """A question of its own: one level of the compared axis against another.

    Attributes:
        name: what is asked, such as ``loss against Sobel``.
        levels: of the other axes.
        level: of the compared axis.
        other: that is taken from it.
        differences: by benchmark and metric.
    """

    name: str
    levels: Mapping[str, str]
    level: str
    other: str
    differences: Mapping[Key, Difference]


@dataclass(frozen=True)
class Routed:
    """An image that was restored tile by tile.

    Attributes:
        level: of the compared axis, or of the axis that varies how it was restored.
        about: levels of the other axes and the seed, in words.
        image: its benchmark and name.
        lr_hwC: (h, w, 3) uint8.
        tiles: and their subnets.
    """

    level: str
    about: str
    image: str
    lr_hwC: npt.NDArray[np.uint8]
    tiles: TileMap


@dataclass(frozen=True)
class Findings:
    """A study, told.

    Attributes:
        name: of the study.
        title: one line.
        question: what it asks, in a sentence or more; may be empty.
        protocol: such as ``rgb8@1``.
        benchmarks: name to number of images.
        axes: axis to its levels, in order.
        compare: the axis whose first level is the baseline of the others.
        margin_db: differences of PSNR-Y within it count as equivalent.
        bicubic: by scale, benchmark and metric.
        rows: one a combination of levels.
        validation: name of the benchmark of the curves; empty without curves, or with several.
        pool: the training images in words, such as ``1,280 patches of 480 px from 33 images``.
        machines: processors that the finished runs name, each once.
        commands: what was called, one line each.
        num_runs: finished ones, each counted once however many rows it is measured for.
        seconds: of their training.
        joules: likewise, as far as they were counted; None where they were not.
        contrasts: in the order in which they are asked.
        apart: axes whose levels change more than core-set and budget, such as the network: their
            rows never stand on one line.
        tiles: one image, restored in several ways.
        cut_down: networks that are not built as published, and how they differ, in words.
    """

    name: str
    title: str
    question: str
    protocol: str
    benchmarks: Mapping[str, int]
    axes: Mapping[str, tuple[str, ...]]
    compare: str
    margin_db: float
    bicubic: Mapping[tuple[int, str, str], float]
    rows: tuple[Row, ...]
    validation: str
    pool: str
    machines: tuple[str, ...]
    commands: tuple[str, ...]
    num_runs: int
    seconds: float
    joules: float | None
    contrasts: tuple[Contrast, ...] = ()
    apart: tuple[str, ...] = ()
    tiles: tuple[Routed, ...] = ()
    cut_down: tuple[str, ...] = ()
