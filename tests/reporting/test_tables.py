"""Tables: exact layout, paired differences against hand and scipy, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from srprune.core.artifact import Header
from srprune.core.errors import InputError, UnknownName
from srprune.core.estimate import estimate
from srprune.core.results import EvalRow
from srprune.reporting.comparison import RunCost, RunResult, comparison
from srprune.reporting.tables import (
    comparison_facts,
    comparison_markdown,
    comparison_text,
    csv_text,
    evaluation_table,
    json_text,
)

Figures = dict[str, list[tuple[float, float]]]  # (PSNR-Y, SSIM-Y) of the images of a benchmark


def make_rows(
    figures: Figures,
    *,
    model: str = "fsrcnn",
    train_set: str = "full",
    seed: int = 0,
    scale: int = 2,
    protocol: str = "rgb8@1",
) -> tuple[EvalRow, ...]:
    return tuple(
        EvalRow(model, train_set, seed, scale, benchmark, f"{i}.png", metric, value, protocol)
        for benchmark, images in figures.items()
        for i, pair in enumerate(images)
        for metric, value in zip(("psnr_y", "ssim_y"), pair, strict=True)
    )


def make_run(
    arm: str, seed: int, psnr: float, *, patches: int = 100, steps: int = 10, ssim: float = 0.9
) -> RunResult:
    """A run with two images of set5 whose means are the given figures."""
    images = [(psnr - 1, ssim - 0.01), (psnr + 1, ssim + 0.01)]
    if seed < 0:
        rows = make_rows({"set5": images}, model="bicubic", train_set="none", seed=-1)
        return RunResult(arm, -1, 0, 0, rows)
    return RunResult(arm, seed, patches, steps, make_rows({"set5": images}, seed=seed))


ONE_MODEL = make_rows(
    {"set5": [(36.5, 0.95), (math.inf, 1.0)], "mine": [(9.25, 0.5)]}, train_set="des50", seed=3
)


def three_arms() -> list[RunResult]:
    """Differences of des50 to full: 0.10, 0.30, 0.20; asc50 has one seed."""
    return [
        make_run("bicubic", -1, 30.0, ssim=0.85),
        *(make_run("full", seed, psnr) for seed, psnr in enumerate((31.0, 31.2, 31.1))),
        *(
            make_run("des50", seed, psnr, patches=50, ssim=0.91 + 0.001 * seed)
            for seed, psnr in enumerate((31.1, 31.5, 31.3))
        ),
        make_run("asc50", 0, 30.5, patches=50),
    ]


def test_evaluation_table_per_image() -> None:
    assert evaluation_table(ONE_MODEL, per_image=True) == (
        "protocol rgb8@1   scale x2   model fsrcnn   train set des50, seed 3\n"
        "\n"
        "benchmark  image       PSNR-Y  SSIM-Y\n"
        "Set5       0.png      36.5000  0.9500\n"
        "Set5       1.png          inf  1.0000\n"
        "Set5       mean of 2      inf  0.9750\n"
        "mine       0.png       9.2500  0.5000\n"
        "mine       mean of 1   9.2500  0.5000"
    )


def test_evaluation_table_of_means_and_an_untrained_model() -> None:
    rows = make_run("bicubic", -1, 33.66).rows
    assert evaluation_table(rows, per_image=False) == (
        "protocol rgb8@1   scale x2   model bicubic\n"
        "\n"
        "benchmark  image       PSNR-Y  SSIM-Y\n"
        "Set5       mean of 2  33.6600  0.9000"
    )


def test_evaluation_table_shows_what_is_missing() -> None:
    assert evaluation_table(ONE_MODEL[:1], per_image=False).endswith("mean of 1  36.5000       -")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"protocol": "y@1"}, "rgb8@1 and y@1"),
        ({"model": "srcnn"}, "one model was expected"),
        ({"scale": 3}, "fsrcnn x3"),
        ({"seed": 1}, "seed 1"),
        ({"train_set": "des50"}, "des50"),
    ],
)
def test_one_model_a_table(other: dict[str, object], words: str) -> None:
    rows = make_rows({"set5": [(30, 0.9)]}) + make_rows({"set5": [(31, 0.9)]}, **other)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words):
        evaluation_table(rows, per_image=False)
    with pytest.raises(InputError, match=words):
        json_text(rows, Header("EvalTable", "0" * 16, {}, {}))


def test_no_rows() -> None:
    with pytest.raises(InputError, match="no measurements"):
        evaluation_table([], per_image=True)


def test_csv_keeps_all_digits() -> None:
    rows = make_rows({"set5": [(100 / 3, 2 / 3), (math.inf, 1.0)]})
    text = csv_text(rows)
    assert text.splitlines()[0] == (
        "model,train_set,seed,scale,benchmark,image,metric,value,protocol"
    )
    assert "\r" not in text
    read = list(csv.DictReader(io.StringIO(text)))
    assert [float(line["value"]) for line in read] == [row.value for row in rows]
    assert read[2]["value"] == "inf"


def test_json_has_null_for_infinity() -> None:
    header = Header("EvalTable", "0123456789abcdef", {"weights": "f" * 16}, {"seed": 3})
    text = json_text(ONE_MODEL, header)
    read = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read["protocol"] == "rgb8@1"
    assert read["model"] == "fsrcnn"
    assert read["means"] == {
        "set5": {"psnr_y": None, "ssim_y": 0.975},
        "mine": {"psnr_y": 9.25, "ssim_y": 0.5},
    }
    assert "null is infinite" in read["units"]["psnr_y"]
    assert read["rows"][2] == {
        "benchmark": "set5", "image": "1.png", "metric": "psnr_y", "value": None,
    }  # fmt: skip
    assert read["header"]["fingerprint"] == header.fingerprint
    assert text.endswith("}\n")


def test_paired_difference_by_hand() -> None:
    table = comparison(three_arms(), "full")
    arms = {arm.name: arm for arm in table.arms}
    assert list(arms) == ["bicubic", "full", "des50", "asc50"]
    assert arms["full"].cells["set5"].delta_db is None
    des = arms["des50"].cells["set5"]
    assert des.delta_db is not None
    assert des.delta_db.mean == pytest.approx(0.2)
    assert des.delta_db.sd == pytest.approx(0.1)
    # t(0.975, 2 degrees of freedom) = 4.302653; 4.302653 * 0.1 / sqrt(3) = 0.248414
    assert des.delta_db.interval == pytest.approx((-0.048414, 0.448414), abs=1e-6)
    assert des.psnr_y.mean == pytest.approx(31.3)
    assert des.psnr_y.sd == pytest.approx(0.2)
    asc = arms["asc50"].cells["set5"].delta_db
    assert asc is not None
    assert asc.mean == pytest.approx(-0.5)
    assert (asc.n, asc.sd, asc.interval) == (1, None, None)


def test_pairing_is_by_seed_not_by_order() -> None:
    runs = three_arms()
    shuffled = [runs[i] for i in (0, 3, 1, 2, 5, 6, 4, 7)]
    cells = [
        next(arm for arm in comparison(each, "full").arms if arm.name == "des50").cells["set5"]
        for each in (runs, shuffled)
    ]
    assert cells[0].delta_db is not None
    assert cells[1].delta_db is not None
    assert cells[0].delta_db.interval == pytest.approx(cells[1].delta_db.interval)


@given(
    st.lists(
        st.tuples(st.floats(20, 40), st.floats(20, 40)), min_size=2, max_size=8, unique=True
    ).filter(lambda pairs: np.ptp([a - b for a, b in pairs]) > 1e-3)
)
def test_interval_equals_the_paired_t_test_of_scipy(pairs: list[tuple[float, float]]) -> None:
    own, base = zip(*pairs, strict=True)
    runs = [make_run("full", seed, psnr) for seed, psnr in enumerate(base)]
    runs += [make_run("des50", seed, psnr) for seed, psnr in enumerate(own)]
    delta = comparison(runs, "full").arms[1].cells["set5"].delta_db
    assert delta is not None
    expected = stats.ttest_rel(own, base).confidence_interval(0.95)
    assert delta.interval == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-7)


def test_only_common_seeds_pair() -> None:
    runs = [make_run("full", 1, 31.0), make_run("full", 2, 31.0)]
    runs += [make_run("des50", seed, 31.0 + seed) for seed in (2, 3, 4)]
    runs += [make_run("asc50", 7, 29.0)]
    table = comparison(runs, "full")
    des, asc = (arm.cells["set5"].delta_db for arm in table.arms[1:])
    assert des is not None
    assert des.mean == pytest.approx(2.0)
    assert des.n == 1
    assert asc is None
    notes = comparison_text(table).splitlines()
    assert "des50: 1 of 3 seeds in common with full." in notes
    assert "asc50: 0 of 1 seeds in common with full." in notes


@pytest.mark.parametrize("baseline", ["full", "bicubic"])
def test_an_untrained_arm_pairs_with_every_seed(baseline: str) -> None:
    runs = [make_run("bicubic", -1, 30.0)]
    runs += [make_run("full", seed, 31.0 + seed) for seed in range(3)]
    arms = {arm.name: arm for arm in comparison(runs, baseline).arms}
    delta = arms["bicubic" if baseline == "full" else "full"].cells["set5"].delta_db
    assert delta is not None
    assert delta.n == 3
    assert abs(delta.mean) == pytest.approx(2.0)
    assert not arms["bicubic"].trained


def test_infinite_figures_have_no_interval() -> None:
    runs = [make_run(arm, seed, math.inf) for arm in ("full", "des50") for seed in (0, 1)]
    table = comparison(runs, "full")
    assert table.arms[1].cells["set5"].psnr_y.interval is None
    assert comparison_text(table).count("inf") == 2
    assert "nan" not in comparison_text(table)
    assert math.isnan(estimate([math.inf, -math.inf]).mean)


def test_comparison_text_exactly() -> None:
    assert comparison_text(comparison(three_arms(), "full")) == (
        "protocol rgb8@1   scale x2   model fsrcnn\n"
        "\n"
        "Set5 (2 images)\n"
        "arm      patches  steps  n  PSNR-Y         SSIM-Y            vs full, dB\n"
        "bicubic        -      -  -  30.00          0.8500            -1.100 [-1.348, -0.852]\n"
        "full         100     10  3  31.10 +- 0.10  0.9000 +- 0.0000  -\n"
        "des50         50     10  3  31.30 +- 0.20  0.9110 +- 0.0010  +0.200 [-0.048, +0.448]\n"
        "asc50         50     10  1  30.50          0.9000            -0.500\n"
        "\n"
        "vs full: difference in PSNR-Y, paired by seed, with its 95% t-interval; "
        "+- is the standard deviation over n seeds.\n"
        "n=1, no interval (asc50): one seed is an anecdote: "
        "differences below about 0.05 dB mean nothing."
    )


def test_comparison_markdown_exactly() -> None:
    runs = [make_run("bicubic", -1, 30.0), make_run("full", 0, 31.0, patches=32592, steps=15608)]
    runs += [make_run("des50", 0, 31.004, patches=16296, steps=7804)]
    assert comparison_markdown(comparison(runs, "full")) == (
        "protocol rgb8@1   scale x2   model fsrcnn\n"
        "\n"
        "| arm | patches | steps | n | Set5 PSNR-Y / SSIM-Y | Set5 vs full, dB |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| bicubic | - | - | - | 30.00 / 0.9000 | -1.000 |\n"
        "| full | 32,592 | 15,608 | 1 | **31.00** / 0.9000 | - |\n"
        "| des50 | 16,296 | 7,804 | 1 | **31.00** / 0.9000 | +0.004 |\n"
        "\n"
        "- vs full: difference in PSNR-Y, paired by seed.\n"
        "- n=1, no interval (full, des50): one seed is an anecdote: "
        "differences below about 0.05 dB mean nothing.\n"
        "- Steps differ: a difference then measures the training as well as the data.\n"
    )


def test_what_an_arm_took_stands_below() -> None:
    costs = {
        ("full", 0): RunCost(2_000_000, 10, None),
        ("full", 1): RunCost(2_000_000, 13, None),
        ("des50", 0): RunCost(1_000_000, 9, 224.4),
        ("made", 0): RunCost(1_200_000, 8, 1800),
    }
    runs = [make_run("bicubic", -1, 30.0)]
    runs += [replace(make_run(arm, seed, 31.0), cost=cost) for (arm, seed), cost in costs.items()]
    table = comparison(runs, "full")
    assert (
        "\n\nCost\n"
        "arm     MB  set, s  training, s\n"
        "full   2.0       -           12\n"
        "des50  1.0     224            9\n"
        "made   1.2   1,800            8\n\n"
    ) in comparison_text(table)
    markdown = comparison_markdown(table)
    assert (
        "\n\n| arm | MB | set, s | training, s |\n"
        "| --- | ---: | ---: | ---: |\n"
        "| full | 2.0 | - | 12 |\n"
        "| des50 | 1.0 | 224 | 9 |\n"
        "| made | 1.2 | 1,800 | 8 |\n\n"
    ) in markdown
    assert "seconds of training" in markdown
    assert comparison_facts(table)["arms"][1]["cost"] == {
        "num_bytes": 2e6, "seconds": 11.5, "set_s": None,
    }  # fmt: skip


def test_seconds_of_choosing_stand_only_where_all_seeds_have_them() -> None:
    runs = [make_run("full", seed, 31.0) for seed in (0, 1)]
    known, unknown = RunCost(1e6, 9, 5.0), RunCost(1e6, 9, None)
    runs = [replace(run, cost=cost) for run, cost in zip(runs, (known, unknown), strict=True)]
    (arm,) = comparison(runs, "full").arms
    assert arm.cost == unknown


def test_markdown_has_two_columns_a_benchmark() -> None:
    figures: Figures = {"set5": [(30, 0.9)], "urban100": [(27, 0.8)], "mine": [(25, 0.7)]}
    runs = [RunResult("full", seed, 10, 10, make_rows(figures, seed=seed)) for seed in (0, 1)]
    lines = comparison_markdown(comparison(runs, "full")).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[5:-1:2]] == [
        "Set5 PSNR-Y / SSIM-Y", "Urban100 PSNR-Y / SSIM-Y", "mine PSNR-Y / SSIM-Y",
    ]  # fmt: skip
    assert "**30.00** \u00b1 0.00 / 0.9000 \u00b1 0.0000" in lines[4]
    assert len({line.count("|") for line in lines[2:5]}) == 1


def refused(runs: Sequence[RunResult], words: str) -> None:
    with pytest.raises(InputError, match=words):
        comparison(runs, "full")


def test_runs_that_do_not_compare_are_refused() -> None:
    full = make_run("full", 0, 31.0)
    figures: Figures = {"set5": [(30, 0.9), (31, 0.9)]}
    refused([], "nothing to compare")
    other = RunResult("des50", 0, 50, 10, make_rows(figures, protocol="y@1"))
    refused([full, other], "rgb8@1 and y@1")
    refused([full, RunResult("des50", 0, 50, 10, make_rows(figures, scale=3))], "scales")
    refused([full, RunResult("des50", 0, 50, 10, make_rows({"set5": [(30, 0.9)]}))], "same images")
    refused([full, RunResult("des50", 0, 50, 10, make_rows({"set14": [(30, 0.9)]}))], "same images")
    refused([full, RunResult("des50", 0, 50, 10, full.rows + full.rows)], "once each")
    refused([full, RunResult("des50", 0, 50, 10, full.rows[:-1])], "PSNR-Y and SSIM-Y")
    refused([full, full], "two runs of seed 0")
    refused([full, make_run("full", 1, 31.0, steps=20)], "10 steps .seed 0. and .* 20 steps")
    refused([full, make_run("full", 1, 31.0, patches=99)], "99 patches")
    mixed = RunResult("full", 1, 100, 10, make_rows(figures, model="srcnn", seed=1))
    refused([full, mixed], "srcnn")


def test_unknown_baseline() -> None:
    with pytest.raises(UnknownName, match="Did you mean: full"):
        comparison([make_run("full", 0, 31.0)], "fall")
