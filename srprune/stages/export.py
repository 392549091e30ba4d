"""export: a core-set becomes files that other trainers read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import storage_errors
from srprune.core.coreset import CoreSet
from srprune.core.errors import ArtifactError, InputError, MissingArtifact, UserError
from srprune.core.names import near
from srprune.core.outputs import named_by
from srprune.core.parallel import in_threads
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.workspace import Workspace, the_one
from srprune.exports import EXPORTS, LIST, WITH_FACTS
from srprune.exports.blocks import blocks_of
from srprune.exports.job import Job
from srprune.exports.moving import follow
from srprune.exports.patch_files import HR, PatchFiles
from srprune.exports.sizes import Size, check_space, png_size
from srprune.exports.stamp import (
    FORM,
    already_there,
    measure,
    read_stamp,
    whole_folder,
    write_stamp,
)
from srprune.stages.coresets import read_scores
from srprune.stages.extract import open_hr, read_index, stored, sub_image_names
from srprune.stages.pool import DEGRADATION, open_pool

SCALES = (2, 3, 4)
LINKS = ("hard", "copy")
KEPT_SAMPLE = 24  # patches that are encoded to foresee the space that is needed
DROPPED_SAMPLE = 96  # and to tell what the dropped ones would have taken


@dataclass(frozen=True)
class Exported:
    """What stands on the disk after an export.

    Attributes:
        place: the folder; for ``list`` the file.
        stamp: its ``export.json``; for ``list`` the like.
        again: whether it was there before.
        moved: dataset blocks that were written again, since they were gone or named another place.
    """

    place: Path
    stamp: Mapping[str, Any]
    again: bool
    moved: Sequence[str] = ()


def export(
    workspace: Workspace,
    coreset: str | None = None,
    *,
    to: str = "folder",
    scales: Sequence[int] = (2,),
    out: Path | None = None,
    link: str = "hard",
    workers: int = 1,
    progress: Progress = silent,
) -> Exported:
    """Write a core-set in a form of the table EXPORTS; a second call returns what is there.

    Args:
        workspace: holds the patch index, its pixels and the core-set.
        coreset: a name in the workspace, or a file; by default the only one there is.
        to: the form.
        scales: of the LR patches, 2, 3 or 4.
        out: the folder (for ``list`` the file) to be; by default in the workspace's ``exports``.
        link: ``hard`` links PNG files that are there already, ``copy`` copies them.
        workers: threads.
        progress: told after each file or patch.

    Raises:
        UnknownName: no such form.
        InputError: scales that there are not, several core-sets, something else at ``out``, or an
            export that was moved, with blocks that somebody has edited.
        MissingArtifact: no patch index, no pixels, no core-set.
        ArtifactError: the pixels of an image were changed since they were extracted.
        ArtifactMismatch: the core-set is of another patch index.
        MissingDependency: the form needs a package that is not installed.
        StorageError: too little space, or a folder that may not be written.
    """
    watch = Stopwatch()
    write = EXPORTS.load(to)
    scales = sorted(set(scales))
    if not scales or not set(scales) <= set(SCALES):
        raise InputError(f"scales are {list(scales)}; each must be 2, 3 or 4.")
    if out is not None and not out.name:  # what is written whole gets its name in the end
        raise InputError(
            f"--out is '{out}', which is there already. Name what to write, such as coreset."
        )
    if link not in LINKS:
        raise InputError(f"link is {link!r}; it must be hard or copy.")
    index = read_index(workspace)
    path = find_coreset(workspace, coreset)
    chosen, name = CoreSet.read(path, patches=index.fingerprint), path.stem
    exports = workspace.root / "exports"
    if to == LIST:
        place = out or exports / f"{name}.json"
        again = place.exists()
        with named_by(out):
            mark = write(place, name, chosen, index, watch.made())
        facts = {"fingerprint": mark, "num_patches": len(chosen), "num_images": len(index.images)}
        stamp = {"format": LIST, "name": name, **facts, "num_bytes": place.stat().st_size}
        return Exported(place, stamp, again)

    what: dict[str, Any] = {
        "form": FORM,
        "format": to,
        "coreset": chosen.fingerprint,
        "patches": index.fingerprint,
        "scales": scales,
        "degradation": DEGRADATION,
    }
    columns: dict[str, npt.NDArray[np.float64]] = {}
    if to in WITH_FACTS:
        columns, what["scores"] = _columns(workspace, chosen, index)
    place = out or exports / f"{name}__{to}_{''.join(f'x{scale}' for scale in scales)}"
    absolute = Path(os.path.abspath(place))  # links stay as they are written
    there = already_there(place, what)
    if there is not None:
        moved = follow(absolute, there, index.size)
        return Exported(place, {**there, "place": str(absolute)}, again=True, moved=moved)
    _check_pixels(workspace, index, chosen.patch_ids, workers, progress)
    pools = {scale: open_pool(workspace, scale, progress) for scale in scales}
    files = PatchFiles(index, sub_image_names(index), pools, _png_folders(workspace, index))
    with named_by(out), storage_errors(place):
        kept = png_size(files, chosen.patch_ids, KEPT_SAMPLE, workers)
    check_space(place, files, chosen.patch_ids, kept, linked=link == "hard")
    with named_by(out), whole_folder(place) as folder:
        job = Job(
            name=name,
            ids=chosen.patch_ids,
            columns=columns,
            files=files,
            folder=folder,
            place=absolute,
            link=link == "hard",
            workers=workers,
            progress=progress,
        )
        folders = write(job)
        blocks = blocks_of(to, absolute, name=name, size=index.size, scales=scales)
        num_files, num_bytes, linked_bytes = measure(folder)
        stamp = {
            "what": what,
            "place": str(absolute),
            "name": name,
            "num_patches": len(chosen),
            "num_files": num_files,
            "num_bytes": num_bytes,
            "linked_bytes": linked_bytes,
            "blocks": {file: len(text.encode()) for file, text in blocks.items()},
            "weights_left_out": chosen.weights is not None and "weight" not in columns,
            "saved": asdict(_dropped(files, chosen.patch_ids, workers)),
            "folders": {str(scale): relative for scale, relative in folders.items()},
            "made": watch.made(),
        }
        write_stamp(folder, stamp)
    return Exported(place, stamp, again=False)


def find_coreset(workspace: Workspace, named: str | None) -> Path:
    """The file of a core-set: a name in the workspace, a file, or the only one there is.

    Raises:
        MissingArtifact: there is none of that name, or none at all.
        InputError: there are several, and none was named.
    """
    there = sorted((workspace.root / "coresets").glob("*.parquet"))
    if named is None:
        return the_one(there, "core-set", "srprune export", "srprune select")
    path = workspace.coreset(named)
    if path.is_file():
        return path
    if Path(named).exists():
        return Path(named)
    known = [path.stem for path in there]
    close = near(named, known)
    hint = f" Did you mean: {close}?" if close else ""
    raise MissingArtifact(
        f"there is no core-set '{named}', neither in {workspace.root} nor as a file.{hint} "
        f"Known: {', '.join(known) or 'none'}."
    )


def _check_pixels(
    workspace: Workspace,
    index: PatchIndex,
    ids: npt.NDArray[np.int64],
    workers: int,
    progress: Progress,
) -> None:
    """Hold every image of which a patch is kept against its hash in the index.

    Others train on what goes out, and nobody there could find pixels that a disk has changed.
    """
    hr = open_hr(workspace, index)
    images = np.unique(index.image_N[ids]).tolist()
    changed: list[int] = []
    found = in_threads(lambda i: stored(hr.image(i))[1], images, workers)
    for count, (i, future) in enumerate(found, start=1):
        if future.result() != index.images[i].content:
            changed.append(i)
        progress("check pixels", count, len(images))
    if changed:
        others = f" and of {len(changed) - 1} more" if changed[1:] else ""
        raise ArtifactError(
            f"the pixels of {index.images[min(changed)].path}{others} in {workspace.hr_pixels} "
            "are not those that were extracted. Run 'srprune extract' again after removing "
            f"{workspace.hr_pixels.parent}."
        )


def _columns(
    workspace: Workspace, coreset: CoreSet, index: PatchIndex
) -> tuple[dict[str, npt.NDArray[np.float64]], str | None]:
    """Scores and weights of the kept patches, and the fingerprint of the scores.

    Scores are told only where the table from which the core-set was chosen is still there.
    """
    columns: dict[str, npt.NDArray[np.float64]] = {}
    wanted, name = coreset.header.parents.get("scores"), coreset.header.params.get("scores")
    scores = None
    if wanted is not None and name is not None:
        try:
            table = read_scores(workspace, name, index)
        except UserError:  # gone or made anew: the core-set itself is sound
            table = None
        if table is not None and table.fingerprint == wanted:
            columns["score"] = table.scores_N[coreset.patch_ids]
            scores = wanted
    if coreset.weights is not None:
        columns["weight"] = coreset.weights
    return columns, scores


def _png_folders(workspace: Workspace, index: PatchIndex) -> dict[int, list[Path]]:
    """Folders of the workspace, by scale, in which patches of this index are PNG files."""
    found: dict[int, list[Path]] = {}
    stamp = workspace.root / "sub_images" / "patches.txt"
    written = stamp.parent / "HR"
    if written.is_dir() and stamp.is_file() and stamp.read_text() == index.fingerprint:
        found[HR] = [written]
    for folder in sorted((workspace.root / "exports").glob("[!.]*")):
        other = read_stamp(folder) if folder.is_dir() else None
        if other is None or other["what"].get("patches") != index.fingerprint:
            continue
        for scale, relative in other["folders"].items():
            if (folder / relative).is_dir():
                found.setdefault(int(scale), []).append(folder / relative)
    return found


def _dropped(files: PatchFiles, kept: npt.NDArray[np.int64], workers: int) -> Size:
    """What the PNG files of the other patches would take."""
    others = np.setdiff1d(np.arange(len(files.index)), kept)
    return png_size(files, others, DROPPED_SAMPLE, workers)
