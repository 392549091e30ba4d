"""Tables and sentences of a study, against what stands in the findings."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srprune.core.estimate import Estimate
from srprune.core.findings import Contrast, Difference, Findings, Row, Verdict
from srprune.reporting.paper import DOUBTS
from srprune.reporting.study import words
from srprune.reporting.study.agreement import agreement
from srprune.reporting.study.claims import claims, notes
from srprune.reporting.study.long_csv import csv_text
from srprune.reporting.study.marks import Mark, marks
from srprune.reporting.study.table import Table
from srprune.reporting.study.tables import OTHER, OTHER_IMAGES, tables

BEST, SECOND = Mark.BEST, Mark.SECOND


def named(findings: Findings, name: str) -> Table:
    return next(table for table in tables(findings) if table.name == name)


def line(table: Table, block: str, first: str) -> list[str]:
    lines = next(each.lines for each in table.blocks if each.title == block)
    return next([cell.text for cell in cells] for cells in lines if cells[0].text == first)


def find(findings: Findings, network: str, train_set: str) -> Row:
    wanted = {"network": network, "train_set": train_set}
    return next(each for each in findings.rows if each.levels == wanted)


def changed(study: Findings, row: Row, /, **values: object) -> Findings:
    other = replace(row, **values)  # type: ignore[arg-type]
    return replace(study, rows=tuple(other if r is row else r for r in study.rows))


def judged(row: Row, verdict: Verdict, mean: float, more: int | None = None) -> Row:
    """The row with one verdict on PSNR-Y of every benchmark."""
    own = Estimate(mean, 5, 0.01, (mean - 0.01, mean + 0.01))
    found = Difference(own, None, 0.01, 0.02, 0.2, verdict, more)
    return replace(
        row,
        findings={
            key: replace(each, to_baseline=found) if key[1] == "psnr_y" else each
            for key, each in row.findings.items()
        },
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 3.0, 2.0], [None, BEST, SECOND]),
        ([32.001, 32.004, 31.0], [BEST, BEST, SECOND]),  # alike in two decimals
        ([32.0, 31.996, 31.99], [BEST, BEST, SECOND]),
        ([None, 3.0, math.nan, 2.0], [None, BEST, None, SECOND]),
        ([3.0], [None]),
        ([None, 3.0], [None, None]),
        ([], []),
        ([math.inf, 3.0], [BEST, SECOND]),
        ([-0.001, 0.001, -1.0], [BEST, BEST, SECOND]),
    ],
)
def test_marks(values: list[float | None], expected: list[Mark | None]) -> None:
    assert marks(values, 2) == expected


@given(st.lists(st.floats(20, 40) | st.none(), max_size=12))
def test_marks_go_with_what_is_printed(values: list[float | None]) -> None:
    found = marks(values, 2)
    printed = [None if value is None else float(f"{value:.2f}") for value in values]
    by_mark: dict[Mark | None, set[float]] = {BEST: set(), SECOND: set(), None: set()}
    for mark, value in zip(found, printed, strict=True):
        if value is not None:
            by_mark[mark].add(value)
    assert len(by_mark[BEST]) <= 1 and len(by_mark[SECOND]) <= 1
    if sum(value is not None for value in printed) > 1:
        ranked = sorted({value for value in printed if value is not None}, reverse=True)
        assert [*by_mark[BEST], *by_mark[SECOND]] == ranked[:2]


def test_the_figures_begin_with_bicubic_and_follow_the_axes(findings: Findings) -> None:
    table = named(findings, "figures")
    assert [block.title for block in table.blocks] == ["network fsrcnn", "network idn"]
    sets = ["bicubic", "full", "des50", "random50", "refined50", "des25", "asc25"]
    for block in table.blocks:
        assert [cells[0].text for cells in block.lines] == sets
    shuffled = replace(findings, rows=findings.rows[::-1])
    assert named(shuffled, "figures") == table
    assert line(table, "network fsrcnn", "bicubic")[-4:] == ["33.66", "0.9299", "29.56", "0.8431"]


def test_a_figure_is_mean_and_spread_or_the_mean_alone(findings: Findings) -> None:
    table = named(findings, "figures")
    value = find(findings, "fsrcnn", "des50").findings["set5", "psnr_y"].value
    cells = line(table, "network fsrcnn", "des50")
    assert cells[:6] == ["des50", "50%", "0%", "20,000", "5", f"{value.mean:.2f} ± {value.sd:.2f}"]
    alone = find(findings, "idn", "des25").findings["set5", "psnr_y"].value
    assert line(table, "network idn", "des25")[4:6] == ["1", f"{alone.mean:.2f}"]
    assert line(table, "network idn", "asc25") == ["asc25", "25%", "0%", "–", "0", *"––––"]


def test_the_best_of_each_group_is_marked(findings: Findings) -> None:
    for block in named(findings, "figures").blocks:
        for column in range(5, 9):
            shown = [(cells[column].parts[0], cells[column].mark) for cells in block.lines]
            numbers = sorted({float(text) for text, _ in shown if text != "–"}, reverse=True)
            for text, mark in shown:
                place = numbers.index(float(text)) if text != "–" else 9
                assert mark == (BEST, SECOND, *[None] * 9)[place]


def test_differences_have_sign_interval_and_verdict(findings: Findings) -> None:
    table = named(findings, "baseline-psnr_y")
    found = find(findings, "fsrcnn", "asc25").findings["set5", "psnr_y"].to_baseline
    assert found is not None and found.over_seeds.interval is not None
    low, high = found.over_seeds.interval
    told = f"{found.over_seeds.mean:.3f} [{low:.3f}, {high:.3f}]".replace("-", "−")
    assert line(table, "network fsrcnn", "asc25")[:5] == ["asc25", "3", told, "0.032", "worse"]
    assert line(table, "network fsrcnn", "refined50")[4] == "undecided: about 4 more seeds"
    assert line(table, "network idn", "des50")[4] == "equivalent within 0.05 dB"
    assert all(cells[0].text != "full" for block in table.blocks for cells in block.lines)
    control = named(findings, "control-psnr_y")
    assert [len(block.lines) for block in control.blocks] == [2, 2]


def test_one_seed_gets_neither_interval_nor_verdict(findings: Findings) -> None:
    _, pairs, change, p, told, *_ = line(named(findings, "baseline-psnr_y"), "network idn", "des25")
    assert (pairs, p, told) == ("1", "–", "one seed: no verdict")
    assert "[" not in change and change[0] in "+−"


def test_ssim_of_another_definition_has_a_sign_a_note_and_no_difference(
    findings: Findings,
) -> None:
    table = named(findings, "paper")
    lines = [cells for block in table.blocks for cells in block.lines]
    assert [cells[0].text for cells in lines] == [
        "full",
        "des50",
        "des25",
        "asc25",
        "full",
        "des50",
    ]
    for cells in lines:
        psnr, ssim = cells[1:4], cells[4:7]
        assert [cell.sign for cell in (*psnr, *ssim)] == ["", "", "", "", OTHER, ""]
        ours, printed = float(psnr[0].text), float(psnr[1].text)
        assert float(psnr[2].text) == pytest.approx(ours - printed, abs=0.011)
        assert ssim[2].text == "–"
    assert any(OTHER in note for note in table.notes)


def test_ssim_of_table_3_is_set_beside_ours(findings: Findings) -> None:
    row = find(findings, "idn", "full")
    printed = {**row.findings}
    key = ("set5", "ssim_y")
    printed[key] = replace(printed[key], paper=0.9620)  # SwinIR x2 on the full set
    levels = {"network": "swinir", "train_set": "full"}
    other = replace(findings, axes=findings.axes | {"network": ("fsrcnn", "idn", "swinir")})
    table = named(changed(other, row, findings=printed, levels=levels), "paper")
    cells = line(table, "network swinir", "full")
    ours = float(cells[1])
    assert cells[2] == "0.9620"
    assert float(cells[3].replace("−", "-")) == pytest.approx(ours - 0.962, abs=0.0002)


def test_intervals_over_images_stand_in_a_table_of_their_own(findings: Findings) -> None:
    row = find(findings, "fsrcnn", "des50")
    own = row.findings["set5", "psnr_y"]
    assert own.to_baseline is not None and own.to_control is not None
    unsure = replace(own.to_baseline, over_images=(-0.01, 0.2))
    told = changed(findings, row, findings={("set5", "psnr_y"): replace(own, to_baseline=unsure)})
    asked = replace(own.to_control, over_images=(0.02, 0.16))
    contrast = Contrast("?", {"network": "idn"}, "des50", "asc25", {("set5", "psnr_y"): asked})
    table = named(replace(told, contrasts=(contrast,)), "images-psnr_y")
    assert [block.title for block in table.blocks] == ["network fsrcnn", "network idn"]
    fsrcnn, idn = ({cells[0].text: cells for cells in b.lines[::-1]} for b in table.blocks)
    mean = words.signed(own.to_baseline.over_seeds.mean, 3)
    to_full = next(cells for cells in table.blocks[0].lines if cells[0].text == "des50")
    assert [cell.text for cell in to_full] == ["des50", "full", f"{mean} [−0.010, +0.200]", "–"]
    assert to_full[2].sign == OTHER_IMAGES  # decided, and yet the interval contains 0
    assert OTHER_IMAGES in table.notes[1]
    assert [cell.text for cell in table.blocks[1].lines[0][:2]] == ["des50", "asc25"]
    assert table.blocks[1].lines[0][2].text.endswith("[+0.020, +0.160]")
    assert "des25" in fsrcnn and "des25" not in idn  # of one seed there is no such interval
    assert all(cell.sign != OTHER_IMAGES for cells in idn.values() for cell in cells)
    assert len(named(findings, "images-psnr_y").notes) == 1


def test_patches_that_were_visited_stand_beside_those_that_are_there(findings: Findings) -> None:
    row = find(findings, "fsrcnn", "des50")
    assert row.cost is not None
    told = changed(findings, row, cost=replace(row.cost, num_patches=2000, num_visited=1234))
    table = named(told, "cost")
    assert [column.name for column in table.columns[1:3]] == ["patches", "visited"]
    assert line(table, "network fsrcnn", "des50")[1:3] == ["2,000", "1,234"]


def test_without_paper_control_or_runs_there_are_no_such_tables(
    offsets: Findings, nothing_yet: Findings
) -> None:
    names = [table.name for table in tables(offsets)]
    assert names == [
        "figures", "baseline-psnr_y", "images-psnr_y", "baseline-ssim_y", "images-ssim_y", "cost",
    ]  # fmt: skip
    assert [table.name for table in tables(nothing_yet)] == ["figures"]


def test_every_line_is_as_long_as_the_head(findings: Findings, offsets: Findings) -> None:
    for table in (*tables(findings), *tables(offsets)):
        for block in table.blocks:
            assert {len(cells) for cells in block.lines} == {len(table.columns)}


def test_the_claims_are_the_verdicts(findings: Findings) -> None:
    told = claims(findings)
    assert told[0].startswith("All rows against full: of 18 differences, ")
    counts = [
        int(word) for word in told[0].split(": of 18 differences, ")[1].split() if word.isdigit()
    ]
    assert sum(counts) == 18
    assert (
        "network fsrcnn: asc25 against full: worse on 2 of 2 benchmarks (Set5 and BSD100)." in told
    )
    assert "network idn: des25 against full: one seed: no verdict." in told
    assert not any("asc25" in each for each in told if "idn" in each)
    assert sum("against random of the same ratio" in each for each in told) == 5


@pytest.mark.parametrize(
    ("verdict", "more", "expected"),
    [
        (Verdict.BETTER, None, "better on 2 of 2 benchmarks (Set5 and BSD100)"),
        (Verdict.WORSE, None, "worse on 2 of 2 benchmarks (Set5 and BSD100)"),
        (Verdict.EQUIVALENT, None,
         "equivalent within 0.05 dB on 2 of 2 benchmarks (Set5 and BSD100)"),
        (Verdict.UNDECIDED, None, "undecided on 2 of 2 benchmarks (Set5 and BSD100)"),
        (Verdict.UNDECIDED, 1,
         "undecided on 2 of 2 benchmarks (Set5 and BSD100), about 1 more seed"),
        (Verdict.UNDECIDED, 3,
         "undecided on 2 of 2 benchmarks (Set5 and BSD100), about 3 more seeds"),
    ],
)  # fmt: skip
def test_a_claim_says_each_verdict_in_words(
    findings: Findings, verdict: Verdict, more: int | None, expected: str
) -> None:
    row = judged(find(findings, "fsrcnn", "random50"), verdict, 0.01, more)
    told = claims(replace(findings, rows=(findings.rows[0], row)))
    assert told == [f"network fsrcnn: random50 against full: {expected}."]


def test_nothing_is_claimed_of_nothing(nothing_yet: Findings) -> None:
    assert claims(nothing_yet) == [
        "Nothing can be said yet: no two rows have a finished seed in common."
    ]


def test_notes_tell_missing_diverged_and_single_seeds(findings: Findings) -> None:
    told = notes(findings)
    for sentence in (
        "network fsrcnn: des25: seed 3 has not been run.",
        "network fsrcnn: asc25: seed 2 diverged (the loss became NaN at step 310); "
        "it is in no mean.",
        "network idn: asc25: seeds 0, 1 and 2 have not been run.",
        "network idn: asc25: no seed is finished, so it has no figures.",
        "network idn: des25: one seed, so neither interval nor verdict.",
    ):
        assert told.count(sentence) == 1
    assert sum("steps differ between rows" in each for each in told) == 1


def test_a_baseline_below_bicubic_is_told(findings: Findings) -> None:
    assert not any("says how fast a network starts" in note for note in notes(findings))
    high = replace(findings, bicubic={(2, "set5", "psnr_y"): 99.0})
    told = [note for note in notes(high) if "says how fast a network starts" in note]
    assert told[0].startswith("network fsrcnn: full is below bicubic on Set5: ")


def test_seeds_that_have_no_pair_are_told(findings: Findings) -> None:
    row = find(findings, "fsrcnn", "des50")
    told = notes(changed(findings, row, seeds=(0, 1, 2, 3, 4, 5)))
    assert "network fsrcnn: des50: 5 of 6 seeds in common with full." in told


def test_the_doubts_are_those_of_the_numbers_that_are_shown(
    findings: Findings, offsets: Findings
) -> None:
    said = {doubt.name: doubt.sentence for doubt in DOUBTS}
    told = " ".join(notes(findings))
    shown = {name for name, sentence in said.items() if sentence in told}
    assert shown == {"single-runs", "ssim-of-another-definition", "short-training"}
    assert "On the paper's numbers" not in " ".join(notes(offsets))


@pytest.mark.parametrize(
    ("verdict", "mean", "count", "otherwise"),
    [
        (Verdict.BETTER, 0.1, "1 as the paper", False),
        (Verdict.WORSE, -0.1, "1 otherwise", True),
        (Verdict.EQUIVALENT, 0.0, "1 otherwise", True),  # the paper prints +0.21 dB
        (Verdict.UNDECIDED, 0.1, "1 undecided", False),
    ],
)
def test_where_a_verdict_speaks_against_the_paper_it_is_said(
    findings: Findings, verdict: Verdict, mean: float, count: str, otherwise: bool
) -> None:
    row = judged(find(findings, "fsrcnn", "des50"), verdict, mean)
    told = agreement(replace(findings, rows=(findings.rows[0], row)))
    assert told[0] == (
        f"The paper prints 1 difference to full that this study measures: by our verdicts, {count}."
    )
    assert len(told) == 1 + otherwise
    if otherwise:
        assert "des50 minus full on BSD100 is +0.21 dB there" in told[1]


@pytest.mark.parametrize(
    ("verdict", "mean", "count"),
    [(Verdict.BETTER, 0.1, "1 as the paper"), (Verdict.WORSE, -0.1, "1 otherwise")],
)
def test_a_question_asked_beforehand_is_held_against_the_paper(
    findings: Findings, verdict: Verdict, mean: float, count: str
) -> None:
    full, des50, des25 = (find(findings, "fsrcnn", name) for name in ("full", "des50", "des25"))
    found = judged(des50, verdict, mean).findings["bsd100", "psnr_y"].to_baseline
    assert found is not None
    key = ("bsd100", "psnr_y")
    bare = replace(full, findings={k: replace(f, paper=None) for k, f in full.findings.items()})
    asked = Contrast("?", {"network": "fsrcnn"}, "des25", "des50", {key: found})
    unprinted = Contrast("!", {"network": "fsrcnn"}, "des25", "full", {key: found})
    told = agreement(replace(findings, rows=(bare, des50, des25), contrasts=(asked, unprinted)))
    assert told[0] == (
        "The paper prints 1 difference between the two sides of a question asked beforehand that "
        f"this study measures: by our verdicts, {count}."
    )
    assert len(told) == 1 + ("otherwise" in count)
    if "otherwise" in count:
        assert "network fsrcnn: des25 minus des50 on BSD100 is +0.05 dB there" in told[1]


def test_what_was_asked_beforehand_has_a_table_a_sentence_and_lines_of_csv(
    findings: Findings,
) -> None:
    own = next(
        each
        for row in findings.rows
        for key, finding in row.findings.items()
        if key == ("set5", "psnr_y") and (each := finding.to_baseline)
    )
    asked = Contrast(
        "loss against Sobel", {"network": "fsrcnn"}, "des50", "sobel50", {("set5", "psnr_y"): own}
    )
    told = replace(findings, contrasts=(asked,))
    table = named(told, "contrasts-psnr_y")
    (block,) = table.blocks
    assert block.title == "network fsrcnn"
    texts = [cell.text for cell in block.lines[0]]
    assert texts[:3] == ["loss against Sobel", "des50 − sobel50", str(own.over_seeds.n)]
    assert texts[3] == words.change(own, 3)
    assert len(texts) == len(table.columns)
    assert claims(told)[0].startswith(
        "Loss against Sobel (network fsrcnn: des50 against sobel50): "
    )
    lines = [line for line in csv.DictReader(io.StringIO(csv_text(told))) if line["contrast"]]
    assert [(line["contrast_to"], line["benchmark"]) for line in lines] == [("sobel50", "set5")]
    assert float(lines[0]["delta_contrast"]) == pytest.approx(own.over_seeds.mean)
    assert not any(each.name.startswith("contrasts") for each in tables(findings))


def test_numbers_in_words() -> None:
    assert words.number(math.inf, 2) == "∞"
    assert words.number(math.nan, 2) == words.number(None, 2) == "–"
    assert words.signed(-0.0004, 3) == "+0.000"
    assert words.signed(-1.5, 2) == "−1.50"
    assert [words.p_value(p) for p in (None, 1e-9, 0.00123, 0.0456, 0.5, 1.0)] == [
        "–", "<0.001", "0.0012", "0.046", "0.50", "1.00",
    ]  # fmt: skip
    assert [words.share(x) for x in (1.0, 0.05, 0.333, 0.125)] == ["100%", "5%", "33.3%", "12.5%"]
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
