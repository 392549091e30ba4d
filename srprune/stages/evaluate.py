"""eval: PSNR-Y and SSIM-Y of a model on benchmarks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

import torch
from PIL import Image

from srprune.core.artifact import atomic_path, digest, write_text
from srprune.core.errors import InputError, LeakError, MissingArtifact, UserError
from srprune.core.out_of_memory import memory_errors
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.results import EvalTable, results_name, scaled
from srprune.core.run_config import DynamicConfig
from srprune.core.workspace import Workspace, the_one
from srprune.evaluation.protocol import Pixels
from srprune.evaluation.run import Subject, evaluate
from srprune.images.benchmarks import PAPER, Benchmark, find_benchmark
from srprune.models.inference import Inference
from srprune.models.restorer import BicubicRestorer, NetworkRestorer
from srprune.reporting.tables import csv_text, json_text
from srprune.stages.extract import stored
from srprune.stages.restorers import WEIGHTS, find_weights, names_a_file, open_restorer, run_names
from srprune.stages.routing import Recorder, RoutingTable, routing_path, write_maps
from srprune.wbsr.dynamic import DynamicRestorer

BICUBIC = "bicubic"
PLAIN = Inference()
OUT_OF_MEMORY = "Restore images in tiles: give eval --tile N, or a smaller N."


@dataclass(frozen=True)
class Candidate:
    """A model to measure, and what it must not have been trained on.

    Attributes:
        subject: the model.
        training_images: content of each training image, mapped to its path.
        router_images: likewise, of the images that its router was fitted on, if others.
        inference: how the model is run; a DynamicConfig, tile by tile by subnets.
        weights: their file; None where there is none.
        params: how it is run, for the header of its table; nothing where it is run plainly.
        note: what a person should know of how it is run; mostly nothing.
    """

    subject: Subject
    training_images: Mapping[str, str]
    router_images: Mapping[str, str] = field(default_factory=dict)
    inference: Inference | DynamicConfig = PLAIN
    weights: Path | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    note: str = ""

    @property
    def name(self) -> str:
        """For file names."""
        restorer = self.subject.restorer
        return scaled(restorer.name, restorer.scale) + self.inference.label

    def run_with(self, inference: Inference) -> Candidate:
        """The same model, run otherwise; bicubic is the same figure in every paper and stays."""
        restorer = self.subject.restorer
        if isinstance(restorer, BicubicRestorer):
            return self
        assert isinstance(restorer, NetworkRestorer)
        model = self.subject.model + ("+" if inference.self_ensemble else "")
        subject = replace(self.subject, restorer=inference.wrap(restorer), model=model)
        settled = inference.settled(restorer)
        params = {"inference": asdict(settled)} if settled != PLAIN else {}
        return replace(self, subject=subject, inference=settled, params=params)


def open_candidate(
    model: str | None, workspace: Workspace, scale: int | None, device: torch.device
) -> Candidate:
    """``bicubic``, a run by name or folder, a weights file of any program, or the only run.

    Raises:
        MissingArtifact: there is no such model.
        ArtifactError: a file that is damaged or of no known network.
        InputError: several runs and none named, or a scale that is not the model's.
    """
    if model == BICUBIC:
        return Candidate(Subject(BicubicRestorer(scale or 2), BICUBIC), {})
    if model is None:
        folder = the_one(workspace.runs(), "finished run", "srprune eval", "srprune train")
        opened = open_restorer(str(folder / WEIGHTS), scale, device)
    elif names_a_file(model):
        opened = open_restorer(model, scale, device)
    elif found := find_weights(model, workspace):
        opened = open_restorer(str(found), scale, device)
    else:
        raise MissingArtifact(
            f"there is no model '{model}': neither bicubic, nor a weights file, nor a finished "
            f"run (there: {run_names(workspace)})."
        )
    subject = Subject(opened.restorer, opened.model, opened.train_set, opened.seed)
    return Candidate(subject, opened.training_images, weights=opened.path)


def open_candidates(
    models: Sequence[str],
    workspace: Workspace,
    scale: int | None,
    device: torch.device,
    inference: Inference = PLAIN,
) -> list[Candidate]:
    """All models that are named, or the only run; bicubic takes the scale of the others.

    Args:
        models: as :func:`open_candidate` takes them.
        workspace: holds the runs.
        scale: 2, 3, 4, or that of the models.
        device: where the models are put.
        inference: how networks are run; bicubic is left as it is.

    Raises:
        MissingArtifact: there is no such model.
        InputError: several runs and none named, or a scale that is not the model's.
    """
    named: list[str | None] = [*models] or [None]
    trained = {m: open_candidate(m, workspace, scale, device) for m in named if m != BICUBIC}
    scales = {candidate.subject.restorer.scale for candidate in trained.values()}
    if BICUBIC in named and scale is None and len(scales) > 1:
        raise InputError(f"the models have the scales {sorted(scales)}; give bicubic a --scale.")
    scale = scale or (scales.pop() if scales else None)
    found = [trained.get(m) or open_candidate(m, workspace, scale, device) for m in named]
    return [candidate.run_with(inference) for candidate in found]


def find_benchmarks(names: Sequence[str], roots: Sequence[Path]) -> list[Benchmark]:
    """Benchmarks by name; without names those of the paper that are there.

    Raises:
        InputError: one is named twice.
        MissingArtifact: a named one is not there, or none of the paper's is.
    """
    if names:
        benchmarks = [find_benchmark(name, roots) for name in names]
        for one, other in itertools.combinations(benchmarks, 2):
            if one.name == other.name:
                raise InputError(
                    f"two benchmarks are called {one.name} ({one.folder} and {other.folder}). "
                    "Leave one out, or rename its folder."
                )
        return benchmarks
    found = []
    for name in PAPER:
        try:
            found.append(find_benchmark(name, roots))
        except MissingArtifact:
            continue
    if not found:
        searched = ", ".join(map(str, roots)) or "nowhere"
        raise MissingArtifact(
            f"none of Set5, Set14, BSD100, Urban100 was found (searched: {searched}). Put them "
            "into ROOT/Set5/HR and so on and give --data ROOT or set SRPRUNE_DATA, or name a "
            "folder of HR images or the embedded photographs: --benchmark photos."
        )
    return found


def own_folders(candidates: Sequence[Candidate], folder: Path | None) -> list[Path | None]:
    """Where the pictures of each model go: the folder itself; of several models one below it each.

    Raises:
        InputError: two models would share one.
    """
    if folder is None or len(candidates) == 1:
        return [folder] * len(candidates)
    names = [candidate.name for candidate in candidates]
    for one, other in itertools.combinations(names, 2):
        if one == other:
            raise InputError(
                f"two models are called {one}, so {folder} would hold the pictures of one alone. "
                "Measure them one after the other."
            )
    return [folder / name for name in names]


def evaluate_model(
    candidate: Candidate,
    benchmarks: Sequence[Benchmark],
    workspace: Workspace,
    *,
    protocol: str,
    device: torch.device,
    allow_leak: bool = False,
    save_images: Path | None = None,
    save_maps: Path | None = None,
    progress: Progress = silent,
) -> EvalTable:
    """Measure a model; what is measured already, on the same files, is returned as it is.

    Writes ``results/<name>.parquet`` with a CSV and a JSON file beside it.

    Args:
        candidate: the model.
        benchmarks: images to measure on.
        workspace: gets the table.
        protocol: ``rgb8@1`` or ``y@1``.
        device: where the model is.
        allow_leak: measure on training images too.
        save_images: folder for the SR images.
        save_maps: folder for pictures of which subnet each tile got.
        progress: told after each image.

    Raises:
        LeakError: an image is also a training image, or the router was fitted on it, and
            ``allow_leak`` is off.
        ImageError: an image that cannot be decoded.
        InputError: an image that is too small, or too large for the memory of the device.
    """
    watch = Stopwatch()
    subject = candidate.subject
    path = results_path(candidate, benchmarks, workspace, protocol)
    parents = {"model": subject.restorer.fingerprint}
    params: dict[str, object] = {
        "protocol": protocol,
        "scale": subject.restorer.scale,
        "benchmarks": files_of(benchmarks),
        "allow_leak": allow_leak,
        **candidate.params,
    }
    restorer = subject.restorer
    recorder = Recorder(restorer) if isinstance(restorer, DynamicRestorer) else None
    routing = routing_path(path)
    measured = (there := _already_there(path, parents, params)) and (
        recorder is None or routing.exists()
    )
    if there and measured and save_images is None:
        if not all(text.exists() for text in _texts(path)):  # killed before they were written
            _write_texts(path, there)
        if recorder and save_maps:
            write_maps(RoutingTable.read(routing), benchmarks, restorer.scale, save_maps)
        return there

    def guard(benchmark: Benchmark, name: str, hr: Pixels) -> None:
        _, content = stored(hr)
        if allow_leak:
            return
        if seen := candidate.training_images.get(content):
            known = f"a training image of {subject.restorer.name}"
        elif seen := candidate.router_images.get(content):
            known = f"an image that the router of {subject.restorer.name} was fitted on"
        else:
            return
        raise LeakError(
            f"{name} of {benchmark.title} is also {known} ({seen}, the same pixels). Evaluate on "
            "other images; or, with eval, pass --allow-leak."
        )

    def restored(benchmark: Benchmark, name: str, sr: Pixels) -> None:
        if recorder:
            recorder.add(benchmark.name, name)
        if save_images:
            with atomic_path(save_images / benchmark.picture(name)) as temporary:
                Image.fromarray(sr).save(temporary, format="PNG")

    with memory_errors(OUT_OF_MEMORY):
        rows = evaluate(
            subject,
            benchmarks,
            protocol,
            device,
            on_hr=guard,
            on_sr=restored,
            progress=progress,
        )
    if recorder:
        recorder.table().write(routing)
        if save_maps:
            write_maps(recorder.table(), benchmarks, restorer.scale, save_maps)
    for text in _texts(path):  # of an earlier table: a kill must not leave it beside this one
        text.unlink(missing_ok=True)
    table = EvalTable.write(path, rows, parents=parents, params=params, made=watch.made())
    _write_texts(path, table)
    return table


def _texts(path: Path) -> tuple[Path, Path]:
    """The CSV and the JSON file beside a table."""
    return path.with_suffix(".csv"), path.with_suffix(".json")


def _write_texts(path: Path, table: EvalTable) -> None:
    """The table once more, as CSV and JSON beside it."""
    as_csv, as_json = _texts(path)
    write_text(as_csv, csv_text(table.rows))
    write_text(as_json, json_text(table.rows, table.header))


def results_path(
    candidate: Candidate, benchmarks: Sequence[Benchmark], workspace: Workspace, protocol: str
) -> Path:
    """Where the table of a model stands."""
    names = [benchmark.name for benchmark in benchmarks]
    return workspace.results(results_name(candidate.name, names, protocol))


def files_of(benchmarks: Sequence[Benchmark]) -> dict[str, str]:
    """Fingerprint of each benchmark's files, names and bytes: the same on every machine."""
    return {each.name: _files(each) for each in benchmarks}


def _files(benchmark: Benchmark) -> str:
    """Fingerprint of the names and bytes of a benchmark's files."""
    contents = []
    for name in benchmark.images:
        path = benchmark.folder / name
        stat = path.stat()
        contents.append(f"{name}\0{_content(path, stat.st_size, stat.st_mtime_ns)}")
    return digest(*contents)


@cache
def _content(path: Path, size: int, mtime_ns: int) -> str:
    """Digest of a file's bytes, read once a process while its size and date stay."""
    return digest(path.read_bytes())


def _already_there(
    path: Path, parents: Mapping[str, str], params: Mapping[str, object]
) -> EvalTable | None:
    try:
        table = EvalTable.read(path)
    except UserError:
        return None
    same = table.header.parents == dict(parents) and table.header.params == dict(params)
    return table if same else None
