"""study: from the runs of a study to its report, whatever is finished of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from srprune.core.errors import ArtifactMismatch, MissingArtifact
from srprune.core.findings import Cost, Findings, Key, Routed, Row
from srprune.core.progress import Progress, silent
from srprune.core.results import EvalTable, benchmark_means, results_name, scaled
from srprune.core.weights import read_weights_header
from srprune.core.workspace import Workspace
from srprune.images.benchmarks import Benchmark
from srprune.reporting.paper import paper_value
from srprune.reporting.study.report import StudyReport, write_study_report
from srprune.selection import RULES
from srprune.stages.evaluate import BICUBIC, files_of
from srprune.stages.extract import read_index
from srprune.stages.routing import lr_of, read_routing, tile_map
from srprune.stages.study_plan import Plan
from srprune.studies.config import StudyConfig
from srprune.studies.divergence import lost_its_way
from srprune.studies.grid import FULL, MEASURING, Cell
from srprune.studies.record import Record
from srprune.studies.summary import Observation, contrasts, summarise


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
        ArtifactMismatch: runs of other patches, or measured on other images than the others.
    """
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
        ArtifactMismatch: runs of other patches, or measured on other images than the others.
    """
    study = plan.study
    tables = _Tables(workspace, benchmarks, study.evaluate.protocol)
    observations = [_observe(cell, workspace, tables) for cell in plan.cells]
    if not any(each.counts for each in observations):
        raise MissingArtifact(
            f"no cell of {plan.name} is finished. Run 'srprune study' on it first."
        )
    axes = {axis: tuple(levels) for axis, levels in study.axes.items()}
    rows = summarise(
        observations,
        axes=axes,
        compare=study.compare,
        controls=_axes_of(study, "pruning."),
        margin_db=study.margin_db,
    )
    index = read_index(workspace)
    alike = _axes_of(study, "pruning.", "budget.", "steps", "seeds")
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
        apart=tuple(axis for axis in axes if axis not in (study.compare, *alike)),
        tiles=_tiles(plan, tables, benchmarks),
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


def _observe(cell: Cell, workspace: Workspace, tables: _Tables) -> Observation:
    """One run as it is."""
    run, pruning = workspace.run(cell.name), cell.config.pruning
    seen = Observation(
        levels=cell.levels,
        seed=cell.seed,
        rule=cell.rule,
        ratio=pruning.ratio,
        offset=pruning.offset,
        score=cell.score,
        scale=cell.config.scale,
    )
    record = Record.read(run)
    if record is None or record.state == "stopped":
        return seen
    if record.state == "diverged":
        return replace(seen, diverged=record.reason)
    try:
        table = tables.read(cell.measured_as)
    except MissingArtifact:  # killed between training and measuring
        return seen
    header = read_weights_header(run / "weights.safetensors")
    if table.header.parents["model"] != header.fingerprint:
        raise ArtifactMismatch(
            f"the measurements of {cell.name} are of other weights than those in {run}. Run "
            "'srprune study' again, which measures anew."
        )
    patches = read_index(workspace).fingerprint
    if header.parents["patches"] != patches:
        raise ArtifactMismatch(
            f"{run} was trained on patch index {header.parents['patches'][:8]}, but the workspace "
            f"holds {patches[:8]}: it cannot stand in one table with the others. Choose another "
            "--workspace, or delete the run."
        )
    adaptive = _column(run / "adaptive.csv", "visited")
    return replace(
        seen,
        rows=table.rows,
        cost=_cost(cell, record, adaptive, tables.path(cell.measured_as)),
        curve=tuple(_column(run / "validation.csv", "psnr_y")),
        diverged=_lost(cell, run, record.steps, adaptive),
    )


def _lost(cell: Cell, run: Path, steps: int, adaptive: Sequence[tuple[int, float]]) -> str | None:
    """Whether a run lost its way without a NaN."""
    if cell.config.loss == "bd":  # it falls through 0, so that its ratios say nothing
        return None
    since = adaptive[0][0] if adaptive else 0
    if cell.config.sampling:  # the second phase draws harder patches on purpose
        since = round(cell.config.sampling.start * steps)
    return lost_its_way(_column(run / "log.csv", "loss"), since)


def _cost(cell: Cell, record: Record, adaptive: Sequence[tuple[int, float]], results: Path) -> Cost:
    visits = record.steps * cell.config.batch
    visited: int | None = min(record.num_patches, visits)  # each patch comes once an epoch
    if adaptive:
        visited = int(adaptive[-1][1])
    elif cell.config.sampling or (cell.rule != FULL and RULES.load(cell.rule).weighted):
        visited = None
    routing = read_routing(results) if cell.dynamic else None
    return Cost(
        num_patches=record.num_patches,
        num_bytes=record.num_bytes,
        steps=record.steps,
        num_visited=visited,
        seconds=record.seconds,
        joules=record.joules,
        flops_share=routing.share if routing else None,
        restore_s=routing.seconds if routing else None,
        set_s=record.set_seconds,
    )


def _column(path: Path, name: str) -> list[tuple[int, float]]:
    """(step, value) of a log; empty where there is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [(int(row["step"]), float(row[name])) for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []


def _axes_of(study: StudyConfig, *keys: str) -> list[str]:
    """Axes beside the compared one all of whose keys begin with one of these."""
    return [
        axis
        for axis, levels in study.axes.items()
        if axis != study.compare
        and all(key.startswith(keys) for level in levels.values() for key in level)
    ]


def _beside_the_paper(rows: Sequence[Row], plan: Plan) -> tuple[Row, ...]:
    """Rows with what the paper prints for them."""
    table = plan.study.paper
    assert table is not None
    networks = {tuple(cell.levels.values()): cell.config.model for cell in plan.cells}
    full = _full_steps(rows, plan.study)

    def printed(row: Row, key: Key) -> float | None:
        baseline = full.get(_others(row, plan.study))
        share = row.cost.steps / baseline if row.cost and baseline else 1.0
        return paper_value(
            table=table,
            network=networks[tuple(row.levels.values())],
            rule=row.rule,
            ratio=row.ratio,
            scale=row.scale,
            benchmark=key[0],
            metric=key[1],
            offset=row.offset,
            step_share=share,
            score="sobel" if row.score == "sobel" else "loss",
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


def _full_steps(rows: Sequence[Row], study: StudyConfig) -> Mapping[tuple[str, ...], int]:
    """Steps of the baselines, by all levels but the compared one."""
    first = next(iter(study.axes[study.compare]))
    return {
        _others(row, study): row.cost.steps
        for row in rows
        if row.cost and row.levels[study.compare] == first
    }


def _others(row: Row, study: StudyConfig) -> tuple[str, ...]:
    return tuple(level for axis, level in row.levels.items() if axis != study.compare)
