"""report: one HTML file in which a person chooses a core-set, and the figures for a paper."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srprune.core.coreset import CoreSet
from srprune.core.error_maps import ErrorMaps
from srprune.core.errors import (
    ArtifactError,
    InputError,
    MissingArtifact,
    MissingDependency,
    UserError,
)
from srprune.core.groups import GroupTable, Labels
from srprune.core.names import near
from srprune.core.outputs import named_by
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.workspace import Workspace
from srprune.images.store import PixelStore
from srprune.reporting.contact_sheet import contact_sheet
from srprune.reporting.explorer.content import Content, NamedScores, Preset
from srprune.reporting.explorer.page import write_explorer
from srprune.reporting.figures import loss_curve, sorted_scores
from srprune.reporting.group_sheet import group_sheet
from srprune.reporting.sheet import Pixels
from srprune.stages.coresets import read_scores
from srprune.stages.extract import open_hr, read_index

WINDOWS = ("des", "asc")  # rules that keep one window of ranks
NO_SCORES = "there is no score table yet. Run 'srprune score' first."


@dataclass(frozen=True)
class Explored:
    """What ``report`` wrote.

    Attributes:
        page: the HTML file; None where sheets of groups were drawn without a score table.
        figures: PNG and PDF files.
        scores: names of the score tables on the page, the one shown first at the front.
        thumb_side: of the thumbnails, px; 0 without a page.
        missing: what could not be made or shown, and why.
    """

    page: Path | None
    figures: list[Path]
    scores: list[str]
    thumb_side: int
    missing: list[str]


def explore(
    workspace: Workspace,
    *,
    scores: str | None = None,
    coresets: Sequence[str] = (),
    groups: Sequence[str] = (),
    out: Path | None = None,
    workers: int = 1,
    progress: Progress = silent,
) -> Explored:
    """Write the explorer and the figures; of groups alone no more than their sheets.

    Args:
        workspace: holds the patches, their pixels and the score tables; gets ``reports/``.
        scores: name of the score table that is shown first; by default the first by name that
            can be read. All tables of the workspace are on the page.
        coresets: names of core-sets that the page can show.
        groups: names of tables of groups, each of which gets a sheet of its patches.
        out: the HTML file; by default ``reports/explorer_NAME.html``.
        workers: threads for thumbnails.
        progress: told after each image.

    Raises:
        MissingArtifact: no patch index or pixels, no score table for the page, or no core-set or
            groups of a name.
        ArtifactError: no score table can be read.
        ArtifactMismatch: a score table, core-set or groups that were named are of another index.
        StorageError: a file cannot be written.
    """
    index = read_index(workspace)
    hr = open_hr(workspace, index)
    if groups and not (scores or coresets or out or workspace.score_tables()):
        left_out = [f"the page: {NO_SCORES}"]
        sheets = _group_sheets(workspace, groups, index, hr, left_out)
        return Explored(None, sheets, [], 0, left_out)
    tables, missing = _tables(workspace, scores, index)
    presets = [_preset(workspace, name, index, tables) for name in coresets]
    first = tables[0]
    page = out or workspace.reports / f"explorer_{first.name}.html"
    if page.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"the page {page} is HTML. Give it a name that ends in .html.")
    content = Content(index, tables, presets, hr.image, _options(workspace))
    with named_by(out):
        thumbs = write_explorer(page, content, workers=workers, progress=progress)
    figures = _figures(workspace.reports, index, hr, first, presets, missing)
    figures += _group_sheets(workspace, groups, index, hr, missing)
    names = [named.name for named in tables]
    return Explored(page, figures, names, thumbs.side, missing)


def _tables(
    workspace: Workspace, first: str | None, index: PatchIndex
) -> tuple[list[NamedScores], list[str]]:
    """All tables of the index, the first one at the front; and why others are left out."""
    names = [path.stem for path in workspace.score_tables()]
    tables: list[NamedScores] = []
    missing: list[str] = []
    if first is not None:
        tables.append(NamedScores(first, read_scores(workspace, first, index)))
    elif not names:
        raise MissingArtifact(NO_SCORES)
    for name in names:
        if name != first:
            try:
                tables.append(NamedScores(name, read_scores(workspace, name, index)))
            except UserError as error:
                missing.append(f"scores {name}: {error}")
    if not tables:
        others = f" So it is with all {len(names)} score tables." if names[1:] else ""
        raise ArtifactError(f"no score table can be shown; {missing[0]}{others}")
    for place, named in enumerate(tables):
        path = workspace.error_maps(named.name)
        if path.exists():
            try:
                maps = ErrorMaps.read(path, named.table.fingerprint)
                tables[place] = NamedScores(named.name, named.table, maps)
            except UserError as error:
                missing.append(f"error maps of {named.name}: {error}")
    return tables, missing


def _preset(
    workspace: Workspace, name: str, index: PatchIndex, tables: Sequence[NamedScores]
) -> Preset:
    """A core-set by name; a window of ranks only if it is one of a table on the page."""
    path = workspace.coreset(name)
    if not path.exists():
        raise _missing("is no core-set", path, "Run 'srprune select' first.")
    coreset = CoreSet.read(path, patches=index.fingerprint)
    params = coreset.header.params
    rule, first = str(params.get("rule", "")), int(params.get("num_skipped", 0))
    ranked_by = None
    for named in tables if rule in WINDOWS else ():
        scores_N = named.table.scores_N
        order_N = np.argsort(-scores_N if rule == "des" else scores_N, kind="stable")
        window = np.sort(order_N[first : first + len(coreset)])
        if named.name == params.get("scores") and np.array_equal(window, coreset.patch_ids):
            ranked_by = named.name
    command = str(coreset.header.made.get("command", ""))
    return Preset(name, coreset.patch_ids, coreset.fingerprint, command, ranked_by, rule, first)


def _options(workspace: Workspace) -> str:
    """How a command names this workspace; nothing where it finds it by itself."""
    if workspace.root == Workspace.resolve(None).root:
        return ""
    return f"--workspace {shlex.quote(str(workspace.root))}"


def _figures(
    folder: Path,
    index: PatchIndex,
    hr: PixelStore,
    named: NamedScores,
    presets: Sequence[Preset],
    missing: list[str],
) -> list[Path]:
    """The figures of one table, as PNG for screens and as PDF for papers."""
    scores_N, method = named.table.scores_N, named.table.method
    total, cuts = len(index), {}
    for preset in presets:
        if preset.scores == named.name:
            first, end = preset.first, preset.first + len(preset.patch_ids)
            asc = preset.rule == "asc"  # ranked from the other end
            cuts[preset.name] = (total - end, total - first) if asc else (first, end)

    def sheet(path: Path) -> None:
        patch = _patches(index, hr)
        contact_sheet(patch, scores_N, path, method=method, image_N=index.image_N)

    drawings: dict[str, Callable[[Path], None]] = {
        "sorted_scores": lambda path: sorted_scores(scores_N, cuts, path, method=method),
        "loss_curve": lambda path: loss_curve(scores_N, cuts, path, method=method),
        "contact_sheet": sheet,
    }
    files: list[Path] = []
    for kind, draw in drawings.items():
        files += _drawn(draw, folder / f"{kind}_{named.name}", kind, missing)
    return files


def _group_sheets(
    workspace: Workspace,
    names: Sequence[str],
    index: PatchIndex,
    hr: PixelStore,
    missing: list[str],
) -> list[Path]:
    """A sheet of each table of groups that is named: clusters, strata, classes of difficulty."""
    patch, files = _patches(index, hr), []
    for name in names:
        labels_N = _groups(workspace, name, index).labels_N

        def sheet(path: Path, labels_N: Labels = labels_N, name: str = name) -> None:
            group_sheet(patch, labels_N, path, title=name)

        files += _drawn(sheet, workspace.reports / f"groups_{name}", f"groups {name}", missing)
    return files


def _groups(workspace: Workspace, name: str, index: PatchIndex) -> GroupTable:
    path = workspace.groups(name)
    if not path.exists():
        made_by = (
            "Rules such as clustered make them, training with sampling hes, and 'srprune distill "
            "categorise'."
        )
        raise _missing("are no groups", path, made_by)
    return GroupTable.read(path, patches=index.fingerprint)


def _missing(what: str, path: Path, remedy: str) -> MissingArtifact:
    """What to raise where a table of the workspace is not there."""
    there = sorted(each.stem for each in path.parent.glob("*.parquet"))
    close = near(path.stem, there)
    hint = f" Did you mean: {close}?" if close else ""
    known = ", ".join(there) or "none"
    return MissingArtifact(f"there {what} '{path.stem}'.{hint} Known: {known}. {remedy}")


def _drawn(draw: Callable[[Path], None], stem: Path, kind: str, missing: list[str]) -> list[Path]:
    """A figure as PNG and as PDF; what cannot be drawn is noted once."""
    files: list[Path] = []
    for ending in ("png", "pdf"):
        path = stem.with_name(f"{stem.name}.{ending}")  # a name may hold dots
        try:
            draw(path)
            files.append(path)
        except (InputError, MissingDependency) as error:
            if (note := f"{kind}: {error}") not in missing:
                missing.append(note)
    return files


def _patches(index: PatchIndex, hr: PixelStore) -> Callable[[int], Pixels]:
    """HR pixels by patch id."""
    return lambda i: hr.crop(
        int(index.image_N[i]), int(index.top_N[i]), int(index.left_N[i]), index.size
    )
