"""Pictures: each only where the study varies it, and made of the findings' numbers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from srprune.core.findings import Findings, Row, Verdict
from srprune.reporting.canvas import STYLE
from srprune.reporting.study.axes import Plan
from srprune.reporting.study.pictures import plans
from srprune.reporting.study.series import grids, sweeps

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")


def plan(findings: Findings, stem: str) -> Plan:
    return next(each for each in plans(findings) if each.stem == stem)


def drawn(plan: Plan) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(plan.width, plan.height), layout="constrained")
        FigureCanvasAgg(figure)
        plan.draw(figure)
    return figure


def panel(figure: Any, title: str) -> Any:
    return next(axes for axes in figure.axes if axes.get_title() == title)


def line(axes: Any, label: str) -> tuple[list[float], list[float]]:
    """Coordinates and means of the error bars of a label."""
    bars = next(each for each in axes.containers if each.get_label() == label)
    return tuple(np.asarray(each).tolist() for each in bars.lines[0].get_data())  # type: ignore[return-value]


def test_each_study_has_the_pictures_of_what_it_varies(
    findings: Findings, budget: Findings, offsets: Findings, nothing_yet: Findings
) -> None:
    assert [each.stem for each in plans(findings)] == [
        "psnr_ratio", "psnr_offset", "learning_curves", "gains_1", "gains_2", "cost",
    ]  # fmt: skip
    assert [each.stem for each in plans(budget)] == [
        "difference_map", "psnr_ratio", "psnr_steps", "learning_curves",
        "gains_1", "gains_2", "gains_3", "gains_4", "cost",
    ]  # fmt: skip
    assert [each.stem for each in plans(offsets)] == [
        "psnr_ratio", "psnr_offset", "learning_curves", "gains", "cost",
    ]  # fmt: skip
    assert plans(nothing_yet) == []
    bare = replace(findings, rows=tuple(replace(r, curve=(), gains=None) for r in findings.rows))
    assert [each.stem for each in plans(bare)] == ["psnr_ratio", "psnr_offset", "cost"]


def test_networks_make_panels_and_core_sets_make_lines(findings: Findings) -> None:
    panels = sweeps(findings, "ratio")
    assert [each.title for each in panels] == ["network fsrcnn", "network idn"]
    for each in panels:
        assert each.full is not None and each.full.rule == "full"
        assert [(s.label, [row.ratio for row in s.rows]) for s in each.series] == [
            ("des", [0.25, 0.5]), ("random", [0.5]),
        ]  # fmt: skip
    assert sweeps(findings, "steps") == []


def test_an_axis_of_rules_is_explained_by_them(budget: Findings) -> None:
    rows = [row for row in budget.rows if row.levels["steps"] == "5000" and row.rule != "full"]
    full = next(row for row in budget.rows if row.rule == "full")
    ratios = tuple(dict.fromkeys(f"{100 * row.ratio:g}" for row in rows))
    named = [
        replace(row, levels={"rule": row.rule, "ratio": f"{100 * row.ratio:g}"}) for row in rows
    ]
    fulls = [replace(full, levels={"rule": rule, "ratio": "100"}) for rule in ("des", "random")]
    axes = {"rule": ("des", "random"), "ratio": ("100", *ratios)}
    study = replace(budget, axes=axes, compare="ratio", rows=(*fulls, *named))
    (only,) = sweeps(study, "ratio")
    assert (only.title, [each.label for each in only.series]) == ("", ["des", "random"])


def test_settings_part_a_line_where_two_rows_would_stand_at_one_place(offsets: Findings) -> None:
    def bound(row: Row, name: str, ratio: float) -> Row:
        levels = {"train_set": name}
        return replace(row, levels=levels, rule="adaptive", ratio=ratio, settings="bound 0.5")

    rows = list(offsets.rows)
    des = next(row for row in rows if row.ratio == 0.5 and not row.offset)
    there = [replace(des, levels={"train_set": "a"}, rule="adaptive"), bound(des, "b", 0.1)]
    sets = (*offsets.axes["train_set"], "a", "b", "c", "d")

    def labels(*more: Row) -> dict[str, list[float]]:
        study = replace(offsets, axes={"train_set": sets}, rows=(*rows, *there, *more))
        (only,) = sweeps(study, "ratio")
        assert only.title == ""
        found = {each.label: [row.ratio for row in each.rows] for each in only.series}
        return {label: ratios for label, ratios in found.items() if "adaptive" in label}

    assert labels() == {"adaptive": [0.1, 0.5]}
    plain = replace(there[0], levels={"train_set": "c"}, ratio=0.1)
    assert labels(plain, bound(des, "d", 0.5)) == {
        "adaptive": [0.1, 0.5], "adaptive bound 0.5": [0.1, 0.5],
    }  # fmt: skip


def test_the_map_of_a_rule_with_two_settings_is_two(budget: Findings) -> None:
    des = [row for row in budget.rows if row.rule == "des"]
    again = [
        replace(row, levels=row.levels | {"train_set": f"{row.ratio} again"}, settings="bound 0.9")
        for row in des
    ]
    names = tuple(dict.fromkeys(row.levels["train_set"] for row in again))
    axes = {**budget.axes, "train_set": (*budget.axes["train_set"], *names)}
    found = grids(replace(budget, axes=axes, rows=(*budget.rows, *again)))
    assert [(grid.title, len(grid.rows)) for grid in found] == [
        ("des", 20), ("des bound 0.9", 20), ("random", 20),
    ]  # fmt: skip


def test_shorter_training_is_a_line_of_its_own(findings: Findings) -> None:
    rows = []
    for row in findings.rows[:6]:
        short = row.cost and replace(row.cost, steps=round(20_000 * row.ratio))
        rows.append(replace(row, cost=short) if row.rule == "asc" else row)
        if row.rule == "asc":
            levels = row.levels | {"train_set": "asc50"}
            half = row.cost and replace(row.cost, steps=10_000)
            rows.append(replace(row, levels=levels, ratio=0.5, cost=half))
    sets = (*findings.axes["train_set"], "asc50")
    study = replace(findings, axes={"network": ("fsrcnn",), "train_set": sets}, rows=tuple(rows))
    (only,) = sweeps(study, "ratio")
    assert {each.label for each in only.series} == {"des", "random", "asc (equal epochs)"}


def test_the_points_are_the_means_and_the_band_the_interval(offsets: Findings) -> None:
    figure = drawn(plan(offsets, "psnr_offset"))
    axes = panel(figure, "BSD100")
    rows = [row for row in offsets.rows if row.ratio == 0.1]
    x, y = line(axes, "des 10%")
    assert x == [0, 1, 2, 5, 10, 20]
    assert y == [row.findings["bsd100", "psnr_y"].value.mean for row in rows]
    full = offsets.rows[0].findings["bsd100", "psnr_y"].value
    assert {tuple(each.get_ydata()) for each in axes.lines} >= {(full.mean, full.mean)}
    (band,) = axes.patches
    assert full.interval is not None
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx(full.interval)


def test_ticks_say_their_values(findings: Findings) -> None:
    for axes in drawn(plan(findings, "psnr_offset")).axes:
        for value in axes.get_yticks():
            text = axes.yaxis.get_major_formatter()(value)
            assert float(text) == pytest.approx(value, abs=1e-9)
            assert len(text.split(".")[1]) >= 2


def test_the_full_set_is_a_line_over_steps(budget: Findings) -> None:
    (only,) = sweeps(budget, "steps")
    assert only.full is None
    assert only.series[0].label == "full"
    assert [row.cost and row.cost.steps for row in only.series[0].rows] == [1e3, 5e3, 2e4, 1e5]
    assert len(only.series) == 11


def test_the_map_holds_every_difference_and_marks_verdicts(budget: Findings) -> None:
    found = grids(budget)
    assert [each.title for each in found] == ["des", "random"]
    assert found[0].steps == [1000, 5000, 20_000, 100_000]
    assert found[0].ratios == [0.05, 0.1, 0.25, 0.5, 0.75]
    axes = panel(drawn(plan(budget, "difference_map")), "random, Set5")
    texts = {(round(t.get_position()[0]), round(t.get_position()[1])): t for t in axes.texts}
    assert len(texts) == 20
    for (x, y), text in texts.items():
        row = found[1].rows[found[1].steps[x], found[1].ratios[y]]
        difference = row.findings["set5", "psnr_y"].to_baseline
        assert difference is not None
        number, *same = text.get_text().replace("−", "-").split()
        assert float(number) == pytest.approx(difference.over_seeds.mean, abs=0.0051)
        assert bool(same) == (difference.verdict is Verdict.EQUIVALENT)
        decided = difference.verdict in (Verdict.BETTER, Verdict.WORSE)
        assert text.get_weight() == ("bold" if decided else "normal")


def test_networks_that_train_for_other_steps_share_no_line(budget: Findings) -> None:
    assert grids(budget)
    networks = replace(budget, apart=("steps",))  # as if the axis were one of networks
    assert grids(networks) == []
    assert sweeps(networks, "steps") == []
    assert len(sweeps(networks, "ratio")) == 4


def test_learning_curves_stand_above_their_differences(findings: Findings) -> None:
    figure = drawn(plan(findings, "learning_curves"))
    above, below = figure.axes[0], figure.axes[2]
    assert above.get_title() == "network fsrcnn"
    assert [each.get_label() for each in above.lines] == list(findings.axes["train_set"])
    full = findings.rows[0].curve
    assert list(zip(*above.lines[0].get_data(), strict=True)) == list(full)
    assert len(below.lines) == 5  # asc25 has a shorter schedule
    assert set(below.lines[0].get_ydata()) == {0}
    assert below.lines[1].get_ydata() == pytest.approx([0.1] * len(full))


def test_of_many_curves_the_ends_are_named(budget: Findings) -> None:
    only = replace(
        budget,
        axes={"train_set": budget.axes["train_set"]},
        rows=tuple(
            replace(row, levels={"train_set": row.levels["train_set"]})
            for row in budget.rows
            if row.levels["steps"] == "1000"
        ),
    )
    picture = plan(only, "learning_curves")
    above, below = drawn(picture).axes
    last = {row.levels["train_set"]: row.curve[-1][1] for row in only.rows}
    falling = sorted(last, key=lambda name: -last[name])
    falling.remove("full")
    named = {"full", *falling[:3], *falling[-3:]}
    for axes in (above, below):
        labels = [each.get_label() for each in axes.lines]
        assert len(labels) == 11 and {*labels} == {*named, "others"}
        grey = {each.get_color() for each in axes.lines if each.get_label() == "others"}
        colors = [each.get_color() for each in axes.lines if each.get_label() in named]
        assert len({*colors}) == 7 and len(grey) == 1 and not grey & {*colors}
    assert "the 3 that end best" in picture.note
    assert "that end best" not in plan(replace(only, rows=only.rows[:8]), "learning_curves").note


def test_gains_are_sorted_and_their_ends_named(findings: Findings) -> None:
    figure = drawn(plan(findings, "gains_1"))
    axes = panel(figure, "des50, Set5")
    gains = findings.rows[1].gains
    assert gains is not None
    of_set5 = sorted((v for (name, _), v in gains.items() if name == "set5"), reverse=True)
    assert [bar.get_height() for bar in axes.patches] == of_set5
    most = max((v, image) for (name, image), v in gains.items() if name == "set5")[1]
    up = sum(value > 0 for value in of_set5)
    said = axes.get_xlabel().splitlines()
    assert said[0] == f"{up} of 5 images above 0"
    assert said[1].startswith(f"most: {most.split('/')[1][:20]}")
    assert said[1].endswith(f"+{of_set5[0]:.2f}")


def test_visited_patches_are_shown_where_they_are_not_all(findings: Findings) -> None:
    def labels(study: Findings) -> set[str]:
        return {axes.get_xlabel() for axes in drawn(plan(study, "cost")).axes}

    kept = {"patches kept", "MB of pixels", "seconds of training"}
    assert labels(findings) == kept
    rows = [
        replace(row, cost=row.cost and replace(row.cost, num_visited=row.cost.num_patches // 2))
        for row in findings.rows[:3]
    ]
    assert labels(replace(findings, rows=tuple(rows))) == {*kept, "patches visited"}


def test_nothing_lies_outside_the_figure(findings: Findings) -> None:
    figure = drawn(plan(findings, "psnr_ratio"))
    figure.draw_without_rendering()
    whole = figure.bbox
    for each in (*figure.legends, *figure.axes):
        box = each.get_tightbbox(figure.canvas.get_renderer())
        assert whole.x0 - 1 <= box.x0 and box.x1 <= whole.x1 + 1
        assert whole.y0 - 1 <= box.y0 and box.y1 <= whole.y1 + 1


def test_a_report_loads_neither_pyplot_nor_torch() -> None:
    code = (
        "import sys, srprune.reporting.study.report\n"
        "names = ('torch', 'matplotlib')\n"
        "print(*(name for name in names if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
