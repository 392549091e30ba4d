"""PixelStore: decoded pixels of many images in one memory-mapped uint8 file.

A crop from the map costs microseconds where decoding a PNG costs milliseconds. The file is a
cache: it can be deleted and made again. While it is made it is called ``NAME.part``, and a
journal beside it names the images that are in it, so a killed job goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import digest, storage_errors, write_json
from srprune.core.errors import ArtifactError, ImageError, MissingArtifact, StorageError
from srprune.core.parallel import in_threads
from srprune.core.progress import Progress, silent

Shape = tuple[int, int]
Fill = Callable[[int], tuple[npt.NDArray[np.uint8], str]]

CHANNELS = 3


class PixelStore:
    """Read-only pixels of a list of RGB images.

    Attributes:
        shapes: (height, width) of each image, px.
        offsets: byte that each image starts at.
        flat: (bytes,) uint8, the file, all images one after the other; mapped, not read.
        num_bytes: size of these images on disk.
    """

    def __init__(self, path: Path, shapes: Sequence[Shape], offsets: Sequence[int]) -> None:
        """Map ``path``; image i starts at byte ``offsets[i]``."""
        self.shapes = list(shapes)
        self.offsets = list(offsets)
        self.flat = np.memmap(path, dtype=np.uint8, mode="r")
        self.num_bytes = sum(h * w * CHANNELS for h, w in self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def image(self, i: int) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 view of image i; nothing is copied."""
        height, width = self.shapes[i]
        start = self.offsets[i]
        return self.flat[start : start + height * width * CHANNELS].reshape(height, width, CHANNELS)

    def crop(self, i: int, top: int, left: int, size: int) -> npt.NDArray[np.uint8]:
        """(size, size, 3) uint8 view of a square of image i."""
        return self.image(i)[top : top + size, left : left + size]


def open_store(path: Path, key: str, shapes: Sequence[Shape]) -> PixelStore:
    """Open a finished store.

    Args:
        path: the pixel file.
        key: fingerprint of the pixels that are expected.
        shapes: (height, width) of each image.

    Raises:
        MissingArtifact: the store is not there, or holds other pixels.
        ArtifactError: the file is shorter than it must be.
    """
    description = read_description(path, key, ("offsets",))
    return PixelStore(path, shapes, description["offsets"])


def read_description(path: Path, key: str, fields: Sequence[str]) -> dict[str, Any]:
    """What the file beside a pixel file says, held against the pixel file.

    Args:
        path: the pixel file.
        key: fingerprint of the pixels that are expected.
        fields: that the description must have besides.

    Raises:
        MissingArtifact: the pixels are not there, or are others.
        ArtifactError: the pixel file is not as long as it must be.
    """
    try:
        description: dict[str, Any] = json.loads(description_path(path).read_text())
        size = path.stat().st_size
        key_there, num_bytes = description["key"], description["num_bytes"]
        for field in fields:
            description[field]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        raise MissingArtifact(
            f"the pixels {path} are not there. Run 'srprune extract' on the same images again."
        ) from None
    if key_there != key:
        raise MissingArtifact(
            f"the pixels {path} are those of {key_there}, but {key} is at hand. "
            "Run 'srprune extract' on the same images again."
        )
    if size != num_bytes:
        raise ArtifactError(
            f"{path} has {size} bytes; {num_bytes} were expected. "
            "Delete it and run 'srprune extract' again."
        )
    return description


def build_store(
    path: Path,
    plan: str,
    shapes: Sequence[Shape],
    fill: Fill,
    *,
    label: str,
    workers: int,
    progress: Progress = silent,
) -> tuple[dict[int, str], dict[int, ImageError]]:
    """Fill ``path.part`` with pixels, several images at a time; go on after a kill.

    Call :func:`finish_store` to put the result in its place.

    Args:
        path: the pixel file to be.
        plan: fingerprint of the inputs; a part made for another plan is thrown away.
        shapes: (height, width) of each image.
        fill: i -> pixels (H, W, 3) uint8 and a word that is kept in the journal (the content).
        label: name of the work for ``progress``.
        workers: threads; decoders and numpy release the interpreter lock.
        progress: told after each image.

    Returns:
        The word of each image that is in the part, and the error of each that is not.

    Raises:
        StorageError: the disk is full or may not be written.
    """
    part, log = part_path(path), journal_path(path)
    offsets, total = _layout(shapes)
    layout = digest(plan, json.dumps([list(shape) for shape in shapes]))
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        done = _intact(part, shapes, offsets, read_journal(log, layout), workers)
        _check_space(path, total - (part.stat().st_size if done else 0))
        bad: dict[int, ImageError] = {}
        todo = [i for i in range(len(shapes)) if i not in done]
        mode = os.O_RDWR | os.O_CREAT | (0 if done else os.O_TRUNC)
        handle = os.open(part, mode, 0o666)
        try:
            if hasattr(os, "posix_fallocate"):  # a full disk shows now, not at the last image
                os.posix_fallocate(handle, 0, total)
            with open(log, "a" if done else "w", encoding="utf-8") as journal:
                # on going on, a new line: the last one may have been cut off
                journal.write("\n" if done else json.dumps({"layout": layout}) + "\n")
                lock = threading.Lock()

                def one(i: int) -> None:
                    pixels, word = fill(i)
                    if pixels.shape != (*shapes[i], CHANNELS):
                        raise ImageError(f"decodes to {pixels.shape}, not to {shapes[i]}")
                    block = memoryview(np.ascontiguousarray(pixels).data).cast("B")
                    write_all(handle, block, offsets[i])
                    entry = {"image": i, "word": word, "sum": zlib.crc32(block)}
                    with lock:  # the pixels are in the file before the journal says so
                        done[i] = word
                        journal.write(json.dumps(entry) + "\n")
                        journal.flush()

                for i, future in in_threads(one, todo, workers):
                    error = future.exception()
                    if isinstance(error, ImageError):
                        bad[i] = error
                    elif error is not None:
                        raise error
                    progress(label, len(done) + len(bad), len(shapes))
            os.fsync(handle)
        finally:
            os.close(handle)
            if not done:  # nothing to go on from
                part.unlink(missing_ok=True)
                log.unlink(missing_ok=True)
    return done, bad


def finish_store(
    path: Path, key: str, shapes: Sequence[Shape], kept: Sequence[int] | None = None
) -> PixelStore:
    """Rename a filled part into place and describe it.

    Args:
        path: the pixel file.
        key: fingerprint of the pixels of the kept images.
        shapes: (height, width) of all images of the part.
        kept: positions of the images that the store has; all by default.
    """
    offsets, total = _layout(shapes)
    kept = range(len(shapes)) if kept is None else kept
    with storage_errors(path):
        description_path(path).unlink(missing_ok=True)  # never describes other pixels than these
        os.replace(part_path(path), path)
        write_json(
            description_path(path),
            {"key": key, "num_bytes": total, "offsets": [offsets[i] for i in kept]},
        )
        journal_path(path).unlink(missing_ok=True)
    return open_store(path, key, [shapes[i] for i in kept])


def _layout(shapes: Sequence[Shape]) -> tuple[list[int], int]:
    sizes = [height * width * CHANNELS for height, width in shapes]
    ends = np.cumsum(sizes, dtype=np.int64).tolist()
    return [0, *ends[:-1]], ends[-1]


def write_all(handle: int, block: memoryview, offset: int) -> None:
    """Write bytes to a place in a file, in as many calls as the system wants."""
    while block:
        written = os.pwrite(handle, block, offset)
        block, offset = block[written:], offset + written


def read_journal(path: Path, layout: str | None = None) -> list[Any]:
    """Lines about finished images of a part; one that was cut off by a kill counts for nothing.

    Args:
        path: the journal.
        layout: what its first line must say, else there are no lines; None takes any.
    """
    entries: list[Any] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(lines[0])["layout"] != layout and layout is not None:
            return []
    except (OSError, ValueError, LookupError, TypeError):
        return []
    for line in lines[1:]:
        with contextlib.suppress(ValueError):
            entries.append(json.loads(line))
    return entries


def _intact(
    part: Path, shapes: Sequence[Shape], offsets: Sequence[int], entries: list[Any], workers: int
) -> dict[int, str]:
    """The word of each image of a part whose pixels are those that were written.

    A kill leaves what was written. A loss of power may keep the journal and lose pixels, or the end
    of the part; both then read as zeros.
    """
    words: dict[int, str] = {}
    sums: dict[int, int] = {}
    for entry in entries:
        with contextlib.suppress(LookupError, TypeError):
            i, words[i], sums[i] = entry["image"], entry["word"], entry["sum"]

    def intact(i: int) -> bool:
        height, width = shapes[i]
        with contextlib.suppress(FileNotFoundError), open(part, "rb") as file:
            file.seek(offsets[i])
            return zlib.crc32(file.read(height * width * CHANNELS)) == sums[i]
        return False

    found = {i: future.result() for i, future in in_threads(intact, sums, workers)}
    return {i: word for i, word in words.items() if found.get(i)}


def _check_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise StorageError(
            f"the pixels need {needed / 1e9:.1f} GB, but {path.parent} has {free / 1e9:.1f} GB "
            "free. Free some space, or choose another --workspace."
        )


def part_path(path: Path) -> Path:
    """The pixel file while it is made."""
    return path.with_name(path.name + ".part")


def journal_path(path: Path) -> Path:
    """The list of images that are in the part."""
    return path.with_name(path.name + ".journal")


def description_path(path: Path) -> Path:
    """The facts about a finished pixel file."""
    return path.with_name(path.name + ".json")


def remove_store(path: Path) -> None:
    """Delete a pixel file with all that belongs to it, finished or not.

    Raises:
        StorageError: the folder may not be written.
    """
    with storage_errors(path):
        for each in (description_path(path), path, part_path(path), journal_path(path)):
            each.unlink(missing_ok=True)
