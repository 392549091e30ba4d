"""The loss curve: right shares, a sound PNG, and no heavy import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from srprune.core.errors import InputError, MissingDependency
from srprune.reporting.figures import cumulative_shares, loss_curve, sorted_scores

HEAVY = np.random.default_rng(0).lognormal(-8, 1.2, 1280)
CUTS = {"des50": (0, 640), "asc25": (960, 1280), "refined50": (64, 704)}

losses = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1e308)).filter(np.any)


def test_shares_by_hand() -> None:
    shares = cumulative_shares(np.array([1.0, 4.0, 2.0, 3.0]))
    np.testing.assert_allclose(shares, [0, 0.4, 0.7, 0.9, 1])


@given(losses)
def test_shares_rise_ever_slower_from_0_to_1(scores_n: npt.NDArray[np.float64]) -> None:
    shares = cumulative_shares(scores_n)
    assert shares.shape == (len(scores_n) + 1,)
    assert shares[0] == 0
    assert shares[-1] == 1
    steps = np.diff(shares)
    assert (steps >= 0).all()
    assert (np.diff(steps) <= 1e-12).all()
    assert (shares >= np.arange(len(shares)) / len(scores_n) - 1e-12).all()


@given(losses, st.randoms())
def test_shares_depend_neither_on_order_nor_on_unit(
    scores_n: npt.NDArray[np.float64], random: Any
) -> None:
    shuffled = scores_n.tolist()
    random.shuffle(shuffled)
    shares = cumulative_shares(scores_n)
    assert np.array_equal(cumulative_shares(np.array(shuffled)), shares)
    halved = scores_n / 2
    if np.array_equal(halved * 2, scores_n):  # nothing was lost below the smallest number
        np.testing.assert_allclose(cumulative_shares(halved), shares, rtol=1e-12)


@pytest.mark.parametrize("bad", [[], [1.0, -0.1], [np.inf, 1.0], [np.nan, 1.0], [0.0, 0.0]])
def test_scores_without_shares_are_refused(bad: list[float], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 0"):
        loss_curve(np.array(bad), {}, tmp_path / "curve.png", method="mse")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("window", [(-1, 5), (5, 5), (7, 5), (0, 1281)])
def test_windows_outside_are_refused(window: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="des50 has ranks"):
        loss_curve(HEAVY, {"des50": window}, tmp_path / "curve.png", method="mse")
    assert not list(tmp_path.iterdir())


def draw(path: Path, cuts: dict[str, tuple[int, int]], method: str = "mse") -> Image.Image:
    loss_curve(HEAVY, cuts, path, method=method)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    image = Image.open(path)
    image.load()
    assert image.format == "PNG"
    levels = np.asarray(image.convert("L"))
    assert levels.min() < 80
    assert levels.max() == 255
    return image


def test_two_panels_or_one(tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    both = draw(path, CUTS)
    left = draw(path, {"des50": (0, 640), "full": (0, 1280)})
    right = draw(path, {"refined50": (64, 704)})
    bare = draw(path, {})
    assert both.width == 2 * left.width == 2 * right.width == 2 * bare.width


@pytest.mark.parametrize("figure", [loss_curve, sorted_scores])
@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_same_scores_same_bytes(figure: Any, ending: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        figure(HEAVY, CUTS, tmp_path / name / f"figure.{ending}", method="mse")
    one, other = ((tmp_path / name / f"figure.{ending}").read_bytes() for name in ("a", "b"))
    assert one == other


@pytest.mark.parametrize("figure", [loss_curve, sorted_scores])
def test_a_pdf_is_vectors_and_text(figure: Any, tmp_path: Path) -> None:
    path = tmp_path / "figure.pdf"
    figure(HEAVY, CUTS, path, method="mse")
    content = path.read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"/Type /Font" in content
    assert b"/Type3" not in content
    assert b"/Subtype /Image" not in content
    assert b"CreationDate" not in content
    assert [each.name for each in tmp_path.iterdir()] == ["figure.pdf"]


def bars(path: Path) -> npt.NDArray[np.bool_]:
    """Where a sorted-scores figure has the colour of its bars."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    return np.abs(pixels - [0x8F, 0xA3, 0xAD]).max(axis=2) < 12


def test_sorted_scores_fall_from_left_to_right(tmp_path: Path) -> None:
    sorted_scores(HEAVY, {}, tmp_path / "s.png", method="mse")
    heights = bars(tmp_path / "s.png").sum(axis=0)
    inside = heights[np.flatnonzero(heights)[2:-2]]
    assert len(inside) > 500
    assert (np.diff(inside) <= 2).all()
    assert inside[0] > 2 * inside[-1]


def test_sorted_scores_may_be_negative_or_few(tmp_path: Path) -> None:
    for scores in (np.array([-1.0, 2.0]), np.array([3.0]), np.zeros(4)):
        sorted_scores(scores, {"des": (0, 1)}, tmp_path / "s.png", method="reducible")


@pytest.mark.parametrize("bad", [[], [np.inf, 1.0], [np.nan]])
def test_scores_that_cannot_be_sorted_are_refused(bad: list[float], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finite"):
        sorted_scores(np.array(bad), {}, tmp_path / "s.png", method="mse")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("method", "noun"), [("mse", "loss"), ("sobel", "score")])
def test_each_window_is_labelled_with_its_share(
    method: str, noun: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    texts: list[str] = []
    plain = Axes.text

    def record(self: Axes, x: float, y: float, s: str, **options: Any) -> Any:
        texts.append(s)
        return plain(self, x, y, s, **options)

    monkeypatch.setattr(Axes, "text", record)
    draw(tmp_path / "curve.png", CUTS, method)
    falling = np.sort(HEAVY)[::-1]
    shares = {label: falling[first:end].sum() / HEAVY.sum() for label, (first, end) in CUTS.items()}
    assert texts == [f"{label}: {share:.1%} of the {noun}" for label, share in shares.items()]


def test_labels_are_shown_as_they_are(tmp_path: Path) -> None:
    draw(tmp_path / "curve.png", {"a$_b$ \\frac{": (0, 640), "$": (64, 704)})


def test_matplotlib_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependency, match=r"pip install 'srprune\[report\]'"):
        loss_curve(HEAVY, CUTS, tmp_path / "curve.png", method="mse")


def loaded(code: str, *names: str) -> list[str]:
    """Which of the named modules a fresh interpreter holds after running the code."""
    listing = f"import sys; print(*(name for name in {names!r} if name in sys.modules))"
    command = [sys.executable, "-c", f"{code}\n{listing}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_importing_the_reports_loads_nothing_heavy() -> None:
    code = (
        "from srprune.reporting import comparison, contact_sheet, figures, tables\n"
        "assert comparison.estimate([1.0, 2.0]).interval"
    )
    assert loaded(code, "torch", "matplotlib", "matplotlib.pyplot", "scipy.stats") == []


def test_drawing_loads_neither_pyplot_nor_torch(tmp_path: Path) -> None:
    code = (
        "import numpy, pathlib, srprune.reporting.figures as f\n"
        f"path = pathlib.Path({str(tmp_path / 'curve.png')!r})\n"
        "f.loss_curve(numpy.ones(9), {'des': (0, 3), 'refined': (1, 4)}, path, method='mse')"
    )
    assert loaded(code, "torch", "matplotlib", "matplotlib.pyplot") == ["matplotlib"]


def test_the_import_test_can_fail() -> None:
    assert loaded("import matplotlib.pyplot", "matplotlib.pyplot") == ["matplotlib.pyplot"]
