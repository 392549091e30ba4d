"""The pixels of a workspace, plain or packed: who reads them need not know which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from srprune.core.errors import ImageError, MissingArtifact
from srprune.core.progress import Progress, silent
from srprune.images.packed_store import build_packed, finish_packed, open_packed
from srprune.images.store import (
    Fill,
    PixelStore,
    Shape,
    build_store,
    description_path,
    finish_store,
    journal_path,
    open_store,
    part_path,
    remove_store,
)


def packed_path(path: Path) -> Path:
    """The packed form of a pixel file: ``hr.u8.zst``."""
    return path.with_name(path.name + ".zst")


def open_pixels(
    path: Path, key: str, shapes: Sequence[Shape], names: Sequence[str] = ()
) -> PixelStore:
    """Open what is there: the plain store at ``path``, or the packed one beside it.

    Args:
        path: the plain pixel file.
        key: fingerprint of the pixels that are expected.
        shapes: (height, width) of each image.
        names: of the images, for messages.

    Raises:
        MissingArtifact: there is no store, or it holds other pixels.
        ArtifactError: the file has another length than it must have.
    """
    packed = packed_path(path)
    if not description_path(packed).exists():
        return open_store(path, key, shapes)
    try:  # a kill between writing one form and removing the other leaves both
        return open_packed(packed, key, shapes, names)
    except MissingArtifact:
        if not description_path(path).exists():
            raise
    return open_store(path, key, shapes)


def build_pixels(
    path: Path,
    plan: str,
    shapes: Sequence[Shape],
    fill: Fill,
    *,
    compress: bool,
    label: str,
    workers: int,
    progress: Progress = silent,
) -> tuple[dict[int, str], dict[int, ImageError]]:
    """:func:`srprune.images.store.build_store` in either form.

    Args:
        path: the plain pixel file to be, or whose packed form it will be.
        plan: fingerprint of the inputs; a part made for another plan is thrown away.
        shapes: (height, width) of each image.
        fill: i -> pixels (H, W, 3) uint8 and a word that is kept in the journal (the content).
        compress: make the packed form.
        label: name of the work for ``progress``.
        workers: threads.
        progress: told after each image.

    Returns:
        The word of each image that is in the part, and the error of each that is not.

    Raises:
        StorageError: the disk is full or may not be written.
    """
    build, place = (build_packed, packed_path(path)) if compress else (build_store, path)
    return build(place, plan, shapes, fill, label=label, workers=workers, progress=progress)


def finish_pixels(
    path: Path,
    key: str,
    shapes: Sequence[Shape],
    kept: Sequence[int] | None = None,
    *,
    compress: bool,
    names: Sequence[str] = (),
) -> PixelStore:
    """Put what was built in its place, and remove the other form.

    Args:
        path: the plain pixel file.
        key: fingerprint of the pixels of the kept images.
        shapes: (height, width) of all images of the part.
        kept: positions of the images that the store has; all by default.
        compress: it was built in the packed form.
        names: of the kept images, for messages.
    """
    store: PixelStore
    if compress:
        store = finish_packed(packed_path(path), key, shapes, kept, names)
        remove_store(path)
    else:
        store = finish_store(path, key, shapes, kept)
        remove_store(packed_path(path))
    return store


def discard_part(path: Path) -> None:
    """Delete what was built of a pixel file in either form, but not finished."""
    for place in (path, packed_path(path)):
        part_path(place).unlink(missing_ok=True)
        journal_path(place).unlink(missing_ok=True)


def remove_pixels(path: Path) -> None:
    """Delete a pixel file in both forms, finished or not."""
    remove_store(path)
    remove_store(packed_path(path))
