"""The four formats of a report: whole, escaped, and the same bytes every time."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from srprune.core.errors import MissingDependency
from srprune.core.findings import Findings
from srprune.reporting.study.content import content
from srprune.reporting.study.latex import HEIGHT, latex
from srprune.reporting.study.long_csv import csv_text
from srprune.reporting.study.markdown import markdown
from srprune.reporting.study.page import page
from srprune.reporting.study.pictures import draw_pictures
from srprune.reporting.study.report import write_study_report
from srprune.reporting.study.runs_csv import runs_csv

NASTY = r"""<b>&amp; 50% $x_1$ #{a}^~ \frac | *[i] "q" `c`"""
VOID = {"meta", "img"}


@pytest.fixture
def small(findings: Findings) -> Findings:
    """Three rows, and gains of Set5 alone: quick to draw."""
    rows = [
        replace(
            row,
            gains=row.gains and {key: gain for key, gain in row.gains.items() if key[0] == "set5"},
        )
        for row in findings.rows[:3]
    ]
    return replace(findings, rows=tuple(rows))


@pytest.fixture
def nasty(findings: Findings) -> Findings:
    """Every name that a user gives holds what each format takes for its own."""
    name = f"des50 {NASTY}"
    sets = tuple(name if each == "des50" else each for each in findings.axes["train_set"])
    rows = [
        replace(row, levels=row.levels | {"train_set": name})
        if row.levels["train_set"] == "des50"
        else row
        for row in findings.rows
    ]
    axes = {"network": findings.axes["network"], "train_set": sets}
    return replace(findings, title=NASTY, question=NASTY, axes=axes, rows=tuple(rows))


class Tags(HTMLParser):
    """Checks that elements nest, and gathers text and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [value for key in ("src", "href") if (value := values.get(key))]
        self.ids += [value for key in ("id",) if (value := values.get(key))]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def test_everything_is_written_and_named(small: Findings, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    done = write_study_report(
        small,
        tmp_path / "r",
        progress=lambda label, done, total, note="": seen.append((done, total)),
    )
    assert done.missing == ()
    there = [path for path in (tmp_path / "r").rglob("*") if path.is_file()]
    assert sorted(done.files) == sorted(there)
    texts = ["report.csv", "report.html", "report.md", "report.tex"]
    assert sorted(path.name for path in (tmp_path / "r").glob("report.*")) == texts
    stems = {path.stem for path in there if path.parent.name == "pictures"}
    assert stems == {"learning_curves", "gains", "cost"}
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for stem in stems:
        picture = tmp_path / "r" / "pictures" / stem
        assert picture.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert picture.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        assert f"(pictures/{stem}.png)" in (tmp_path / "r" / "report.md").read_text()

    first = {path: path.read_bytes() for path in done.files}
    assert write_study_report(small, tmp_path / "r") == done
    assert {path: path.read_bytes() for path in done.files} == first

    reader = Tags()
    reader.feed((tmp_path / "r" / "report.html").read_text())
    assert reader.open == []
    outside = [each for each in reader.addresses if not each.startswith(("#", "data:image/png"))]
    assert outside == []
    assert len([each for each in reader.addresses if each.startswith("data:")]) == 3
    targets = {each[1:] for each in reader.addresses if each.startswith("#")}
    assert targets == set(reader.ids)
    assert len(set(reader.ids)) == len(reader.ids)


def test_without_matplotlib_there_are_tables_and_a_word(
    small: Findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = write_study_report(small, tmp_path)
    assert len(done.files) == 5
    assert "pip install 'srprune[report]'" in done.missing[0]
    assert "![" not in (tmp_path / "report.md").read_text()
    with pytest.raises(MissingDependency, match=r"srprune\[report\]"):
        draw_pictures(small, tmp_path / "pictures")


def test_a_study_without_runs_has_a_report(nothing_yet: Findings, tmp_path: Path) -> None:
    done = write_study_report(nothing_yet, tmp_path)
    assert len(done.files) == 5
    assert "Nothing can be said yet" in (tmp_path / "report.md").read_text()
    lines = list(csv.DictReader((tmp_path / "report.csv").read_text().splitlines()))
    assert {each["missing"] for each in lines if each["rule"] != "bicubic"} == {"0 1"}


def test_html_shows_what_users_write_as_text(nasty: Findings) -> None:
    text = page(content(nasty, ()))
    reader = Tags()
    reader.feed(text)
    assert reader.open == []
    assert NASTY in reader.text
    assert "<b>&amp; 50%" not in text
    assert "default-src 'none'" in text


def test_markdown_tables_have_one_width(nasty: Findings) -> None:
    text = markdown(content(nasty, ()))
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    assert len(blocks) == 9
    for block in blocks:
        lines = block.splitlines()
        widths = {len(re.findall(r"(?<!\\)\|", each)) for each in lines}
        assert len(widths) == 1, lines[0]
    assert "<b>" not in re.sub(r"\\<", "", text)
    assert "**" in text and "<ins>" in text


def plain(text: str) -> str:
    """LaTeX without comments and escaped characters."""
    return re.sub(r"\\[\\&%$#_{}]", " ", re.sub(r"(?<!\\)%.*", "", text))


def test_latex_is_balanced_and_its_rows_fit_their_columns(nasty: Findings) -> None:
    text = latex(content(nasty, ()))
    begun = re.findall(r"\\begin\{(\w+)\}", text)
    assert sorted(begun) == sorted(re.findall(r"\\end\{(\w+)\}", text))
    bare = plain(text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    body = bare.split(r"\begin{document}")[1]
    assert not re.search(r"[#~|<>]|(?<!\$)\^", body)
    assert re.findall(r"\\usepackage(?:\[.*\])?\{(\w+)\}", bare) == ["fontenc", "booktabs"]
    tables = re.findall(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}(.*?)\\end\{tabular\}", text, re.S)
    assert len(tables) >= 7
    for sides, inside in tables:
        for row in inside.splitlines():
            if not row.endswith(r"\\"):
                continue
            spanned = sum(int(k) - 1 for k in re.findall(r"\\multicolumn\{(\d+)\}", row))
            assert len(re.findall(r"(?<!\\)&", row)) + 1 + spanned == len(sides), row


def test_long_and_wide_tables_are_split(budget: Findings) -> None:
    many = replace(budget, benchmarks={"set5": 5, "bsd100": 100, "a": 3, "b": 4, "c": 5})
    text = latex(content(many, ()))
    labels = re.findall(r"\\label\{tab:(.*?)\}", text)
    assert len(set(labels)) == len(labels)
    assert {"figures", "figures-2", "baseline-psnr_y-2"} <= set(labels)
    for inside in re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.S):
        assert inside.count("\\\\\n") <= HEIGHT + 3
    figures = text.split("Differences in")[0]
    for row in budget.rows:
        assert row.levels["train_set"] in figures


def test_latex_compiles(nasty: Findings, tmp_path: Path) -> None:
    if (program := shutil.which("pdflatex")) is None:
        pytest.skip("there is no pdflatex")
    (tmp_path / "report.tex").write_text(latex(content(nasty, ())), encoding="utf-8")
    command = [program, "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_csv_holds_every_figure(findings: Findings) -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text(findings))))
    trained = [each for each in lines if each["rule"] != "bicubic"]
    assert len(trained) == sum(max(1, len(row.findings)) for row in findings.rows)
    assert len(lines) - len(trained) == len(findings.bicubic)
    by_key = {
        (each["axis_network"], each["axis_train_set"], each["benchmark"], each["metric"]): each
        for each in trained
    }

    def near(text: str) -> object:
        return pytest.approx(float(text), rel=1e-9)

    for row in findings.rows:
        for (benchmark, metric), found in row.findings.items():
            levels = (row.levels["network"], row.levels["train_set"])
            each = by_key[(*levels, benchmark, metric)]
            assert found.value.mean == near(each["mean"])
            assert found.value.n == int(each["n"])
            if (difference := found.to_baseline) is not None:
                assert difference.over_seeds.mean == near(each["delta_baseline"])
                judged = difference.over_seeds.n > 1
                assert each["verdict_baseline"] == (difference.verdict.value if judged else "")
                assert bool(each["p_adjusted_baseline"]) == judged
                assert bool(each["delta_low_images_baseline"]) == judged
            assert bool(each["delta_control"]) == (found.to_control is not None)
            assert each["paper"] == ("" if found.paper is None else str(found.paper))
    diverged = by_key["fsrcnn", "asc25", "set5", "psnr_y"]
    assert diverged["diverged"] == "2: the loss became NaN at step 310"
    assert (diverged["seeds"], diverged["missing"], diverged["steps"]) == ("0 1 3", "4", "5000")
    empty = by_key["idn", "asc25", "", ""]
    assert (empty["mean"], empty["n"], empty["missing"]) == ("", "0", "0 1 2")


def test_the_runs_give_the_means_of_the_report(findings: Findings) -> None:
    names = [f"axis_{axis}" for axis in findings.axes] + ["benchmark", "metric"]
    runs: dict[tuple[str, ...], dict[int, float]] = {}
    for line in csv.DictReader(runs_csv(findings).splitlines()):
        assert (line["study"], line["protocol"]) == (findings.name, findings.protocol)
        assert int(line["num_images"]) == findings.benchmarks[line["benchmark"]]
        values = runs.setdefault(tuple(line[name] for name in names), {})
        assert int(line["seed"]) not in values
        values[int(line["seed"])] = float(line["value"])
    told = {
        tuple(line[name] for name in names): line
        for line in csv.DictReader(csv_text(findings).splitlines())
        if line["n"] not in ("", "0")
    }
    assert runs.keys() == told.keys() and runs
    for key, values in runs.items():
        assert " ".join(map(str, values)) == told[key]["seeds"]
        mean = sum(values.values()) / len(values)
        assert mean == pytest.approx(float(told[key]["mean"]), rel=1e-8)


def test_csv_says_of_which_definition_an_ssim_is(findings: Findings) -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text(findings))))
    printed = [each for each in lines if each.get("paper")]
    assert len(printed) == 12
    for each in printed:
        psnr = each["metric"] == "psnr_y"
        assert each["paper_ssim"] == ("" if psnr else "uniform 7x7")
        assert bool(each["ours_minus_paper"]) == psnr


@pytest.fixture
def browser() -> object:
    """Chromium, where playwright and one are installed."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium")
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_a_phone_scrolls_tables_in_their_own_boxes(
    nasty: Findings, tmp_path: Path, browser: object
) -> None:
    (tmp_path / "report.html").write_text(page(content(nasty, ())), encoding="utf-8")
    new_page: Callable[..., object] = browser.new_page  # type: ignore[attr-defined]
    for scheme in ("light", "dark"):
        shown = new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
        shown.goto((tmp_path / "report.html").as_uri())  # type: ignore[attr-defined]
        evaluate = shown.evaluate  # type: ignore[attr-defined]
        assert evaluate("() => document.documentElement.scrollWidth") <= 390
        boxes = evaluate(
            "() => [...document.querySelectorAll('.scroll')]"
            ".map(e => e.scrollWidth - e.clientWidth)"
        )
        assert max(boxes) > 0
        back = evaluate("() => getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, back[4:-1].split(","))) < 200) == (scheme == "dark")  # the style is on
