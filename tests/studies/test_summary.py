"""From runs to rows: pairs, controls, costs, and what may not stand in one table."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import InputError
from srprune.core.findings import Cost, Diverged, Row, Verdict
from srprune.core.results import EvalRow
from srprune.studies.observation import Observation
from srprune.studies.statistics import difference
from srprune.studies.summary import contrasts, summarise
from srprune.studies.verdicts import holm

# Level of the axis "set": rule, ratio, offset, and the mean gain over the full set in dB.
SETS = {
    "full": ("full", 1.0, 0.0, 0.0),
    "des50": ("des", 0.5, 0.0, 0.2),
    "refined50": ("des", 0.5, 0.05, 0.002),
    "random50": ("random", 0.5, 0.0, -0.1),
    "asc25": ("asc", 0.25, 0.0, -0.5),
}
AXES: dict[str, Sequence[str]] = {"model": ("fsrcnn", "idn"), "set": tuple(SETS)}
BENCHMARKS = {"set5": ("b.png", "a.png", "c.png"), "tiny": ("x.png", "y.png")}
SEEDS = (0, 1, 2, 3)
COST = Cost(640, 1_000_000, 3000, 600, 10.0, 50.0)


def figures(model: str, name: str, seed: int) -> dict[tuple[str, str, str], float]:
    """By benchmark, image and metric: small differences between seeds, and between images."""
    rng = np.random.default_rng([list(SETS).index(name), seed, len(model)])
    found = {}
    for b, (benchmark, images) in enumerate(BENCHMARKS.items()):
        for i, image in enumerate(sorted(images)):
            psnr = 30 + 2 * b + i + 0.1 * seed + SETS[name][3] + rng.normal(0, 0.004)
            found[benchmark, image, "psnr_y"] = psnr
            found[benchmark, image, "ssim_y"] = 0.9 + (psnr - 30) / 1000
    return found


def run(model: str, name: str, seed: int, **changes: Any) -> Observation:
    rule, ratio, offset, _ = SETS[name]
    rows = tuple(
        EvalRow(model, name, seed, 2, benchmark, image, metric, value, "rgb8@1")
        for (benchmark, image, metric), value in figures(model, name, seed).items()
    )
    levels = {"model": model, "set": name}
    score = "mse" if rule in ("des", "asc") else ""
    own = Observation(levels, seed, rule, ratio, offset, score, 2, model, rows, COST)
    return replace(own, **changes)


def all_runs() -> list[Observation]:
    return [run(model, name, seed) for seed in SEEDS for model in AXES["model"] for name in SETS]


def told(runs: Sequence[Observation], **settings: Any) -> dict[tuple[str, ...], Row]:
    arguments = {"axes": AXES, "compare": "set", "draws": 300, **settings}
    return {tuple(row.levels.values()): row for row in summarise(runs, **arguments)}


def means(model: str, name: str, benchmark: str, seeds: Sequence[int] = SEEDS) -> list[float]:
    """Of PSNR-Y, one a seed."""
    images = BENCHMARKS[benchmark]
    return [
        math.fsum(figures(model, name, seed)[benchmark, image, "psnr_y"] for image in images)
        / len(images)
        for seed in seeds
    ]


def change(runs: list[Observation], model: str, name: str, seed: int, **changes: Any) -> None:
    """Change one of the runs, in place."""
    (place,) = (
        n
        for n, each in enumerate(runs)
        if (*each.levels.values(), each.seed) == (model, name, seed)
    )
    runs[place] = replace(runs[place], **changes)


def test_a_row_is_compared_seed_by_seed_with_the_first_level_and_with_its_control():
    rows = told(all_runs())
    assert list(rows) == [(model, name) for model in AXES["model"] for name in SETS]
    for (model, name), row in rows.items():
        assert row.levels == {"model": model, "set": name}
        assert (row.rule, row.ratio, row.offset) == SETS[name][:3]
        assert (row.seeds, row.missing, row.diverged) == (SEEDS, (), ())
        for benchmark in BENCHMARKS:
            finding = row.findings[benchmark, "psnr_y"]
            own = means(model, name, benchmark)
            assert (finding.value.mean, finding.value.n) == (pytest.approx(np.mean(own)), 4)
            assert finding.paper is None
            others = {"full": finding.to_baseline, "random50": finding.to_control}
            for other, found in others.items():
                expected = name != "full" and (
                    other == "full" or name in ("des50", "refined50")  # asc25 has another ratio
                )
                assert (found is not None) == expected, (name, other)
                if found:
                    gains = np.subtract(own, means(model, other, benchmark))
                    assert found.over_seeds.mean == pytest.approx(gains.mean())
                    assert found.over_seeds.sd == pytest.approx(gains.std(ddof=1))


def test_verdicts_fit_what_was_put_in():
    rows = told(all_runs())
    expected = {
        "des50": Verdict.BETTER,
        "refined50": Verdict.EQUIVALENT,
        "random50": Verdict.WORSE,
        "asc25": Verdict.WORSE,
    }
    for name, verdict in expected.items():
        found = rows["idn", name].findings["set5", "psnr_y"].to_baseline
        assert found is not None and found.verdict is verdict
    ssim = rows["idn", "refined50"].findings["set5", "ssim_y"].to_baseline
    assert ssim is not None and ssim.p_equivalent is None
    assert ssim.verdict is Verdict.UNDECIDED  # no margin, so never equivalent


@pytest.mark.parametrize("metric", ["psnr_y", "ssim_y"])
@pytest.mark.parametrize("kind", ["to_baseline", "to_control"])
def test_a_table_is_one_metric_over_all_rows_and_benchmarks(metric, kind):
    found = [
        getattr(row.findings[benchmark, metric], kind)
        for row in told(all_runs()).values()
        for benchmark in BENCHMARKS
    ]
    there = [each for each in found if each]
    assert len(there) == (16 if kind == "to_baseline" else 8)
    assert [each.p_adjusted for each in there] == holm([each.p for each in there])


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=5)
def test_the_order_of_runs_and_of_their_rows_is_nothing(seed):
    runs = all_runs()
    expected = told(runs)
    shuffle = random.Random(seed).shuffle
    shuffle(runs)
    mixed = []
    for each in runs:
        rows = list(each.rows)
        shuffle(rows)
        mixed.append(replace(each, rows=tuple(rows)))
    again = told(mixed)
    assert list(again) == list(expected)
    for levels, row in again.items():
        assert row.findings == expected[levels].findings
        assert row.gains == expected[levels].gains


def test_the_figures_are_those_of_the_arrays():
    own = all_runs()
    values = {
        name: np.array([list(figures("idn", name, seed).values())[:6:2] for seed in SEEDS])
        for name in ("des50", "full")
    }
    expected = difference(values["des50"], values["full"], 0.05, draws=300)
    found = told(own)["idn", "des50"].findings["set5", "psnr_y"].to_baseline
    assert found is not None
    assert (found.over_seeds, found.over_images, found.p) == (
        expected.over_seeds,
        expected.over_images,
        expected.p,
    )


def test_a_finding_holds_the_value_of_each_seed():
    found = told(all_runs())["idn", "des50"].findings["set5", "psnr_y"]
    assert list(found.by_seed) == list(SEEDS)
    assert list(found.by_seed.values()) == pytest.approx(means("idn", "des50", "set5"))


def test_only_seeds_that_both_have_are_pairs():
    runs = all_runs()
    change(runs, "idn", "full", 1, rows=(), cost=None)
    change(runs, "idn", "des50", 3, diverged="the loss is NaN at step 7")
    rows = told(runs)
    full, des = rows["idn", "full"], rows["idn", "des50"]
    assert (full.seeds, full.missing, full.diverged) == ((0, 2, 3), (1,), ())
    assert (des.seeds, des.missing) == ((0, 1, 2), ())
    assert des.diverged == (Diverged(3, "the loss is NaN at step 7"),)
    finding = des.findings["set5", "psnr_y"]
    assert finding.value.mean == pytest.approx(np.mean(means("idn", "des50", "set5", (0, 1, 2))))
    both = (0, 2)
    gains = np.subtract(means("idn", "des50", "set5", both), means("idn", "full", "set5", both))
    assert finding.to_baseline is not None
    assert finding.to_baseline.over_seeds.n == 2
    assert finding.to_baseline.over_seeds.mean == pytest.approx(gains.mean())
    assert des.gains is not None
    expected = np.mean(
        [
            figures("idn", "des50", seed)["tiny", "y.png", "psnr_y"]
            - figures("idn", "full", seed)["tiny", "y.png", "psnr_y"]
            for seed in both
        ]
    )
    assert des.gains["tiny", "y.png"] == pytest.approx(expected)
    assert len(des.gains) == 5 and full.gains is None


def test_a_study_that_has_just_begun():
    bare: dict[str, Any] = {"rows": (), "cost": None}
    runs = [run(m, s, seed, **bare) for seed in SEEDS for m in AXES["model"] for s in SETS]
    assert all(
        (row.cost, row.seeds, row.missing, dict(row.findings), row.curve, row.gains)
        == (None, (), SEEDS, {}, (), None)
        for row in told(runs).values()
    )
    change(runs, "idn", "des50", 0, rows=run("idn", "des50", 0).rows, cost=COST)
    finding = told(runs)["idn", "des50"].findings["set5", "psnr_y"]
    assert finding.value.n == 1
    assert finding.to_baseline is None and finding.to_control is None
    assert summarise([], axes=AXES, compare="set") == ()


def test_all_runs_of_a_row_diverged():
    runs = all_runs()
    for seed in SEEDS:
        change(runs, "idn", "full", seed, diverged="lost", rows=(), cost=None)
    rows = told(runs)
    assert rows["idn", "full"].cost is None and len(rows["idn", "full"].diverged) == 4
    finding = rows["idn", "des50"].findings["set5", "psnr_y"]
    assert finding.to_baseline is None and finding.to_control is not None
    assert rows["idn", "des50"].gains is None


# Controls


def control_of(
    runs: Sequence[Observation], levels: tuple[str, ...], **settings: Any
) -> float | None:
    found = told(runs, **settings)[levels].findings["set5", "psnr_y"].to_control
    return found.over_seeds.mean if found else None


def test_a_control_has_the_same_steps():
    runs = all_runs()
    for seed in SEEDS:
        change(runs, "fsrcnn", "random50", seed, cost=replace(COST, steps=1500))
    assert control_of(runs, ("fsrcnn", "des50")) is None
    assert control_of(runs, ("idn", "des50")) is not None


def shifted(rule: str, offset: str, ratio: float = 0.5, gain: float = 0.0) -> list[Observation]:
    """Runs of a study whose axes are the rule and the offset."""
    runs = []
    for seed in SEEDS:
        own = run("idn", "full", seed)
        rows = tuple(replace(row, value=row.value + gain) for row in own.rows)
        levels = {"rule": rule, "offset": offset}
        runs.append(replace(own, levels=levels, rows=rows, rule=rule, ratio=ratio))
    return [replace(each, offset=float(offset)) for each in runs]


def test_a_control_may_differ_in_axes_that_only_choose_the_core_set():
    axes = {"rule": ("des", "random"), "offset": ("0", "0.05", "0.1")}
    runs = shifted("des", "0.05", gain=0.3) + shifted("random", "0", gain=0.1)
    args: dict[str, Any] = {"axes": axes, "compare": "rule"}
    assert control_of(runs, ("des", "0.05"), **args) == pytest.approx(0.2)
    # of several, the one of the same offset
    runs += shifted("random", "0.05", gain=0.25)
    assert control_of(runs, ("des", "0.05"), **args) == pytest.approx(0.05)
    # and never one of another ratio
    runs = shifted("des", "0.05", gain=0.3) + shifted("random", "0.05", ratio=0.25)
    assert control_of(runs, ("des", "0.05"), **args) is None


@pytest.mark.parametrize("compare", AXES)
def test_a_control_is_of_the_same_network_whatever_is_compared(compare):
    gains = [
        own - other
        for own, other in zip(
            means("idn", "des50", "set5"), means("idn", "random50", "set5"), strict=True
        )
    ]
    runs = all_runs()
    for n, each in enumerate(runs):  # a network that is far better, so that a mix would show
        far = 5.0 * (each.levels["model"] == "idn")
        rows = tuple(replace(row, value=row.value + far) for row in each.rows)
        runs[n] = replace(each, rows=rows)
    found = control_of(runs, ("idn", "des50"), compare=compare)
    assert found == pytest.approx(np.mean(gains))


# Costs, curves, infinite figures


def test_costs_are_means_and_unknown_where_one_is():
    runs = [run("idn", "des50", seed) for seed in SEEDS]
    for n, own in enumerate(runs):
        cost = Cost(640 + n, 1000 + n, 3000, 600 + 2 * n, 10.0 + n, None if n == 3 else 50.0)
        runs[n] = replace(own, cost=cost)
    (row,) = summarise(runs, axes=AXES, compare="set")
    assert row.cost == Cost(642, 1002, 3000, 603, 11.5, None)
    (row,) = summarise(runs[:3], axes=AXES, compare="set")
    assert row.cost == Cost(641, 1001, 3000, 602, 11.0, 50.0)


def test_the_curve_is_the_mean_where_all_were_measured():
    curves: Mapping[int, Any] = {
        0: ((0, 20.0), (100, 30.0), (150, 31.0)),
        1: ((100, 32.0), (0, 21.0)),
    }
    runs = [run("idn", "des50", seed, curve=curve) for seed, curve in curves.items()]
    (row,) = summarise(runs, axes=AXES, compare="set")
    assert row.curve == ((0, 20.5), (100, 31.0))


def test_an_image_that_one_run_restores_to_the_last_bit_is_shown_and_not_tested():
    runs = all_runs()
    (own,) = (r for r in runs if (*r.levels.values(), r.seed) == ("idn", "des50", 2))
    rows = tuple(
        replace(row, value=math.inf) if (row.image, row.metric) == ("x.png", "psnr_y") else row
        for row in own.rows
    )
    change(runs, "idn", "des50", 2, rows=rows)
    row = told(runs)["idn", "des50"]
    finding = row.findings["tiny", "psnr_y"]
    assert finding.value.mean == math.inf and finding.to_baseline is not None
    assert finding.to_baseline.over_seeds.mean == math.inf
    assert finding.to_baseline.p is None and finding.to_baseline.verdict is Verdict.UNDECIDED
    assert row.gains is not None and row.gains["tiny", "x.png"] == math.inf
    other = row.findings["set5", "psnr_y"].to_baseline
    assert other is not None and other.verdict is Verdict.BETTER


# What may not stand in one table


def one_line(runs: Sequence[Observation]) -> str:
    with pytest.raises(InputError) as refused:
        told(runs)
    line = str(refused.value)
    assert "\n" not in line
    return line


def rows_of(seed: int, **changes: Any) -> tuple[EvalRow, ...]:
    return tuple(replace(row, **changes) for row in run("idn", "des50", seed).rows)


def test_two_protocols_are_refused():
    runs = all_runs()
    change(runs, "idn", "des50", 2, rows=rows_of(2, protocol="y@1"))
    line = one_line(runs)
    assert "'idn, des50, seed 2' was measured by y@1" in line
    assert "'fsrcnn, full, seed 0' by rgb8@1" in line


@pytest.mark.parametrize("drop", ["b.png", "set5"])
def test_two_sets_of_images_are_refused(drop):
    runs = all_runs()
    rows = tuple(
        row for row in run("idn", "des50", 2).rows if drop not in (row.image, row.benchmark)
    )
    change(runs, "idn", "des50", 2, rows=rows)
    line = one_line(runs)
    assert "'idn, des50, seed 2'" in line and "of set5." in line


def test_a_benchmark_that_only_one_run_has_is_refused():
    runs = all_runs()
    more = replace(run("idn", "des50", 2).rows[0], benchmark="urban100")
    change(runs, "idn", "des50", 2, rows=(*run("idn", "des50", 2).rows, more))
    assert "of urban100." in one_line(runs)


def test_a_figure_twice_is_refused():
    runs = all_runs()
    rows = run("idn", "des50", 2).rows
    change(runs, "idn", "des50", 2, rows=(*rows, rows[0]))
    assert "'idn, des50, seed 2' holds psnr_y of a.png of set5 twice" in one_line(runs)


def test_a_figure_that_is_none_is_refused():
    runs = all_runs()
    change(runs, "idn", "des50", 2, rows=rows_of(2, value=math.nan))
    assert "'idn, des50, seed 2': psnr_y of a.png of set5 is NaN" in one_line(runs)


def test_what_is_in_no_mean_is_not_looked_at():
    runs = all_runs()
    change(runs, "idn", "des50", 2, rows=rows_of(2, value=math.nan), diverged="lost")
    assert told(runs)["idn", "des50"].seeds == (0, 1, 3)


@pytest.mark.parametrize("changes", [{}, {"rows": (), "cost": None}, {"diverged": "lost"}])
def test_a_seed_twice_is_refused(changes):
    line = one_line([*all_runs(), run("idn", "des50", 2, **changes)])
    assert "two runs of 'idn, des50, seed 2'" in line


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": 0.4},
        {"rule": "asc"},
        {"offset": 0.1},
        {"score": "sobel"},
        {"scale": 3},
        {"recipe": "another"},
        {"cost": replace(COST, steps=6000)},
    ],
)
def test_two_experiments_in_one_row_are_refused(changes):
    runs = all_runs()
    change(runs, "idn", "des50", 2, **changes)
    line = one_line(runs)
    assert "'idn, des50, seed 0' and 'idn, des50, seed 2' are not the same experiment" in line


def test_a_contrast_compares_two_levels_in_every_combination_of_the_others():
    pairs = {"skip": ("refined50", "des50"), "again": ("des50", "random50")}
    found = contrasts(all_runs(), axes=AXES, compare="set", pairs=pairs, draws=300)
    assert [(each.name, dict(each.levels), each.level, each.other) for each in found] == [
        (name, {"model": model}, *pair) for name, pair in pairs.items() for model in AXES["model"]
    ]
    skip = found[0].differences["set5", "psnr_y"]
    gains = [
        own - other
        for own, other in zip(
            means("fsrcnn", "refined50", "set5"), means("fsrcnn", "des50", "set5"), strict=True
        )
    ]
    assert skip.over_seeds.mean == pytest.approx(math.fsum(gains) / 4, abs=1e-9)
    assert skip.verdict is Verdict.WORSE
    alone = [
        each.differences[key].p for each in found for key in each.differences if "psnr_y" in key
    ]
    adjusted = [
        each.differences[key].p_adjusted
        for each in found
        for key in each.differences
        if "psnr_y" in key
    ]
    assert len(alone) == 8  # a table of their own: two questions, two models, two benchmarks
    assert adjusted == pytest.approx(holm(alone))


def test_a_contrast_without_a_common_seed_is_left_out():
    runs = [each for each in all_runs() if each.levels["set"] != "des50" or each.seed < 2]
    runs = [each for each in runs if each.levels["set"] != "refined50" or each.seed >= 2]
    pairs = {"skip": ("refined50", "des50")}
    assert contrasts(runs, axes=AXES, compare="set", pairs=pairs, draws=300) == ()
