"""Cells of a study one after the other: what is asked between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

pytest.importorskip("torch")
from srprune.core.config import ExtractConfig
from srprune.core.errors import Stopped
from srprune.core.workspace import Workspace
from srprune.stages.evaluate import find_benchmarks
from srprune.stages.extract import ImageSource, extract
from srprune.stages.study import Setting, run_cells
from srprune.stages.study_plan import Plan, open_study

STUDY = {
    "title": "The full set, twice",
    "extract": {"size": 48, "stride": 24},
    "set": {
        "config": "fsrcnn_x2.yaml",
        "model_args": {"d": 6, "s": 4, "m": 1},
        "budget.steps": 2,
        "batch": 2,
        "lr_crop": 12,
        "validation.benchmark": None,
    },
    "axes": {"core-set": {"full": {"pruning.ratio": 1, "pruning.offset": 0}}},
    "compare": "core-set",
    "seeds": [0, 1],
}


@pytest.fixture
def study(images: Path, tmp_path: Path) -> tuple[Plan, Setting]:
    """Two cells that no process has run yet, and where to run them."""
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), workspace)
    (tmp_path / "held").mkdir()
    flat = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(flat).resize((36, 36)).save(tmp_path / "held" / "one.png")
    held = str(tmp_path / "held")
    file = tmp_path / "s.yaml"
    known = {**STUDY, "images": str(images), "evaluate": {"benchmarks": [held]}}
    file.write_text(yaml.safe_dump(known, sort_keys=False))
    setting = Setting(workspace, [tmp_path], find_benchmarks([held], [tmp_path]), "cpu")
    return open_study(file, workspace), setting


def test_a_stop_is_heard_between_cells_that_only_have_to_be_measured(
    study: tuple[Plan, Setting],
) -> None:
    plan, setting = study
    run_cells(plan, plan.cells, setting)
    results = setting.workspace.root / "results"
    measured = sorted(results.glob("*.parquet"))
    assert len(measured) == 2
    for file in measured:
        file.unlink()
    told = iter([False, True])  # training would ask, too, but there is nothing to train
    stopping = Setting(
        setting.workspace, setting.roots, setting.benchmarks, "cpu", stopping=lambda: next(told)
    )
    with pytest.raises(Stopped, match=r"between two cells\. Run the study again to go on"):
        run_cells(plan, plan.cells, stopping)
    (first,) = results.glob("*.parquet")
    assert first.name.startswith(plan.cells[0].name)
    run_cells(plan, plan.cells, setting)
    assert sorted(results.glob("*.parquet")) == measured
