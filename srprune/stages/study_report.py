"""study: from the runs of a study to its report, whatever is finished of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from srprune.core.artifact import read_header
from srprune.core.errors import ArtifactMismatch, InputError, MissingArtifact
from srprune.core.findings import Findings, Key, Routed, Row
from srprune.core.progress import Progress, silent
from srprune.core.results import EvalTable, benchmark_means, results_name, scaled
from srprune.core.weights import read_weights_header
from srprune.core.workspace import Workspace
from srprune.images.benchmarks import Benchmark
from srprune.reporting.paper import paper_value
from srprune.reporting.study.report import StudyReport, write_study_report
from srprune.selection import RULES
from srprune.stages.evaluate import BICUBIC, files_of
from srprune.stages.lineage import Lineage
from srprune.stages.logs import column, lost
from srprune.stages.restorers import WEIGHTS
from srprune.stages.routing import lr_of, read_routing, tile_map
from srprune.stages.study_cost import cost_of
from srprune.stages.study_plan import Plan, check_unedited, first_of, status
from srprune.studies.config import StudyConfig
from srprune.studies.grid import FULL, MEASURING, Cell
from srprune.studies.observation import Observation, expected
from srprune.studies.record import Record
from srprune.studies.summary import contrasts, summarise


def report_study(
    plan: Plan,
    workspace: Workspace,
    benchmarks: Sequence[Benchmark],
    *,
    command: str,
    progress: Progress = silent,
) -> tuple[Findings, StudyReport]:
    """Report a study as far as it is; missing cells are told.

    Args:
        plan: of the study.
        workspace: holds the runs; the report goes to the study's folder.
        benchmarks: of the study.
        command: that runs it, for the reader.
        progress: told after each picture.

    Raises:
        MissingArtifact: no cell is finished.
        InputError: the study was edited, and its runs are of before; or all that are finished
            diverged.
        ArtifactMismatch: runs of other patches, or measured on other images than the others.
    """
    check_unedited(plan, workspace)
    found = findings(plan, workspace, benchmarks, command=command)
    return found, write_study_report(found, plan.folder / "report", progress=progress)


def findings(
    plan: Plan, workspace: Workspace, benchmarks: Sequence[Benchmark], *, command: str
) -> Findings:
    """What a study says so far; nothing is written.

    Args:
        plan: of the study.
        workspace: holds the runs.
        benchmarks: of the study.
        command: that runs it, for the reader.

    Raises:
        MissingArtifact: no cell is finished.
        InputError: all that are finished diverged.
        ArtifactMismatch: runs of other patches, or measured on other images than the others.
    """
    study = plan.study
    tables = _Tables(workspace, benchmarks, study.evaluate.protocol)
    lineage = Lineage(workspace)
    observations = [_observe(cell, workspace, tables, lineage) for cell in plan.cells]
    _check_coresets(plan.cells, workspace)
    if not any(each.counts for each in observations):
        told = zip(plan.cells, observations, strict=True)
        if gone := [
            f"{cell.label}: {each.diverged.rstrip('.')}" for cell, each in told if each.diverged
        ]:
            raise InputError(
                f"no run of {plan.name} that is finished found its way, so there is nothing to "
                f"report: {first_of(gone)}. Change the training, such as optimizer.lr."
            )
        raise MissingArtifact(_nothing(plan, workspace, benchmarks))
    axes = {axis: tuple(levels) for axis, levels in study.axes.items()}
    rows = summarise(
        observations,
        axes=axes,
        compare=study.compare,
        margin_db=study.margin_db,
    )
    index = lineage.index
    told = zip(plan.cells, observations, strict=True)
    runs = {cell.name: Record.read(workspace.run(cell.name)) for cell in plan.cells}
    records = [record for record in runs.values() if record]
    joules = [record.joules for record in records if record.joules is not None]
    curves = {cell.config.validation.benchmark or "" for cell in plan.cells}
    return Findings(
        name=plan.name,
        title=study.title,
        question=study.question,
        protocol=study.evaluate.protocol,
        benchmarks={each.name: len(each.images) for each in benchmarks},
        axes=axes,
        compare=study.compare,
        margin_db=study.margin_db,
        bicubic=tables.bicubic({cell.config.scale for cell in plan.cells}),
        rows=_beside_the_paper(rows, plan) if study.paper else rows,
        cut_down=_cut_down(study, plan.cells),
        validation=curves.pop() if len(curves) == 1 else "",
        pool=f"{len(index):,} patches of {index.size} px from {len(index.images):,} images",
        machines=tuple(sorted({record.device for record in records})),
        commands=(command,),
        num_runs=len({cell.name for cell, run in told if run.counts}),
        seconds=sum(record.seconds for record in records),
        joules=sum(joules) if joules else None,
        contrasts=contrasts(
            observations,
            axes=axes,
            compare=study.compare,
            pairs=study.contrasts,
            margin_db=study.margin_db,
        ),
        apart=_axes_apart(study),
        tiles=_tiles(plan, tables, benchmarks),
    )


def _nothing(plan: Plan, workspace: Workspace, benchmarks: Sequence[Benchmark]) -> str:
    """Why there is nothing to report."""
    trained = status(plan, workspace).count("trained")
    if not trained:
        return f"no cell of {plan.name} is finished. Run 'srprune study' on it first."
    names = ", ".join(each.title for each in benchmarks)
    return (
        f"no cell of {plan.name} is finished: {trained} {'is' if trained == 1 else 'are'} trained, "
        f"but none is measured by {plan.study.evaluate.protocol} on {names}. Run 'srprune study' "
        "on it, which measures them."
    )


def _tiles(plan: Plan, tables: _Tables, benchmarks: Sequence[Benchmark]) -> tuple[Routed, ...]:
    """The first image as the first run of a supernet restores it, in each way that is measured."""
    found: list[Routed] = []
    run = ""
    for cell in plan.cells:
        if not cell.dynamic or (run and cell.name != run):
            continue
        path = tables.path(cell.measured_as)
        if routing := read_routing(path):
            run, image, benchmark = cell.name, routing.images[0], benchmarks[0]
            axis = next(a for a, level in cell.levels.items() if _measures(plan.study, a, level))
            others = [level for a, level in cell.levels.items() if a != axis]
            found.append(
                Routed(
                    cell.levels[axis],
                    ", ".join([*others, f"seed {cell.seed}"]),
                    f"{benchmark.title}, {image.image}",
                    lr_of(benchmark.folder / image.image, cell.config.scale),
                    tile_map(routing, image),
                )
            )
    return tuple(found)


def _measures(study: StudyConfig, axis: str, level: str) -> bool:
    """Whether a level says how runs are measured."""
    return any(key in MEASURING for key in study.axes[axis][level])


class _Tables:
    """Measurements of one protocol on the same files; others are refused."""

    def __init__(
        self, workspace: Workspace, benchmarks: Sequence[Benchmark], protocol: str
    ) -> None:
        self._workspace, self._benchmarks, self._protocol = workspace, benchmarks, protocol
        self._files = files_of(benchmarks)

    def path(self, model: str) -> Path:
        """Where the table of a model stands, named with its scale and how it is run."""
        names = [benchmark.name for benchmark in self._benchmarks]
        return self._workspace.results(results_name(model, names, self._protocol))

    def read(self, model: str) -> EvalTable:
        """The table of a model.

        Raises:
            MissingArtifact: it has not been measured.
            ArtifactMismatch: it was measured otherwise, or on other files.
        """
        path = self.path(model)
        table = EvalTable.read(path)
        if table.protocol != self._protocol or table.header.params["benchmarks"] != self._files:
            raise ArtifactMismatch(
                f"{path} was measured by another protocol or on other files than those of "
                f"{', '.join(str(each.folder) for each in self._benchmarks)}: it cannot stand in "
                "one table with the others. Run 'srprune study' again, which measures anew."
            )
        return table

    def bicubic(self, scales: set[int]) -> dict[tuple[int, str, str], float]:
        """Means of bicubic, where they were made."""
        means: dict[tuple[int, str, str], float] = {}
        for scale in sorted(scales):
            try:
                rows = self.read(scaled(BICUBIC, scale)).rows
            except MissingArtifact:
                continue
            means.update({(scale, *key): mean for key, mean in benchmark_means(rows).items()})
        return means


def _observe(cell: Cell, workspace: Workspace, tables: _Tables, lineage: Lineage) -> Observation:
    """One run as it is."""
    run = workspace.run(cell.name)
    seen = expected(cell)
    record = Record.read(run)
    if record is None or record.state == "stopped":
        return seen
    if record.state == "diverged":
        return replace(seen, diverged=record.reason)
    try:
        table = tables.read(cell.measured_as)
    except MissingArtifact:  # killed between training and measuring
        return seen
    header = read_weights_header(run / WEIGHTS)
    if table.header.parents["model"] != header.fingerprint:
        raise ArtifactMismatch(
            f"the measurements of {cell.name} are of other weights than those in {run}. Run "
            "'srprune study' again, which measures anew."
        )
    choosing_s, patches = None, lineage.index.fingerprint
    coreset = workspace.coreset(header.params["train_set"])
    if "coreset" in header.parents and coreset.exists():
        there = read_header(coreset)
        if header.parents["coreset"] != there.fingerprint:
            raise ArtifactMismatch(
                f"{run} was trained on core-set {header.parents['coreset'][:8]}, but {coreset} is "
                f"{there.fingerprint[:8]} now. Run 'srprune study' with --edited, which trains it "
                "again."
            )
        choosing_s = lineage.seconds(there)
    if header.parents["patches"] != patches:
        raise ArtifactMismatch(
            f"{run} was trained on patch index {header.parents['patches'][:8]}, but the workspace "
            f"holds {patches[:8]}: it cannot stand in one table with the others. Choose another "
            "--workspace, or delete the run."
        )
    return replace(
        seen,
        rows=table.rows,
        cost=cost_of(
            cell,
            record,
            num_patches=len(lineage.index),
            adaptive=column(run / "adaptive.csv", "visited"),
            results=tables.path(cell.measured_as),
            choosing_s=choosing_s,
        ),
        curve=tuple(column(run / "validation.csv", "psnr_y")),
        diverged=lost(run, cell.config, record.steps),
    )


def _check_coresets(cells: Sequence[Cell], workspace: Workspace) -> None:
    """Refuse seeds of one row on several core-sets, where the rule draws none anew for each seed.

    So it is with runs of machines that each trained a scoring model of their own.

    Raises:
        ArtifactMismatch: there are such.
    """
    first: dict[tuple[str, ...], tuple[Path, str]] = {}
    for cell in cells:
        weights = workspace.run(cell.name) / WEIGHTS
        if cell.rule == FULL or RULES.load(cell.rule).seeded or not weights.exists():
            continue
        coreset = read_weights_header(weights).parents.get("coreset", "")
        other, known = first.setdefault(tuple(cell.levels.values()), (weights.parent, coreset))
        if known != coreset:
            raise ArtifactMismatch(
                f"{weights.parent} was trained on core-set {coreset[:8]}, and {other} on "
                f"{known[:8]}: they cannot stand in one mean. Make scorers, scores and core-sets "
                "once, and run the study with --edited, which trains again what is of others."
            )


def _axes_apart(study: StudyConfig) -> tuple[str, ...]:
    """Axes beside the compared one whose levels change more than core-set and budget."""
    alike = ("pruning.", "budget.", "steps", "seeds")
    return tuple(
        axis
        for axis, levels in study.axes.items()
        if axis != study.compare
        and not all(key.startswith(alike) for level in levels.values() for key in level)
    )


def _beside_the_paper(rows: Sequence[Row], plan: Plan) -> tuple[Row, ...]:
    """Rows with what the paper prints for them.

    Steps are those that were planned, so that a row has its number before the full set is finished.
    """
    table, study = plan.study.paper, plan.study
    assert table is not None
    cells = {tuple(cell.levels.values()): cell for cell in plan.cells}

    def printed(row: Row, key: Key) -> float | None:
        cell = cells[tuple(row.levels.values())]
        baseline = {**row.levels, study.compare: next(iter(study.axes[study.compare]))}
        full = cells[tuple(baseline.values())]
        method = study.scores[row.score].method if row.score in study.scores else row.score
        if method not in ("", "mse", "sobel"):  # the paper knows no other score
            return None
        return paper_value(
            table=table,
            network=cell.config.model,
            rule=row.rule,
            ratio=row.ratio,
            scale=row.scale,
            benchmark=key[0],
            metric=key[1],
            offset=row.offset,
            step_share=_length(cell) / _length(full),
            score="sobel" if method == "sobel" else "loss",
        )

    return tuple(
        replace(
            row,
            findings={
                key: replace(each, paper=printed(row, key)) for key, each in row.findings.items()
            },
        )
        for row in rows
    )


def _length(cell: Cell) -> float:
    """How long a cell is trained, in steps or epochs of the full set, as its budget counts."""
    budget, pruning = cell.config.budget, cell.config.pruning
    return (budget.steps or budget.epochs or 0) * (1 if pruning.step_matching else pruning.ratio)


def _cut_down(study: StudyConfig, cells: Sequence[Cell]) -> tuple[str, ...]:
    """Networks that the study builds otherwise than their base configs, and how."""
    found: dict[str, None] = {}
    for cell in cells:
        levels = [study.axes[axis][level] for axis, level in cell.levels.items()]
        changes = {key: value for part in (study.set, *levels) for key, value in part.items()}
        own = [
            f"{key.removeprefix('model_args.')} {value}"
            for key, value in changes.items()
            if key.startswith("model_args.")
        ]
        if own:
            found[f"{cell.config.model} ({', '.join(own)})"] = None
    return tuple(found)
