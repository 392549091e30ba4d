"""How many bytes PNG files take: measured on some of the patches where there are many."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srprune.core.errors import StorageError
from srprune.core.parallel import in_threads
from srprune.exports.patch_files import HR, PatchFiles

BLOCK = 8192  # what a file takes on a disk beyond its bytes, at most


@dataclass(frozen=True)
class Size:
    """Bytes of the PNG files of some patches.

    Attributes:
        num_bytes: exact where ``num_measured`` is ``num_patches``, else the mean times the number.
        num_patches: how many patches it is about.
        num_measured: how many of them were measured, evenly spread over the ids.
    """

    num_bytes: int
    num_patches: int
    num_measured: int


def png_size(files: PatchFiles, ids: npt.NDArray[np.int64], most: int, workers: int) -> Size:
    """Bytes of HR and LR of patches, from at most ``most`` of them."""
    if not len(ids):
        return Size(0, 0, 0)
    count = min(most, len(ids))
    chosen = ids[np.linspace(0, len(ids) - 1, count).round().astype(np.int64)]
    scales = [HR, *files.scales]

    def one(patch: int) -> int:
        return sum(files.num_bytes(patch, scale) for scale in scales)

    total = sum(future.result() for _, future in in_threads(one, chosen.tolist(), workers))
    return Size(round(total / count * len(ids)), len(ids), count)


def check_space(
    place: Path, files: PatchFiles, ids: npt.NDArray[np.int64], size: Size, *, linked: bool
) -> None:
    """Refuse to begin what the disk can't hold.

    Args:
        place: the folder to be.
        files: the patches.
        ids: the kept ones.
        size: their size.
        linked: whether files that are there already take no space.

    Raises:
        StorageError: too little is free; the message says how much there is.
    """
    scales = [HR, *files.scales]
    total = len(ids) * len(scales)
    folder = next(parent for parent in place.absolute().parents if parent.exists())
    # a link can't leave its file system
    linked = linked and all(
        there.stat().st_dev == folder.stat().st_dev
        for folders in files.there.values()
        for there in folders
    )
    new = total - (_num_there(files, ids.tolist(), scales) if linked else 0)
    needed = round(size.num_bytes * 1.05 * new / total) + new * BLOCK
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"the export needs {_told(needed)}, but {folder} has {_told(free)} free. "
            "Free some space, or name another --out."
        )


def _told(num_bytes: int) -> str:
    """Bytes for people: GB, or MB where they would be less than one."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.2f} MB"


def _num_there(files: PatchFiles, ids: Sequence[int], scales: Sequence[int]) -> int:
    return sum(files.is_there(patch, scale) for scale in scales for patch in ids)
