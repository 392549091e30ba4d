"""Findings as studies make them, by hand: every kind of gap, and the paper's own numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from srprune.core.estimate import estimate
from srprune.core.findings import Cost, Difference, Diverged, Finding, Findings, Row, Verdict

BENCHMARKS = {"set5": 5, "bsd100": 100}
MARGIN = 0.05
NUM_PATCHES = 32_592


def difference(values: Sequence[float]) -> Difference:
    """A difference whose verdict follows from its interval."""
    over = estimate(values)
    if over.interval is None:
        return Difference(over, None, None, None, None, Verdict.UNDECIDED, None)
    low, high = over.interval
    verdict, more = Verdict.UNDECIDED, 4
    if low > 0 or high < 0:
        verdict, more = Verdict.BETTER if low > 0 else Verdict.WORSE, None
    if low > -MARGIN and high < MARGIN:
        verdict, more = Verdict.EQUIVALENT, None
    p = 0.004 if verdict in (Verdict.BETTER, Verdict.WORSE) else 0.31
    return Difference(over, (low - 0.01, high + 0.01), p, min(1.0, 8 * p), 0.02, verdict, more)


def row(
    levels: Mapping[str, str],
    *,
    base: float,
    gain: float,
    rule: str,
    ratio: float,
    offset: float = 0.0,
    steps: int = 20_000,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    missing: Sequence[int] = (),
    diverged: Sequence[Diverged] = (),
    noise: float = 0.02,
    control: float | None = None,
    paper: Mapping[tuple[str, str], float] | None = None,
    joules: float | None = None,
) -> Row:
    """A row whose PSNR-Y is ``base`` plus ``gain`` plus noise that repeats."""
    rng = np.random.default_rng([*"".join(levels.values()).encode()])
    wobble = noise * rng.standard_normal((len(seeds), 4))
    findings = {}
    for k, benchmark in enumerate(BENCHMARKS if len(seeds) else ()):
        of_psnr = base - 1.5 * k + gain + wobble[:, k]
        of_ssim = 0.93 - 0.04 * k + 0.01 * gain + 0.01 * wobble[:, 2 + k]
        for metric, values, factor in (("psnr_y", of_psnr, 1.0), ("ssim_y", of_ssim, 0.01)):
            deltas = [factor * (gain + each) for each in wobble[:, k]]
            findings[benchmark, metric] = Finding(
                estimate(values.tolist()),
                dict(zip(seeds, values.tolist(), strict=True)),
                None if rule == "full" else difference(deltas),
                None if control is None else difference([d - factor * control for d in deltas]),
                (paper or {}).get((benchmark, metric)),
            )
    kept = round(ratio * NUM_PATCHES)
    cost = Cost(
        kept, 691_200 * kept, steps, min(kept, 16 * steps), 0.01 * steps + kept / 1e3, joules
    )
    curve = tuple(
        (step, base + gain - 8 * math.exp(-5 * step / steps))
        for step in range(steps // 20, steps + 1, steps // 20)
    )
    gains = {
        (benchmark, f"{benchmark}/img_{image:03}_with_a_long_name.png"): gain
        + 0.15 * math.sin(7 * image + len(benchmark))
        for benchmark, number in BENCHMARKS.items()
        for image in range(number)
    }
    return Row(
        levels=dict(levels),
        rule=rule,
        ratio=ratio,
        offset=offset,
        score="" if rule in ("full", "random") else "mse_x2",
        scale=2,
        cost=cost if len(seeds) else None,
        seeds=tuple(seeds),
        missing=tuple(missing),
        diverged=tuple(diverged),
        findings=findings,
        curve=curve if len(seeds) else (),
        gains=gains if len(seeds) and rule != "full" else None,
    )


def study(rows: Sequence[Row], axes: Mapping[str, tuple[str, ...]], compare: str) -> Findings:
    return Findings(
        name="demo_study",
        title="Core-sets of 50% & 25%, FSRCNN and IDN",
        question="Is half of the patches as good as all of them at equal steps?",
        protocol="rgb8@1",
        benchmarks=BENCHMARKS,
        axes=axes,
        compare=compare,
        margin_db=MARGIN,
        bicubic={
            (2, "set5", "psnr_y"): 33.66,
            (2, "set5", "ssim_y"): 0.9299,
            (2, "bsd100", "psnr_y"): 29.56,
            (2, "bsd100", "ssim_y"): 0.8431,
        },
        rows=tuple(rows),
        num_runs=sum(len(row.seeds) for row in rows),
        seconds=sum(len(row.seeds) * row.cost.seconds for row in rows if row.cost),
        joules=None,
        validation="set5",
        pool="32,592 patches of 480 px from 800 images",
        machines=("Intel Xeon", "NVIDIA H200"),
        commands=("srprune study configs/studies/demo_study.yaml --budget cpu",),
    )


@pytest.fixture
def findings() -> Findings:
    """Two networks, six training sets; one seed, none, a diverged one, numbers of the paper."""
    sets = ("full", "des50", "random50", "refined50", "des25", "asc25")
    full = {"rule": "full", "ratio": 1.0}
    half, quarter = {"rule": "des", "ratio": 0.5}, {"rule": "des", "ratio": 0.25}
    asc = {"rule": "asc", "ratio": 0.25}
    fsrcnn = {"network": "fsrcnn"}
    idn = {"network": "idn"}

    def printed(psnr: float, ssim: float) -> dict[tuple[str, str], float]:
        return {("bsd100", "psnr_y"): psnr, ("bsd100", "ssim_y"): ssim}

    lost = Diverged(2, "the loss became NaN at step 310")
    rows = [
        row(fsrcnn | {"train_set": "full"}, base=36.9, gain=0,
            paper=printed(31.09, 0.8955), **full),
        row(fsrcnn | {"train_set": "des50"}, base=36.9, gain=0.1, control=0.01,
            paper=printed(31.30, 0.8983), **half),
        row(fsrcnn | {"train_set": "random50"}, base=36.9, gain=0.01, rule="random", ratio=0.5),
        row(fsrcnn | {"train_set": "refined50"}, base=36.9, gain=-0.03, offset=0.05, noise=0.08,
            control=0.01, **half),
        row(fsrcnn | {"train_set": "des25"}, base=36.9, gain=0.12, seeds=(0, 1, 2, 4), missing=(3,),
            paper=printed(31.35, 0.8986), **quarter),
        row(fsrcnn | {"train_set": "asc25"}, base=36.9, gain=-0.9, seeds=(0, 1, 3), missing=(4,),
            diverged=(lost,), steps=5000, paper=printed(28.38, 0.8303), **asc),
        row(idn | {"train_set": "full"}, base=37.8, gain=0, paper=printed(31.98, 0.9076), **full),
        row(idn | {"train_set": "des50"}, base=37.8, gain=0.0, noise=0.005, control=0.02,
            paper=printed(32.00, 0.9076), joules=3.1e5, **half),
        row(idn | {"train_set": "random50"}, base=37.8, gain=0.02, rule="random", ratio=0.5),
        row(idn | {"train_set": "refined50"}, base=37.8, gain=0.02, offset=0.05, control=0.02,
            **half),
        row(idn | {"train_set": "des25"}, base=37.8, gain=0.04, seeds=(0,), **quarter),
        row(idn | {"train_set": "asc25"}, base=37.8, gain=-1.1, seeds=(), missing=(0, 1, 2), **asc),
    ]  # fmt: skip
    return study(rows, {"network": ("fsrcnn", "idn"), "train_set": sets}, "train_set")


@pytest.fixture
def budget() -> Findings:
    """Steps against ratio for two rules: small core-sets win early and lose late."""
    steps = ("1000", "5000", "20000", "100000")
    ratios = {"5": 0.05, "10": 0.1, "25": 0.25, "50": 0.5, "75": 0.75}
    sets = ["full", *(f"{rule}{name}" for rule in ("des", "random") for name in ratios)]
    rows = []
    for place, step in enumerate(steps):
        axes = {"steps": step}
        base = 35.0 + 0.6 * place
        rows.append(
            row(axes | {"train_set": "full"}, base=base, gain=0, rule="full", ratio=1.0,
                steps=int(step))
        )  # fmt: skip
        for rule, strength in (("des", 0.12), ("random", 0.01)):
            for name, ratio in ratios.items():
                gain = strength * (1 - ratio) * (1.6 - place) - 0.1 * (0.1 / ratio) * (place > 1)
                rows.append(
                    row(axes | {"train_set": f"{rule}{name}"}, base=base, gain=gain, rule=rule,
                        ratio=ratio, steps=int(step), seeds=(0, 1, 2))
                )  # fmt: skip
    return study(rows, {"steps": steps, "train_set": tuple(sets)}, "train_set")


@pytest.fixture
def offsets() -> Findings:
    """Offsets of 0 to 20% at two ratios."""
    shares = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
    cells = [(ratio, share) for ratio in (0.5, 0.1) for share in shares]
    names = {cell: f"des{cell[0]:.0%} offset {cell[1]:.0%}" for cell in cells}
    rows = [row({"train_set": "full"}, base=36.9, gain=0, rule="full", ratio=1.0)]
    rows += [
        row({"train_set": names[ratio, share]}, base=36.9, rule="des", ratio=ratio, offset=share,
            gain=0.2 * (0.6 - ratio) - (0.8 * share if ratio == 0.5 else 0.1 * share))
        for ratio, share in cells
    ]  # fmt: skip
    return study(rows, {"train_set": ("full", *names.values())}, "train_set")


@pytest.fixture
def nothing_yet(findings: Findings) -> Findings:
    """A study of which no run is finished."""
    rows = [
        replace(each, cost=None, seeds=(), missing=(0, 1), diverged=(), findings={}, curve=(),
                gains=None)
        for each in findings.rows
    ]  # fmt: skip
    return replace(findings, rows=tuple(rows), machines=())
