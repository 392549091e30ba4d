"""The log of a run, cut back when the run is resumed."""

from __future__ import annotations

from pathlib import Path

import pytest

from srprune.training.log import CsvLog

COLUMNS = ("step", "lr", "loss")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "log.csv"


def filled(path: Path) -> CsvLog:
    log = CsvLog(path, COLUMNS, 0)
    for step in (100, 200, 300):
        log.add(step, "0.001", 0.25)
    return log


def test_rows_stand_in_the_file_at_once(path: Path) -> None:
    filled(path)
    assert path.read_text() == "step,lr,loss\n100,0.001,0.25\n200,0.001,0.25\n300,0.001,0.25\n"


def test_a_fresh_run_begins_an_empty_log(path: Path) -> None:
    filled(path)
    CsvLog(path, COLUMNS, 0)
    assert path.read_text() == "step,lr,loss\n"


@pytest.mark.parametrize(("step", "rows"), [(99, 0), (100, 1), (250, 2), (300, 3), (1000, 3)])
def test_resuming_drops_the_rows_behind_the_checkpoint(path: Path, step: int, rows: int) -> None:
    filled(path)
    whole = path.read_text().splitlines()
    log = CsvLog(path, COLUMNS, step)
    assert path.read_text().splitlines() == whole[: 1 + rows]
    log.add(step + 1, "0.001", 0.5)
    assert path.read_text().splitlines() == [*whole[: 1 + rows], f"{step + 1},0.001,0.5"]


@pytest.mark.parametrize("torn", ["4", "400", "400,0.0", "400,0.001,"])
def test_a_row_that_a_kill_cut_off_is_dropped(path: Path, torn: str) -> None:
    filled(path)
    whole = path.read_text()
    path.write_text(whole + torn)
    CsvLog(path, COLUMNS, 300)
    assert path.read_text() == whole


def test_resuming_without_a_log_begins_one(path: Path) -> None:
    CsvLog(path, COLUMNS, 200)
    assert path.read_text() == "step,lr,loss\n"


def test_a_log_without_a_whole_header_is_begun_again(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("step,l")
    CsvLog(path, COLUMNS, 200)
    assert path.read_text() == "step,lr,loss\n"


def test_values_with_commas_are_quoted(path: Path) -> None:
    CsvLog(path, ("step", "note"), 0).add(1, "a, b")
    assert path.read_text() == 'step,note\n1,"a, b"\n'
