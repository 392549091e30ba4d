"""The tables of a study: figures, differences, ours beside the paper's, and cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from srprune.core.findings import Difference, Findings, Key, Row, Verdict
from srprune.images.benchmarks import title_of
from srprune.reporting.paper import PAPER
from srprune.reporting.study import words
from srprune.reporting.study.marks import marks
from srprune.reporting.study.sources import other_ssim
from srprune.reporting.study.table import Block, Cell, Column, Table
from srprune.reporting.study.words import DIGITS, FINER, NONE, PSNR, SSIM, TITLES

Pick = Callable[[Row, Key], Difference | None]
Line = tuple[Cell, ...]

OTHER = "†"
OTHER_NOTE = (
    f"{OTHER} SSIM of another definition (scikit-image's default, 7x7 uniform window): it lies "
    "about 0.010 higher and does not compare with ours, so no difference is given."
)
OTHER_IMAGES = "‡"
OTHER_IMAGES_NOTE = (
    f"{OTHER_IMAGES} Decided on these images, but the interval contains 0: other images of the "
    "kind might not say the same."
)


def tables(findings: Findings) -> list[Table]:
    """All tables of a study, in the order of a report; those without content are left out."""
    made = [figures(findings)]
    for metric in words.metrics(findings):
        made += [
            contrasts(findings, metric),
            differences(findings, metric, "baseline", words.baseline(findings), _to_baseline),
            differences(findings, metric, "control", words.CONTROL, _to_control),
            over_images(findings, metric),
        ]
    made += [papers(findings), costs(findings)]
    return [table for table in made if table.blocks]


def figures(findings: Findings) -> Table:
    """Every row on every benchmark, the best and second-best marked, bicubic first."""
    keys = [(name, metric) for name in findings.benchmarks for metric in words.metrics(findings)]
    heads, facts = _heads(findings)
    blocks = []
    for title, rows in words.groups(findings):
        scales = sorted({row.scale for row in rows})
        names = [f"bicubic x{x}" if len(scales) > 1 else "bicubic" for x in scales]
        bicubic = [[findings.bicubic.get((x, *key)) for key in keys] for x in scales]
        untrained = [
            (name, values) for name, values in zip(names, bicubic, strict=True) if any(values)
        ]
        means = [values for _, values in untrained]
        means += [
            [row.findings[key].value.mean if key in row.findings else None for key in keys]
            for row in rows
        ]
        columns = [
            marks([line[k] for line in means], DIGITS[metric]) for k, (_, metric) in enumerate(keys)
        ]
        texts = [
            [words.number(value, DIGITS[key[1]]) for key, value in zip(keys, values, strict=True)]
            for _, values in untrained
        ]
        texts += [
            [
                words.spread(row.findings[key].value, DIGITS[key[1]])
                if key in row.findings
                else NONE
                for key in keys
            ]
            for row in rows
        ]
        starts = [[Cell(name), *[Cell(NONE)] * (len(heads) - 1)] for name, _ in untrained]
        starts += [facts(row) for row in rows]
        lines = []
        for line, (start, text) in enumerate(zip(starts, texts, strict=True)):
            cells = [Cell(each, columns[k][line]) for k, each in enumerate(text)]
            lines.append((*start, *cells))
        blocks.append(Block(title, tuple(lines)))
    many = any(len(row.seeds) > 1 for row in findings.rows)
    notes = [
        "Bold is the best and underlined the second-best figure of a column, as printed; which "
        "differences are more than chance, the verdicts say."
    ]
    if many:
        notes.insert(0, "Mean over n seeds ± standard deviation.")
    columns_ = tuple(Column(TITLES[metric], _benchmark(findings, name)) for name, metric in keys)
    title = f"Figures: {words.listed([TITLES[m] for m in words.metrics(findings)] or ['none'])}"
    return Table("figures", title, (*heads, *columns_), len(heads), tuple(blocks), tuple(notes))


def differences(findings: Findings, metric: str, name: str, other: str, pick: Pick) -> Table:
    """Differences in one metric to the baseline or to the control, with intervals and verdicts."""
    heads, blocks = (Column(findings.compare, left=True), Column("pairs")), []
    for title, rows in words.groups(findings):
        lines = []
        for row in rows:
            found = [pick(row, (benchmark, metric)) for benchmark in findings.benchmarks]
            pairs = [each.over_seeds.n for each in found if each is not None]
            if pairs:
                cells = [cell for each in found for cell in _difference(findings, metric, each)]
                start = (Cell(words.own_name(row, findings)), Cell(str(max(pairs))))
                lines.append((*start, *cells))
        if lines:
            blocks.append(Block(title, tuple(lines)))
    title = f"Differences in {TITLES[metric]} to {other}"
    columns, notes = _columns(findings, metric), (_note(findings, metric, f"Row minus {other}"),)
    return Table(f"{name}-{metric}", title, (*heads, *columns), 2, tuple(blocks), notes)


def contrasts(findings: Findings, metric: str) -> Table:
    """What the study asks by name, with intervals and verdicts."""
    heads = (Column("question", left=True), Column(findings.compare, left=True), Column("pairs"))
    lines: dict[str, list[Line]] = {}
    for each in findings.contrasts:
        found = [each.differences.get((name, metric)) for name in findings.benchmarks]
        pairs = [one.over_seeds.n for one in found if one is not None]
        if pairs:
            texts = (each.name, f"{each.level} − {each.other}", str(max(pairs)))
            cells = [cell for one in found for cell in _difference(findings, metric, one)]
            title = words.where(each.levels)
            lines.setdefault(title, []).append((*map(Cell, texts), *cells))
    blocks = tuple(Block(title, tuple(of_title)) for title, of_title in lines.items())
    columns, note = _columns(findings, metric), _note(findings, metric, "The one minus the other")
    title = f"Questions asked beforehand: differences in {TITLES[metric]}"
    return Table(f"contrasts-{metric}", title, (*heads, *columns), 3, blocks, (note,))


def over_images(findings: Findings, metric: str) -> Table:
    """The same differences with the intervals that other images, too, might have given."""
    lines: dict[str, list[Line]] = {}

    def add(title: str, names: tuple[str, str], found: Sequence[Difference | None]) -> None:
        if any(each is not None and each.over_images is not None for each in found):
            cells = [_over_images(metric, each) for each in found]
            lines.setdefault(title, []).append((*map(Cell, names), *cells))

    others = ((words.baseline(findings), _to_baseline), (words.CONTROL, _to_control))
    for title, rows in words.groups(findings):
        for each in findings.contrasts:
            if words.where(each.levels) == title:
                keys = [(name, metric) for name in findings.benchmarks]
                names = (each.level, each.other)
                add(title, names, [each.differences.get(key) for key in keys])
        for other, pick in others:
            for row in rows:
                found = [pick(row, (name, metric)) for name in findings.benchmarks]
                add(title, (words.own_name(row, findings), other), found)
    unit = "Δ dB" if metric == PSNR else "Δ"
    columns = [Column(findings.compare, left=True), Column("minus", left=True)]
    columns += [Column(f"{unit} [95%]", _benchmark(findings, name)) for name in findings.benchmarks]
    notes = [
        "The 95% interval of what the mean might be with other seeds and other images of the "
        "kind (bootstrap of both), where those above are for these very images. Not corrected "
        "for their number; a mean alone has one seed or one image."
    ]
    if any(cell.sign for of_title in lines.values() for line in of_title for cell in line):
        notes.append(OTHER_IMAGES_NOTE)
    title = f"Intervals over seeds and images: differences in {TITLES[metric]}"
    blocks = tuple(Block(title, tuple(of_title)) for title, of_title in lines.items())
    return Table(f"images-{metric}", title, tuple(columns), 2, blocks, tuple(notes))


def _over_images(metric: str, found: Difference | None) -> Cell:
    if found is None:
        return Cell(NONE)
    ends = found.over_images
    decided = found.verdict in (Verdict.BETTER, Verdict.WORSE)
    doubted = decided and ends is not None and ends[0] <= 0 <= ends[1]
    text = words.between(found.over_seeds.mean, ends, FINER[metric])
    return Cell(text, sign=OTHER_IMAGES if doubted else "")


def _columns(findings: Findings, metric: str) -> list[Column]:
    """Heads of a difference on each benchmark."""
    unit = "Δ dB" if metric == PSNR else "Δ"
    return [
        column
        for benchmark in findings.benchmarks
        for group in [_benchmark(findings, benchmark)]
        for column in (
            Column(f"{unit} [95%]", group),
            Column("p", group),
            Column("verdict", group, left=True),
        )
    ]


def _note(findings: Findings, metric: str, what: str) -> str:
    within = (
        f" Equivalent: within {findings.margin_db:g} dB by two one-sided tests."
        if metric == PSNR
        else ""
    )
    return (
        f"{what}, paired by seed, with the 95% t-interval over seeds; p of the two-sided paired "
        f"t-test after Holm's correction over the table.{within}"
    )


def papers(findings: Findings) -> Table:
    """Ours, the paper's, and ours minus the paper's, wherever the paper prints a number."""
    keys = [
        (name, metric)
        for name in findings.benchmarks
        for metric in words.metrics(findings)
        if any(
            (name, metric) in row.findings and row.findings[name, metric].paper is not None
            for row in findings.rows
        )
    ]
    columns = [Column(findings.compare, left=True)]
    for key in keys:
        columns += [Column(name, words.title(key)) for name in ("ours", "paper", "ours − paper")]
    blocks, others = [], False
    for title, rows in words.groups(findings):
        lines = []
        for row in rows:
            cells = [cell for key in keys for cell in _paper(row, key)]
            if any(cell.text != NONE for cell in cells[1::3]):
                lines.append((Cell(words.own_name(row, findings)), *cells))
                others |= any(cell.sign for cell in cells)
        if lines:
            blocks.append(Block(title, tuple(lines)))
    notes = [
        "Ours and the paper's differ in training data, steps and recipe: read the differences "
        "between rows, not between columns."
    ]
    if findings.cut_down:
        notes.append(f"Ours are built otherwise than published: {'; '.join(findings.cut_down)}.")
    notes += [OTHER_NOTE] if others else []
    name = f"Ours beside the paper's ({PAPER})"
    return Table("paper", name, tuple(columns), 1, tuple(blocks), tuple(notes))


def costs(findings: Findings) -> Table:
    """What each row costs a seed."""
    finished = [row.cost for row in findings.rows if row.cost is not None]
    visited = any(cost.num_visited is not None for cost in finished)
    joules = any(cost.joules is not None for cost in finished)
    dynamic = any(cost.flops_share is not None for cost in finished)
    names = ["patches", *["visited"] * visited, "MB", "steps", "seconds", *["kJ"] * joules]
    sets = any(cost.set_s is not None for cost in finished)
    names += ["FLOPs", "ms"] * dynamic + ["set, s"] * sets
    blocks = []
    for title, rows in words.groups(findings):
        lines: list[Line] = []
        for row in rows:
            if (cost := row.cost) is None:
                continue
            texts = [f"{cost.num_patches:,}"]
            if visited:
                texts.append(NONE if cost.num_visited is None else f"{cost.num_visited:,}")
            texts += [f"{cost.num_bytes / 1e6:,.1f}", f"{cost.steps:,}", f"{cost.seconds:,.1f}"]
            if joules:
                texts.append(NONE if cost.joules is None else f"{cost.joules / 1e3:,.1f}")
            if dynamic:
                share, seconds = cost.flops_share, cost.restore_s
                texts.append(NONE if share is None else f"{100 * share:.1f}%")
                texts.append(NONE if seconds is None else f"{1000 * seconds:,.0f}")
            if sets:
                texts.append(NONE if cost.set_s is None else f"{cost.set_s:,.0f}")
            lines.append((Cell(words.own_name(row, findings)), *map(Cell, texts)))
        if lines:
            blocks.append(Block(title, tuple(lines)))
    note = (
        "A seed's mean. Patches: that have to be there"
        + ("; visited: those of them that were drawn at least once" if visited else "")
        + "; MB: their uint8 pixels of HR and LR, overlaps counted once; seconds: of training"
        + ("; kJ: as the processor or its driver counts" if joules else "")
        + (
            "; set: seconds to choose or to synthesise it, with the scoring model, scores, "
            "features or generator, which other rows and seeds may share"
            if sets
            else ""
        )
        + (
            "; FLOPs: of the largest subnet's on the same tiles; ms: to restore an image"
            if dynamic
            else ""
        )
        + "."
    )
    columns = (Column(findings.compare, left=True), *map(Column, names))
    return Table("cost", "Cost", columns, 1, tuple(blocks), (note,))


def _heads(findings: Findings) -> tuple[list[Column], Callable[[Row], list[Cell]]]:
    """Columns that say what a row is, and a function that fills them."""
    offsets = any(row.offset for row in findings.rows)
    heads = [Column(findings.compare, left=True), Column("kept")]
    heads += [Column("offset")] if offsets else []
    heads += [Column("steps"), Column("n")]

    def facts(row: Row) -> list[Cell]:
        texts = [words.own_name(row, findings), words.share(row.ratio)]
        texts += [words.share(row.offset)] if offsets else []
        texts += [NONE if row.cost is None else f"{row.cost.steps:,}", str(len(row.seeds))]
        return [Cell(text) for text in texts]

    return heads, facts


def _difference(findings: Findings, metric: str, found: Difference | None) -> Sequence[Cell]:
    if found is None:
        return [Cell(NONE), Cell(NONE), Cell(NONE)]
    told = words.verdict(found, metric, findings.margin_db)
    return [
        Cell(words.change(found, FINER[metric])),
        Cell(words.p_value(found.p_adjusted)),
        Cell(told, verdict=found.verdict if found.over_seeds.n > 1 else None),
    ]


def _paper(row: Row, key: Key) -> Sequence[Cell]:
    """Ours, the paper's and the difference; no difference to another definition of SSIM."""
    finding, digits = row.findings.get(key), DIGITS[key[1]]
    if finding is None or finding.paper is None:
        return [Cell(NONE), Cell(NONE), Cell(NONE)]
    ours, printed = words.number(finding.value.mean, digits), words.number(finding.paper, digits)
    if key[1] == SSIM and other_ssim(row, key):
        return [Cell(ours), Cell(printed, sign=OTHER), Cell(NONE)]
    delta = words.signed(finding.value.mean - finding.paper, digits)
    return [Cell(ours), Cell(printed), Cell(delta)]


def _benchmark(findings: Findings, name: str) -> str:
    return f"{title_of(name)} ({findings.benchmarks[name]})"


def _to_baseline(row: Row, key: Key) -> Difference | None:
    return row.findings[key].to_baseline if key in row.findings else None


def _to_control(row: Row, key: Key) -> Difference | None:
    return row.findings[key].to_control if key in row.findings else None
