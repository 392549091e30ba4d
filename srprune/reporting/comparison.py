"""Arms beside each other: means over seeds, and differences to a baseline paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from srprune.core.errors import InputError
from srprune.core.estimate import Estimate, estimate
from srprune.core.names import unknown
from srprune.core.results import METRICS, EvalRow, benchmark_means, check_one_protocol


@dataclass(frozen=True)
class RunCost:
    """What a run took.

    Attributes:
        num_bytes: of uint8 pixels, HR and LR, overlaps counted once.
        seconds: of training, over all attempts.
        set_s: seconds to choose or to synthesise what it trains on, with all that this is made
            from, which other runs may share; None for the full set, and where it is not known.
    """

    num_bytes: float
    seconds: float
    set_s: float | None


@dataclass(frozen=True)
class RunResult:
    """Measurements of one run. An untrained arm, such as bicubic, has seed -1 and zeros.

    Attributes:
        arm: what is compared, such as ``full`` or ``des50``.
        seed: of the training; -1 where there was none.
        num_patches: patches kept.
        steps: optimizer updates.
        rows: of one model, both metrics of every image.
        cost: None where there was no training.
    """

    arm: str
    seed: int
    num_patches: int
    steps: int
    rows: tuple[EvalRow, ...]
    cost: RunCost | None = None


@dataclass(frozen=True)
class Cell:
    """One arm on one benchmark.

    Attributes:
        psnr_y: dB, over seeds.
        ssim_y: at most 1, over seeds.
        delta_db: PSNR-Y minus that of the baseline, over pairs of one seed; None for the
            baseline itself and where no seed is common.
    """

    psnr_y: Estimate
    ssim_y: Estimate
    delta_db: Estimate | None


@dataclass(frozen=True)
class Arm:
    """One row of a comparison; ``cells`` holds one by benchmark, ``cost`` is a seed's mean."""

    name: str
    trained: bool
    num_patches: int
    steps: int
    num_seeds: int
    cells: Mapping[str, Cell]
    cost: RunCost | None


@dataclass(frozen=True)
class Comparison:
    """Arms under one protocol, in the order given; ``num_images`` is by benchmark."""

    protocol: str
    scale: int
    models: tuple[str, ...]
    baseline: str
    num_images: Mapping[str, int]
    arms: tuple[Arm, ...]


def comparison(runs: Sequence[RunResult], baseline: str) -> Comparison:
    """Set arms beside each other and beside a baseline.

    Seeds are paired: the runs of one seed start from the same weights, so their difference is
    less noisy than the difference of two means. An untrained arm pairs with every seed.

    Args:
        runs: the runs of all arms; arms are shown in the order in which they first appear.
        baseline: the arm that differences are taken to, such as ``full``.

    Raises:
        InputError: no runs, several protocols or scales, or runs that do not compare: other
            images, a seed twice in one arm, or runs of one arm that differ in model, patches
            or steps.
        UnknownName: no run of the baseline.
    """
    if not runs or not runs[0].rows:
        raise InputError("there is nothing to compare: no run with measurements.")
    rows = [row for run in runs for row in run.rows]
    check_one_protocol(rows)
    scales = sorted({row.scale for row in rows})
    if len(scales) > 1:
        raise InputError(f"figures of the scales {scales} cannot stand in one comparison.")
    by_arm: dict[str, dict[int, RunResult]] = {}
    for run in runs:
        _check_run(run, runs[0], by_arm.setdefault(run.arm, {}))
        by_arm[run.arm][run.seed] = run
    if baseline not in by_arm:
        raise unknown("arm", baseline, by_arm)
    num_images: dict[str, int] = {}
    for row in runs[0].rows:
        num_images[row.benchmark] = num_images.get(row.benchmark, 0) + (row.metric == METRICS[0])
    arms = []
    for name, by_seed in by_arm.items():
        base = None if name == baseline else by_arm[baseline]
        first = next(iter(by_seed.values()))
        cells = _cells(by_seed, base, num_images)
        trained = -1 not in by_seed
        cost = _mean_cost([run.cost for run in by_seed.values() if run.cost])
        arms.append(Arm(name, trained, first.num_patches, first.steps, len(by_seed), cells, cost))
    models = {row.model: None for row in rows if row.seed >= 0} or {rows[0].model: None}
    return Comparison(rows[0].protocol, scales[0], tuple(models), baseline, num_images, tuple(arms))


def _mean_cost(costs: Sequence[RunCost]) -> RunCost | None:
    """A seed's mean; None of none."""
    if not costs:
        return None
    sets = [cost.set_s for cost in costs if cost.set_s is not None]
    return RunCost(
        fmean(cost.num_bytes for cost in costs),
        fmean(cost.seconds for cost in costs),
        fmean(sets) if len(sets) == len(costs) else None,
    )


def _cells(
    by_seed: Mapping[int, RunResult],
    base: Mapping[int, RunResult] | None,
    benchmarks: Mapping[str, int],
) -> dict[str, Cell]:
    """Figures of one arm by benchmark; without ``base``, no differences."""
    means = {seed: benchmark_means(run.rows) for seed, run in by_seed.items()}
    base_means = {seed: benchmark_means(run.rows) for seed, run in (base or {}).items()}
    if -1 in means:
        pairs = [(means[-1], other) for other in base_means.values()]
    elif -1 in base_means:
        pairs = [(own, base_means[-1]) for own in means.values()]
    else:
        pairs = [(means[seed], base_means[seed]) for seed in means if seed in base_means]
    cells = {}
    for benchmark in benchmarks:
        psnr, ssim = ((benchmark, metric) for metric in METRICS)
        deltas = [own[psnr] - other[psnr] for own, other in pairs]
        cells[benchmark] = Cell(
            estimate([own[psnr] for own in means.values()]),
            estimate([own[ssim] for own in means.values()]),
            estimate(deltas) if deltas else None,
        )
    return cells


def _check_run(run: RunResult, first: RunResult, arm: Mapping[int, RunResult]) -> None:
    """Check a run against the first of all and against those of its arm so far."""
    expected = {(r.benchmark, r.image, metric) for r in first.rows for metric in METRICS}
    if sorted((r.benchmark, r.image, r.metric) for r in run.rows) != sorted(expected):
        raise InputError(
            f"run {run.arm}, seed {run.seed}, does not hold PSNR-Y and SSIM-Y of the same images "
            f"as run {first.arm}, seed {first.seed}, once each. Evaluate all on one set of "
            "benchmarks."
        )
    if run.seed in arm:
        raise InputError(f"arm {run.arm} has two runs of seed {run.seed}.")
    for other in arm.values():
        if _recipe(run) != _recipe(other):
            raise InputError(
                f"arm {run.arm} mixes {_recipe(other)} (seed {other.seed}) "
                f"and {_recipe(run)} (seed {run.seed}). Give them names of their own."
            )


def _recipe(run: RunResult) -> str:
    models = " and ".join(sorted({row.model for row in run.rows}))
    return f"{models}, {run.num_patches} patches, {run.steps} steps"
