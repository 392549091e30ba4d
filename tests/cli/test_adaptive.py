"""Adaptive pruning from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
ARGS = "pruning.args={warmup: 0.2, period: 0.1, explore: 0.1, decay: 0.9}"
RULE = ("--set", "pruning.rule=adaptive", "--set", "pruning.ratio=0.5", "--set", ARGS)


def test_a_run_that_chooses_on_the_way(cli: Any, prepared: Path, tiny: Any) -> None:
    done = cli(*tiny.train, *RULE, "--set", "pruning.offset=0")
    assert "this run: 36 patches, 20 steps of 2 crops" in done.stdout
    assert "(steps matched)" in done.stdout
    name = "fsrcnn_x2__adaptive_r0.50_warmup0.2_period0.1__seed0__seed0"
    folder = prepared / "runs" / name
    chosen = folder / "coreset.parquet"
    assert len((folder / "adaptive.csv").read_text().splitlines()) == 1 + 8 + 1
    assert "36 of 71 patches" in cli("inspect", chosen).stdout
    held = json.loads(cli("inspect", folder, "--json").stdout)
    assert 36 <= held["weights"]["info"]["visited_patches"] <= 20 * 2
    on = cli(*tiny.train, "--coreset", chosen, "--dry-run").stdout
    assert "core-set: coreset" in on and "this run: 36 patches" in on


def test_select_says_how_to_use_the_rule_instead(refused: Any, prepared: Path) -> None:
    said = refused("select", "--rule", "adaptive", "--ratio", "0.5")
    assert said.endswith("Train with it: srprune train --set pruning.rule=adaptive.")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("{explore: 2}", "pruning.args.explore is 2; with adaptive it must be"),
        ("{perod: 0.1}", "unknown adaptive setting 'pruning.args.perod'"),
        ("{bound: 0.2}", "pruning.args.bound 0.2 lets the run visit 14"),
    ],
)
def test_settings_that_cannot_be_are_one_line(
    refused: Any, prepared: Path, tiny: Any, args: str, words: str
) -> None:
    said = refused(*tiny.train, *RULE, "--set", "pruning.offset=0", "--set", f"pruning.args={args}")
    assert words in said
