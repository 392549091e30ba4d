"""PackedStore: pixels of many images in one file, each packed without loss.

It takes about half the bytes of a plain store and costs the time to unpack what is read. The
images, their order and their fingerprints are the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import digest, storage_errors, write_json
from srprune.core.errors import ArtifactError, ImageError
from srprune.core.parallel import in_order
from srprune.core.progress import Progress, silent
from srprune.images.packing import BAND, CODING, DamagedPixels, pack, unpack, unpack_band
from srprune.images.store import (
    CHANNELS,
    Fill,
    PixelStore,
    Shape,
    description_path,
    journal_path,
    part_path,
    read_description,
    read_journal,
    write_all,
)

CACHE_BYTES = 64 * 2**20  # of unpacked bands, for crops


class PackedStore(PixelStore):
    """Read-only pixels of a list of RGB images, unpacked when they are asked for.

    ``flat`` and ``offsets`` are those of the packed images. Any number of threads may read.

    Attributes:
        sizes: bytes of each packed image.
    """

    def __init__(
        self,
        path: Path,
        shapes: Sequence[Shape],
        offsets: Sequence[int],
        sizes: Sequence[int],
        names: Sequence[str] = (),
    ) -> None:
        """Map ``path``; image i is the ``sizes[i]`` bytes from byte ``offsets[i]`` on.

        Args:
            path: the pixel file.
            shapes: (height, width) of each image, px.
            offsets: byte that each image starts at.
            sizes: bytes of each.
            names: of the images, for messages; their numbers by default.
        """
        super().__init__(path, shapes, offsets)
        self.sizes = list(sizes)
        self.num_bytes = sum(self.sizes)
        self._path, self._names = path, names
        self._last = threading.local()  # each thread's last image: many ask for one piece by piece
        self._bands: OrderedDict[tuple[int, int], npt.NDArray[np.uint8]] = OrderedDict()
        self._cached = 0
        self._lock = threading.Lock()

    def image(self, i: int) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8, image i.

        Raises:
            ArtifactError: it is damaged.
        """
        if getattr(self._last, "number", None) != i:
            with self._telling(i):
                pixels = unpack(self._packed(i), *self.shapes[i])
            pixels.flags.writeable = False
            self._last.number, self._last.pixels = i, pixels
        image: npt.NDArray[np.uint8] = self._last.pixels
        return image

    def crop(self, i: int, top: int, left: int, size: int) -> npt.NDArray[np.uint8]:
        """(size, size, 3) uint8 square of image i; only its rows are unpacked.

        Raises:
            ArtifactError: the image is damaged.
        """
        first, last = top // BAND, (top + size - 1) // BAND
        pieces = []
        for number in range(first, last + 1):
            above = number * BAND
            rows = slice(max(top - above, 0), top + size - above)
            pieces.append(self._band(i, number)[rows, left : left + size])
        return np.concatenate(pieces)

    def _band(self, i: int, number: int) -> npt.NDArray[np.uint8]:
        """(rows, W, 3) rows of an image, from the cache where they are there."""
        key = (i, number)
        with self._lock:
            if key in self._bands:
                self._bands.move_to_end(key)
                return self._bands[key]
        height, width = self.shapes[i]
        rows = min(BAND, height - number * BAND)
        band = np.empty((rows, width, CHANNELS), dtype=np.uint8)
        with self._telling(i):
            unpack_band(self._packed(i), number, band, height)
        with self._lock:
            if key not in self._bands:  # another thread may have been as fast
                self._bands[key] = band
                self._cached += band.size
            while self._cached > CACHE_BYTES and len(self._bands) > 1:
                self._cached -= self._bands.popitem(last=False)[1].size
        return band

    def _packed(self, i: int) -> npt.NDArray[np.uint8]:
        return self.flat[self.offsets[i] : self.offsets[i] + self.sizes[i]]

    @contextlib.contextmanager
    def _telling(self, i: int) -> Iterator[None]:
        """Turn damage into one clear line."""
        try:
            yield
        except DamagedPixels:
            name = self._names[i] if self._names else f"image {i}"
            raise ArtifactError(
                f"the pixels of {name} in {self._path} are damaged. Delete that file and run "
                "'srprune extract --compress' on the same images again."
            ) from None


def open_packed(
    path: Path, key: str, shapes: Sequence[Shape], names: Sequence[str] = ()
) -> PackedStore:
    """Open a finished store.

    Args:
        path: the pixel file.
        key: fingerprint of the pixels that are expected.
        shapes: (height, width) of each image.
        names: of the images, for messages.

    Raises:
        MissingArtifact: the store is not there, or holds other pixels.
        ArtifactError: the file has another length than it must have, or was packed otherwise.
    """
    description = read_description(path, key, ("coding", "offsets", "sizes"))
    if description["coding"] != CODING:
        raise ArtifactError(
            f"{path} is packed as {description['coding']}; this srprune reads {CODING}. "
            "Delete it and run 'srprune extract --compress' again."
        )
    return PackedStore(path, shapes, description["offsets"], description["sizes"], names)


def build_packed(
    path: Path,
    plan: str,
    shapes: Sequence[Shape],
    fill: Fill,
    *,
    label: str,
    workers: int,
    progress: Progress = silent,
) -> tuple[dict[int, str], dict[int, ImageError]]:
    """:func:`srprune.images.store.build_store` for a packed store, with the same arguments.

    Images are read and packed several at a time, and written in their order.

    Returns:
        The word of each image that is in the part, and the error of each that is not.

    Raises:
        StorageError: the disk is full or may not be written.
    """
    part, log = part_path(path), journal_path(path)
    layout = digest(plan, CODING, json.dumps([list(shape) for shape in shapes]))

    def one(i: int) -> tuple[bytes, str]:
        pixels, word = fill(i)
        if pixels.shape != (*shapes[i], CHANNELS):
            raise ImageError(f"decodes to {pixels.shape}, not to {shapes[i]}")
        return pack(pixels), word

    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = _blocks(log, layout)
        end = max((start + size for start, size, _ in blocks.values()), default=0)
        if blocks and (not part.exists() or part.stat().st_size < end):
            blocks, end = {}, 0
        done = {i: word for i, (_, _, word) in blocks.items()}
        bad: dict[int, ImageError] = {}
        todo = [i for i in range(len(shapes)) if i not in done]
        try:
            with (
                open(part, "r+b" if done else "wb", buffering=0) as file,
                open(log, "a" if done else "w", encoding="utf-8") as journal,
            ):
                file.truncate(end)  # what a kill left of an image
                # on going on, a new line: the last one may have been cut off
                journal.write("\n" if done else json.dumps({"layout": layout}) + "\n")
                for i, future in in_order(one, todo, workers):
                    try:
                        block, word = future.result()
                    except ImageError as error:
                        bad[i] = error
                    else:
                        write_all(file.fileno(), memoryview(block), end)
                        entry = {"image": i, "word": word, "start": end, "size": len(block)}
                        end += len(block)
                        done[i] = word  # the pixels are in the file before the journal says so
                        journal.write(json.dumps(entry) + "\n")
                        journal.flush()
                    progress(label, len(done) + len(bad), len(shapes))
                os.fsync(file.fileno())
        finally:
            if not done:  # nothing to go on from
                part.unlink(missing_ok=True)
                log.unlink(missing_ok=True)
    return done, bad


def finish_packed(
    path: Path,
    key: str,
    shapes: Sequence[Shape],
    kept: Sequence[int] | None = None,
    names: Sequence[str] = (),
) -> PackedStore:
    """Rename a filled part into place and describe it.

    Args:
        path: the pixel file.
        key: fingerprint of the pixels of the kept images.
        shapes: (height, width) of all images of the part.
        kept: positions of the images that the store has; all by default.
        names: of the kept images, for messages.
    """
    blocks = _blocks(journal_path(path), None)
    kept = range(len(shapes)) if kept is None else kept
    with storage_errors(path):
        description_path(path).unlink(missing_ok=True)  # never describes other pixels than these
        num_bytes = part_path(path).stat().st_size
        os.replace(part_path(path), path)
        write_json(
            description_path(path),
            {
                "key": key,
                "num_bytes": num_bytes,
                "coding": CODING,
                "offsets": [blocks[i][0] for i in kept],
                "sizes": [blocks[i][1] for i in kept],
            },
        )
        journal_path(path).unlink(missing_ok=True)
    return open_packed(path, key, [shapes[i] for i in kept], names)


def _blocks(journal: Path, layout: str | None) -> dict[int, tuple[int, int, str]]:
    """Where each finished image of a part starts, its bytes and its word."""
    blocks: dict[int, tuple[int, int, str]] = {}
    for entry in read_journal(journal, layout):
        with contextlib.suppress(LookupError, TypeError):
            blocks[entry["image"]] = entry["start"], entry["size"], entry["word"]
    return blocks
