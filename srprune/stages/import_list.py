"""import: a core-set that came without pixels is rebuilt from the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srprune.core.config import ExtractConfig
from srprune.core.coreset import CoreSet
from srprune.core.errors import ArtifactMismatch, ImageError, InputError, UserError
from srprune.core.parallel import in_threads
from srprune.core.patches import ImageRecord, PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.workspace import Workspace
from srprune.exports.listing import CoreSetList, read_list
from srprune.images.decode import decode, list_images, read_shape
from srprune.images.grid import aligned
from srprune.stages.extract import ImageSource, extract, open_hr, stored


@dataclass(frozen=True)
class Imported:
    """A rebuilt core-set.

    Attributes:
        name: of the core-set.
        coreset: as it was.
        index: the patch index, as it was.
        renamed: the file of each image that is called otherwise here.
    """

    name: str
    coreset: CoreSet
    index: PatchIndex
    renamed: dict[str, str]


def import_list(
    file: Path,
    images: Path,
    workspace: Workspace,
    *,
    workers: int = 1,
    progress: Progress = silent,
) -> Imported:
    """Rebuild the patch index and the core-set of a list; both get the fingerprints they had.

    An image is known by the hash of its pixels; its name in the list is only looked at first.

    Args:
        file: what ``srprune export --to list`` wrote.
        images: a folder that holds all images of the list, under any names.
        workspace: gets index, pixels and core-set.
        workers: threads.
        progress: told after each image.

    Raises:
        MissingArtifact: there is no such list.
        ArtifactError: the list is damaged or was changed.
        ImageError: images that are not there or have other pixels; the message names all.
        InputError: the workspace holds something else.
        ArtifactMismatch: this srprune lays another grid than the one that wrote the list.
    """
    watch = Stopwatch()
    wanted = read_list(file)
    _check_place(workspace, wanted)
    index = _already_there(workspace, wanted)
    renamed: dict[str, str] = {}
    if index is None:
        files = _find(wanted.index.images, images, workers, progress)
        names = [image.path for image in wanted.index.images]
        renamed = {name: path for name, path in zip(names, files, strict=True) if name != path}
        config = ExtractConfig.model_construct(size=wanted.index.size, stride=wanted.index.stride)
        source = ImageSource(images, names, files)
        index = extract(source, config, workspace, workers=workers, progress=progress)
    if index.fingerprint != wanted.patches:
        raise ArtifactMismatch(
            f"{file} is of patches {wanted.patches}, but {index.fingerprint} came out: it was "
            "written by a srprune that cuts in another way. Use that one."
        )
    path = workspace.coreset(wanted.name)
    if new := not path.exists():
        coreset = CoreSet.write(
            path,
            wanted.patch_ids,
            parents=wanted.parents,
            params={key: value for key, value in wanted.params.items() if key != "num_kept"},
            made=watch.made(),
            weights=wanted.weights,
        )
    else:
        coreset = CoreSet.read(path, patches=index.fingerprint)
    if coreset.fingerprint != wanted.coreset:
        if new:
            path.unlink()
        raise ArtifactMismatch(
            f"{file} is of core-set {wanted.coreset}, but {coreset.fingerprint} came out: it was "
            "written by a srprune of another format. Use that one."
        )
    return Imported(wanted.name, coreset, index, renamed)


def _check_place(workspace: Workspace, wanted: CoreSetList) -> None:
    """Refuse a workspace in which the import would replace something."""
    if workspace.patches.exists():
        there = PatchIndex.read(workspace.patches).fingerprint
        if there != wanted.patches:
            raise InputError(
                f"{workspace.root} holds patches {there}, and the list is of {wanted.patches}. "
                "Name another --workspace."
            )
    path = workspace.coreset(wanted.name)
    if path.exists():
        found = CoreSet.read(path).fingerprint
        if found != wanted.coreset:
            raise InputError(
                f"{path} is another core-set ({found}) than that of the list ({wanted.coreset}). "
                "Move it away, or name another --workspace."
            )


def _already_there(workspace: Workspace, wanted: CoreSetList) -> PatchIndex | None:
    try:
        index = PatchIndex.read(workspace.patches)
        open_hr(workspace, index)
    except UserError:  # missing, or without its pixels
        return None
    return index if index.fingerprint == wanted.patches else None


def _find(
    wanted: Sequence[ImageRecord], folder: Path, workers: int, progress: Progress
) -> list[str]:
    """The file of each image, by the hash of its pixels; files with its name are tried first."""
    names = list_images(folder)
    hinted = {image.path for image in wanted}
    missing = {image.content for image in wanted}
    found: dict[str, str] = {}
    contents: dict[str, str] = {}  # of the files that were looked at
    faults: dict[str, str] = {}
    done = 0

    def look(name: str) -> tuple[str, str]:
        """The content of a file, or why there is none."""
        try:
            height, width = read_shape(folder / name)
            if (aligned(height), aligned(width)) not in shapes:
                return "", f"has {width}x{height} px"
            return stored(decode(folder / name))[1], ""
        except ImageError as error:
            return "", str(error)

    for part in (
        [name for name in names if name in hinted],
        [name for name in names if name not in hinted],
    ):
        if not missing:
            break
        # a name may be wrong, so that every file could be any image that is still missing
        shapes = {(image.height, image.width) for image in wanted if image.content in missing}
        for name, future in in_threads(look, part, workers):
            contents[name], faults[name] = future.result()
            done += 1
            progress("look for images", done, len(names))
        for name in part:  # in the order of the names, whichever thread was first
            if contents[name] in missing:
                missing.remove(contents[name])
                found[contents[name]] = name
    if missing:
        raise _not_found(wanted, found, contents, faults, folder)
    # of several files with the same pixels the one of the right name is taken
    same = {image.path: contents.get(image.path) == image.content for image in wanted}
    return [image.path if same[image.path] else found[image.content] for image in wanted]


def _not_found(
    wanted: Sequence[ImageRecord],
    found: dict[str, str],
    contents: dict[str, str],
    faults: dict[str, str],
    folder: Path,
) -> ImageError:
    lines = []
    for image in wanted:
        if image.content in found:
            continue
        if image.path not in contents:
            why = "is not there, and no other file has its pixels"
        elif faults[image.path]:
            why = f"{faults[image.path]}; {image.width}x{image.height} px are expected as stored"
        else:
            why = f"has other pixels ({contents[image.path]}, not {image.content})"
        lines.append(f"  {folder / image.path} {why}")
    some = "1 image" if len(lines) == 1 else f"{len(lines)} images"
    return ImageError(
        f"{some} of {len(wanted)} cannot be found by the hash of their pixels:\n"
        + "\n".join(lines)
        + "\n  Put the images from which the core-set was chosen into the folder."
    )
