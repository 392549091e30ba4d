"""The log of a run, cut back when the run is resumed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from srprune.core.errors import StorageError
from srprune.training.log import CsvLog, Scalars

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


# --- TensorBoard --------------------------------------------------------------------------------

# a process that has no tensorboard yet: what has been loaded of it before is forgotten
WRITE = """
import sys, warnings
from pathlib import Path
for name in list(sys.modules):
    if name.startswith(("tensorboard", "torch.utils.tensorboard", "srprune.")):
        del sys.modules[name]
warnings.simplefilter("error")
{before}
from srprune.training.log import Scalars
assert "tensorboard" not in sys.modules or not sys.modules["tensorboard"], "loaded too early"
scalars = Scalars(Path(sys.argv[1]), 0)
scalars.add(100, "train", {{"loss": 0.5}})
scalars.close()
"""


def attempt(folder: Path, first: int, last: int, loss: float) -> None:
    scalars = Scalars(folder, first)
    for step in range(first + 100, last + 1, 100):
        scalars.add(step, "train", {"loss": loss, "lr": 0.001})
    scalars.add(last, "validation", {"psnr_y": 30 + loss})
    scalars.close()


def next_second() -> None:
    """TensorBoard orders the attempts by whole seconds."""
    tick = int(time.time())
    while int(time.time()) == tick:
        time.sleep(0.02)


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: step and value of each point, by name."""
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    names = events.Tags()["scalars"]
    return {name: [(each.step, each.value) for each in events.Scalars(name)] for name in names}


def test_tensorboard_shows_every_point(tmp_path: Path) -> None:
    attempt(tmp_path, 0, 300, 0.5)
    rate = pytest.approx(0.001)
    assert curves(tmp_path) == {
        "train/loss": [(100, 0.5), (200, 0.5), (300, 0.5)],
        "train/lr": [(100, rate), (200, rate), (300, rate)],
        "validation/psnr_y": [(300, 30.5)],
    }


@pytest.mark.parametrize(("first", "kept"), [(0, []), (200, [(100, 0.5), (200, 0.5)])])
def test_tensorboard_drops_the_points_behind_the_checkpoint(
    tmp_path: Path, first: int, kept: list[tuple[int, float]]
) -> None:
    attempt(tmp_path, 0, 400, 0.5)
    next_second()
    attempt(tmp_path, first, first + 100, 0.25)
    shown = curves(tmp_path)
    assert shown["train/loss"] == [*kept, (first + 100, 0.25)]
    assert shown["validation/psnr_y"] == [(first + 100, 30.25)]


def test_points_are_flushed_while_the_run_goes_on(tmp_path: Path) -> None:
    scalars = Scalars(tmp_path, 0)
    scalars.add(100, "train", {"loss": 0.5})
    deadline = time.monotonic() + 30
    while not curves(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert curves(tmp_path) == {"train/loss": [(100, 0.5)]}
    scalars.close()


@pytest.mark.parametrize(
    "before",
    [
        "sys.modules['tensorboard'] = None",
        "Path('tensorboard.py').write_text('1 / 0')",
    ],
    ids=["absent", "broken"],
)
def test_without_tensorboard_nothing_is_written(start: Any, tmp_path: Path, before: str) -> None:
    (tmp_path / "run").mkdir()
    child = start("run", code=WRITE.format(before=before))
    assert (child.communicate(), child.returncode) == (("", ""), 0)
    assert list((tmp_path / "run").iterdir()) == []


def test_with_tensorboard_the_same_program_loads_it_late_and_writes(
    start: Any, tmp_path: Path
) -> None:
    child = start("run", code=WRITE.format(before=""))
    assert (child.communicate(), child.returncode) == (("", ""), 0)
    assert curves(tmp_path / "run") == {"train/loss": [(100, 0.5)]}


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").touch()
    with pytest.raises(StorageError, match="tensorboard: a file stands where a folder must be"):
        Scalars(tmp_path, 0)
