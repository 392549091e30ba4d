"""The curves of a run: what is drawn is what the log holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srprune.core.errors import MissingDependency
from srprune.reporting.curves import write_curves
from srprune.training.log import CsvLog

STEPS = range(100, 1300, 100)
RATES = [1e-3 * (1 - step / 2000) for step in STEPS]
LOSSES = [0.02 + 0.1 * 0.5 ** (step / 100) for step in STEPS]
VALIDATIONS = [(400, 30.125, 0.8), (800, 31.5, 0.85), (1200, 31.25, 0.86)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a log and validations."""
    return written(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The picture of that folder."""
    return picture(written(tmp_path_factory.mktemp("whole")))


def written(place: Path) -> Path:
    folder = place / "fsrcnn_x2__full__seed0"
    log(folder, list(zip(STEPS, RATES, LOSSES, strict=True)))
    validations(folder, ("step", "psnr_y", "ssim_y"), VALIDATIONS)
    return folder


def log(folder: Path, rows: list[tuple[float, ...]]) -> None:
    file = CsvLog(folder / "log.csv", ("step", "lr", "loss", "seconds"), 0)
    for row in rows:
        file.add(*row, 1.5)


def validations(folder: Path, columns: tuple[str, ...], rows: list[tuple[float, ...]]) -> None:
    file = CsvLog(folder / "validation.csv", columns, 0)
    for row in rows:
        file.add(*row)


def picture(folder: Path) -> bytes:
    path = folder.parent / "out" / "curves.png"
    assert write_curves(folder, path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return path.read_bytes()


def size(folder: Path) -> tuple[int, int]:
    picture(folder)
    with Image.open(folder.parent / "out" / "curves.png") as image:
        assert image.format == "PNG"
        levels = np.asarray(image.convert("L"))
        assert levels.min() < 80
        assert levels.max() == 255
        return image.size


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that draws a folder and returns the axes: loss, rate, validations if any."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    plain = Figure.savefig

    def record(self: Figure, *arguments: Any, **options: Any) -> None:
        drawn.append(self)
        plain(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", record)

    def draw(folder: Path) -> list[Any]:
        picture(folder)
        axes = drawn[-1].axes
        return sorted(axes, key=lambda each: ("loss", "rate", "PSNR").index(noun(each)))

    return draw


def noun(axes: Any) -> str:
    return axes.get_ylabel().removesuffix(" (dB)").split(" of ")[0].split()[-1]


def points(line: Any) -> list[tuple[float, float]]:
    return list(zip(*(list(each) for each in line.get_data()), strict=True))


def test_a_panel_below_only_with_validations(run: Path) -> None:
    both = size(run)
    (run / "validation.csv").unlink()
    alone = size(run)
    validations(run, ("step", "psnr_y"), [])
    assert size(run) == alone
    validations(run, ("step", "ssim_y"), [(100, 0.8)])
    assert size(run) == alone
    assert both[0] == alone[0] >= 1000
    assert both[1] > 1.5 * alone[1]


def test_the_lines_are_the_rows(run: Path, figure: Any) -> None:
    loss, rate, psnr = figure(run)
    assert loss.get_yscale() == "log"
    assert [points(line) for line in loss.lines] == [list(zip(STEPS, LOSSES, strict=True))]
    assert [points(line) for line in rate.lines] == [list(zip(STEPS, RATES, strict=True))]
    assert points(psnr.lines[0]) == [row[:2] for row in VALIDATIONS]
    assert psnr.get_ylabel() == "validation PSNR of Y (dB)"
    assert psnr.get_xlabel() == "step"
    assert rate.get_ylim()[0] == 0


@pytest.mark.parametrize("lowest", [0.0, -0.04])
def test_losses_that_a_logarithm_cannot_show_are_drawn_all_the_same(
    run: Path, figure: Any, lowest: float
) -> None:
    rows = [
        (step, 1e-3, loss) for step, loss in zip((100, 200, 300), (0.2, lowest, 0.1), strict=True)
    ]
    log(run, rows)
    loss = figure(run)[0]
    assert loss.get_yscale() == "linear"
    assert points(loss.lines[0]) == [(step, value) for step, _, value in rows]


def test_the_best_validation_is_marked_with_its_value(run: Path, figure: Any) -> None:
    psnr = figure(run)[2]
    assert points(psnr.lines[-1]) == [(800, 31.5)]
    assert [text.get_text() for text in psnr.texts] == ["best: 31.50 dB at step 800"]
    assert psnr.get_legend() is None


def test_bicubic_is_a_line_of_its_own(run: Path, figure: Any) -> None:
    rows = [(600, 29.0, 30.0), (1200, 31.0, 30.0)]
    validations(run, ("step", "psnr", "psnr_bicubic"), rows)
    psnr = figure(run)[2]
    assert points(psnr.lines[0]) == [(600, 29), (1200, 31)]
    assert set(psnr.lines[1].get_ydata()) == {30}
    assert [text.get_text() for text in psnr.get_legend().texts] == ["network", "bicubic"]
    assert psnr.get_ylabel() == "validation PSNR (dB)"


def test_psnr_without_bicubic_has_no_such_line(run: Path, figure: Any) -> None:
    validations(run, ("step", "psnr"), [(600, 29.0), (1200, 31.0)])
    psnr = figure(run)[2]
    assert points(psnr.lines[0]) == [(600, 29), (1200, 31)]
    assert psnr.get_legend() is None


def test_of_many_rows_the_mean_is_drawn_over_the_pale_rows(run: Path, figure: Any) -> None:
    log(run, [(step, 1e-3, 1.0 + step % 3) for step in range(1, 1000)])  # 2, 3, 1; 2, 3, 1
    pale, mean = figure(run)[0].lines
    assert len(points(pale)) == 999
    assert points(mean) == [(step, 2) for step in range(3, 1000, 3)]
    log(run, [(step, 1e-3, 1.0 + step % 3) for step in range(1, 1001)])
    assert points(figure(run)[0].lines[1])[-1] == (1000, 2)  # the last row alone


@pytest.mark.parametrize(
    ("losses", "rate"),  # each has an axis of its own
    [
        ([0.001], 0.0),
        ([0.5, 0.5], 2e-5),
        ([1.02e-3, 9.8e-4], 1e-3),
        ([0.5, 0.1], 0.0),
        ([0.02, 4e-4], 2e-5),
        ([1.0, 3e-7], 1e-3),
        ([-0.0023], 1e-3),
        ([0.04, -0.0023], 1e-3),
    ],
    ids=str,
)
def test_ticks_are_there_and_say_their_values(
    run: Path, figure: Any, losses: list[float], rate: float
) -> None:
    log(run, [(step, rate, loss) for step, loss in zip((100, 200), losses, strict=False)])
    for axes in figure(run)[:2]:
        low, high = axes.get_ylim()
        ticks = [tick for tick in axes.yaxis.get_major_ticks() if low <= tick.get_loc() <= high]
        assert 2 <= len(ticks) <= 9
        for tick in ticks:
            assert float(tick.label1.get_text()) == pytest.approx(tick.get_loc(), rel=1e-3)


def test_same_files_same_bytes(run: Path, whole: bytes) -> None:
    assert picture(run) == whole
    log(run, [(100, 1e-3, 0.5)])
    assert picture(run) != whole


@pytest.mark.parametrize(
    "torn",
    ["1", "1300,20.5,0.", "1300,20.5,0.5,2",
     "1300,x,y,z\n1300\n1300,\n1300,nan,nan,nan\n\n\0\n\udcff,\n"],
    ids=["a digit", "two fields", "but for its end", "whole lines"],
)  # fmt: skip
def test_a_damaged_row_is_passed_over(run: Path, whole: bytes, torn: str) -> None:
    for name in ("log.csv", "validation.csv"):
        with open(run / name, "ab") as file:
            file.write(torn.encode(errors="surrogateescape"))
    assert picture(run) == whole


@pytest.mark.parametrize(
    "text",
    [None, "", "step,l", "step,lr,loss,seconds\n", "step,lr,loss\n100,0.1", "step,lr\n100,0.1\n",
     "step,lr,loss\n100,0.1,nan\n200,0.1,inf\n"],
    ids=repr,
)  # fmt: skip
def test_nothing_to_draw(run: Path, text: str | None) -> None:
    if text is None:
        (run / "log.csv").unlink()
    else:
        (run / "log.csv").write_text(text)
    assert not write_curves(run, run / "curves.png")
    assert not (run / "curves.png").exists()


def test_a_folder_that_is_not_there_has_nothing_to_draw(tmp_path: Path) -> None:
    assert not write_curves(tmp_path / "run", tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []


def test_names_are_shown_as_they_are(run: Path) -> None:
    picture(run.rename(run.with_name("a$_b$ \\frac{")))


def test_matplotlib_is_optional(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependency, match=r"pip install 'srprune\[report\]'"):
        write_curves(run, run / "curves.png")


def test_drawing_loads_neither_pyplot_nor_torch(run: Path) -> None:
    code = (
        "import sys, pathlib, srprune.reporting.curves as c\n"
        "print('matplotlib' in sys.modules)\n"
        f"folder = pathlib.Path({str(run)!r})\n"
        "assert c.write_curves(folder, folder / 'curves.png')\n"
        "names = ('torch', 'matplotlib', 'matplotlib.pyplot')\n"
        "print(*(name for name in names if name in sys.modules))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "matplotlib"]
