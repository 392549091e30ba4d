"""From a cell to what is known of its run beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from srprune.studies.config import read_study
from srprune.studies.grid import Cell, cells_of
from srprune.studies.observation import expected

HALF = {"pruning.ratio": 0.5, "pruning.offset": 0}


def cells(folder: Path, one: dict[str, object], other: dict[str, object]) -> tuple[Cell, ...]:
    """Of two levels, two seeds each."""
    path = folder / "s.yaml"
    study = {
        "title": "A study",
        "images": "photos",
        "set": {"config": "wbsr_msrresnet_x2.yaml"},
        "axes": {"level": {"one": {**HALF, **one}, "other": {**HALF, **other}}},
        "compare": "level",
        "seeds": [0, 1],
    }
    path.write_text(yaml.safe_dump(study), encoding="utf-8")
    return cells_of(read_study(path))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"pruning.rule": "random"}, {"pruning.rule": "des"}, True),
        ({}, {"pruning.score": "sobel", "pruning.offset": 0.05}, True),
        ({}, {"steps": 0.5, "seeds": 1}, True),
        ({}, {"pruning.step_matching": False}, True),
        ({}, {"pruning.rule": "asc", "validation.every": 7}, True),
        ({}, {"config": "fsrcnn_x2.yaml"}, False),
        ({}, {"loss": "l1"}, False),
        ({}, {"optimizer.lr": 0.5}, False),
        ({}, {"batch": 3}, False),
        ({}, {"flops_budget": 0.66}, False),
    ],
)
def test_runs_of_one_recipe_differ_in_core_set_budget_and_seed_alone(tmp_path, one, other, alike):
    made = [expected(cell) for cell in cells(tmp_path, one, other)]
    recipes = {each.levels["level"]: each.recipe for each in made}
    assert {each.recipe for each in made} == set(recipes.values())  # no seed has its own
    assert (recipes["one"] == recipes["other"]) == alike
