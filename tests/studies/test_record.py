"""What a study was when it began, and what became of its runs."""

from __future__ import annotations

import pytest

from srprune.core.errors import ArtifactError
from srprune.core.run_config import StageConfig
from srprune.studies.config import StudyConfig
from srprune.studies.grid import cells_of
from srprune.studies.record import Edits, Ledger, Record

STUDY = StudyConfig(
    title="A study",
    images="photos",
    set={"config": "fsrcnn_x2.yaml", "budget.steps": 100},
    axes={
        "core-set": {
            "full": {"pruning.ratio": 1, "pruning.offset": 0},
            "des50": {"pruning.ratio": 0.5, "pruning.offset": 0},
            "sobel50": {"pruning.ratio": 0.5, "pruning.offset": 0, "pruning.score": "sobel"},
        }
    },
    compare="core-set",
    seeds=(0,),
)


def ledger(study):
    return Ledger.of(study, cells_of(study))


def changed(**values):
    return ledger(STUDY).edits(ledger(STUDY.model_copy(update=values)))


def test_a_ledger_survives_the_disk(tmp_path):
    ledger(STUDY).write(tmp_path)
    assert Ledger.read(tmp_path) == ledger(STUDY)
    assert Ledger.read(tmp_path / "elsewhere") is None
    for damage in ("{", '{"cells": 3}', '{"cells": {"full, seed 0": ""}}', '{"cells": {"a": 1}}'):
        (tmp_path / "study.json").write_text(damage)
        with pytest.raises(ArtifactError, match=r"study.json is damaged. Delete it"):
            Ledger.read(tmp_path)


def test_words_edit_nothing():
    assert changed(title="Another", question="Why?", margin_db=0.1) == Edits((), (), ())


def test_a_changed_config_changes_every_cell_it_reaches():
    axes = {"core-set": {**STUDY.axes["core-set"]}}
    axes["core-set"]["des50"] = {"pruning.ratio": 0.4, "pruning.offset": 0}
    assert changed(axes=axes) == Edits(("des50, seed 0",), (), ())
    assert len(changed(set={**STUDY.set, "batch": 8}).changed) == 3


def test_another_scoring_model_changes_the_cells_that_it_ranks():
    scorers = {"srcnn": StageConfig(config="srcnn.yaml", set={"budget.steps": 5})}
    assert changed(scorers=scorers) == Edits(("des50, seed 0",), (), ())


def test_another_grid_changes_all():
    extract = STUDY.extract.model_copy(update={"stride": 120})
    assert len(changed(extract=extract).changed) == 3
    assert len(changed(images="elsewhere").changed) == 3


def test_other_weights_to_start_from_change_all():
    before = {**STUDY.set, "init.weights": "one.safetensors"}
    after = {**STUDY.set, "init.weights": "two.safetensors"}
    one, two = (ledger(STUDY.model_copy(update={"set": each})) for each in (before, after))
    assert len(one.edits(two).changed) == 3


def test_seeds_come_and_go():
    edits = changed(seeds=(1,))
    assert edits.changed == ()
    assert len(edits.removed) == len(edits.added) == 3
    assert edits.lines() == [
        "edited since it began: 3 cells are no longer part of it; their runs are kept",
        "edited since it began: 3 cells are new",
    ]


def test_a_record_survives_the_disk(tmp_path):
    record = Record("finished", "", 100, 5, 1234, 1.5, None, "a CPU")
    record.write(tmp_path)
    assert Record.read(tmp_path) == record
    assert Record.read(tmp_path / "elsewhere") is None
    (tmp_path / "cell.json").write_text('{"state": "finished"}')
    with pytest.raises(ArtifactError, match=r"cell.json is damaged. Delete it; the run is kept"):
        Record.read(tmp_path)
