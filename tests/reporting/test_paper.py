"""The paper's numbers: all there, once each, and the doubts say what the numbers say."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest

from srprune.core.errors import InputError
from srprune.images.benchmarks import BENCHMARKS
from srprune.models import MODELS
from srprune.reporting.paper import (
    DOUBTS,
    FULL_STEPS,
    OTHER_SSIM,
    doubts_about,
    paper_value,
    paper_values,
)

QUALITIES = {"table": 3, "network": "swinir", "metric": "psnr_y", "score": "loss"}
REFINED = {"rule": "des", "ratio": 0.5, "offset": 0.05}
FULL = {"rule": "full", "ratio": 1.0}


def value(**wanted: object) -> float:
    found = paper_value(**(QUALITIES | wanted))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_every_number_of_the_three_tables_is_there_once() -> None:
    values = paper_values()
    rows_networks_metrics = {1: 10 * 5 * 2, 2: 2 * 5 * 2, 3: 24 * 4 * 2}
    assert Counter(each.table for each in values) == rows_networks_metrics
    assert len({replace(each, value=0.0) for each in values}) == len(values)


def test_values_are_finite_and_of_their_metric() -> None:
    for each in paper_values():
        assert math.isfinite(each.value)
        low, high = (10, 45) if each.metric == "psnr_y" else (0.5, 1)
        assert low < each.value < high, each
        assert each.metric in ("psnr_y", "ssim_y")
        assert each.benchmark in BENCHMARKS
        assert (each.rule == "full") == (each.ratio == 1) == (each.score == "")


def test_the_networks_of_ours_have_our_names() -> None:
    ours = {each.network for each in paper_values()} & set(MODELS)
    assert ours == {"fsrcnn", "drrn", "idn", "rdn", "swinir", "rcan"}


@pytest.mark.parametrize(
    ("wanted", "printed"),
    [
        # Table 1: first, last, the failed training, both runs of 50% DES
        ({"table": 1, "network": "fsrcnn", "scale": 2, "benchmark": "bsd100", **FULL}, 31.09),
        (
            {"table": 1, "scale": 2, "benchmark": "bsd100", "rule": "des", "ratio": 0.5,
             "metric": "ssim_y"},
            0.9104,
        ),
        (
            {"table": 1, "network": "drrn", "scale": 2, "benchmark": "bsd100", "rule": "asc",
             "ratio": 0.25, "step_share": 0.25},
            14.66,
        ),
        (
            {"table": 1, "network": "fsrcnn", "scale": 2, "benchmark": "bsd100", "rule": "des",
             "ratio": 0.5, "step_share": 0.5},
            31.20,
        ),
        (
            {"table": 1, "network": "fsrcnn", "scale": 2, "benchmark": "bsd100", "rule": "des",
             "ratio": 0.5},
            31.30,
        ),
        # Table 2
        ({"table": 2, "scale": 2, "benchmark": "Set5", "rule": "des", "ratio": 0.5}, 38.32),
        (
            {"table": 2, "scale": 2, "benchmark": "manga109", "rule": "des", "ratio": 0.5,
             "score": "sobel", "metric": "ssim_y", "step_share": 0.1},
            0.9789,
        ),
        # Table 3
        ({"network": "rcan", "scale": 2, "benchmark": "set5", **FULL}, 38.27),
        ({"network": "nlsa", "scale": 3, "benchmark": "urban100", **FULL}, 29.25),
        ({"scale": 4, "benchmark": "urban100", **REFINED, "metric": "ssim_y"}, 0.8111),
    ],
)  # fmt: skip
def test_golden_cells(wanted: dict[str, object], printed: float) -> None:
    assert value(**wanted) == printed


def test_what_the_paper_does_not_print_is_none() -> None:
    asked = QUALITIES | {"scale": 2, "benchmark": "set5", "rule": "des", "ratio": 0.5}
    for change in (
        {"ratio": 0.4}, {"offset": 0.1}, {"benchmark": "photos"}, {"scale": 8}, {"rule": "random"},
        {"network": "idn"}, {"score": "sobel"},
        {"table": 1, "benchmark": "bsd100", "step_share": 0.75},
    ):  # fmt: skip
        assert paper_value(**(asked | change)) is None, change  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not 4"):
        paper_value(**(asked | {"table": 4}))  # type: ignore[arg-type]


def test_steps_are_shares_of_those_of_the_full_set() -> None:
    shares = Counter(each.step_share for each in paper_values() if each.table == 1)
    assert shares == {1.0: 30, 0.75: 20, 0.5: 30, 0.25: 20}
    assert {each.steps for each in paper_values() if each.table != 1} == {None}
    assert FULL_STEPS == 15_608


def test_doubts_have_names_and_each_concerns_something() -> None:
    assert len({doubt.name for doubt in DOUBTS}) == len(DOUBTS)
    for doubt in DOUBTS:
        assert doubts_about(paper_values()) == DOUBTS
        assert any(map(doubt.concerns, paper_values())), doubt.name
        assert doubt.sentence.endswith(".")
    assert doubts_about([]) == ()


def test_ssim_of_table_1_is_of_another_definition() -> None:
    other = [each for each in paper_values() if OTHER_SSIM.concerns(each)]
    assert len(other) == 50
    assert {(each.table, each.metric) for each in other} == {(1, "ssim_y")}


def gaps(train_set: str, scale: int, metric: str = "psnr_y") -> dict[str, float]:
    """Table 3's SwinIR on a core-set minus SwinIR on the full set."""
    chosen = {"des50": REFINED | {"offset": 0.0}, "refined50": REFINED}[train_set]
    wanted = {"scale": scale, "metric": metric}
    return {
        name: round(
            value(**wanted, **chosen, benchmark=name) - value(**wanted, **FULL, benchmark=name), 4
        )
        for name in ("set5", "set14", "bsd100", "urban100")
    }


def test_the_doubts_say_what_the_tables_say() -> None:
    said = {doubt.name: doubt.sentence for doubt in DOUBTS}
    apart = [
        value(scale=2, rule="des", ratio=0.5, benchmark=name)
        - value(table=2, scale=2, rule="des", ratio=0.5, benchmark=name)
        for name in ("set5", "set14", "bsd100", "urban100")
    ]
    assert "{:.2f}, {:.2f}, {:.2f} and {:.2f} dB".format(*apart) in said["two-reports-of-one-run"]
    for scale in (2, 3, 4):
        ends = sorted(gaps("refined50", scale).values())
        told = f"{ends[0]:+.2f} to {ends[-1]:+.2f}".replace("+0.00", "0.00")
        assert told in said["gain-at-x2-only"]
    ssim = [gaps(name, x, "ssim_y")["bsd100"] for name in ("des50", "refined50") for x in (2, 3, 4)]
    assert f"{min(ssim):.4f} to {max(ssim):.4f}" in said["other-bsd100-files"]
    drrn = value(table=1, network="drrn", scale=2, benchmark="bsd100", **FULL)
    assert f"({drrn:.2f} dB)" in said["drrn-below-bicubic"]
    for network in ("fsrcnn", "idn", "rdn", "swinir"):
        printed = value(table=1, network=network, scale=2, benchmark="bsd100", **FULL)
        assert f"{printed:.2f} against" in said["short-training"]
