"""Writing downloads: room on the disk, and its faults as one clear line."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from srprune.core.errors import StorageError
from srprune.core.progress import Progress, silent

CHUNK = 1 << 20
MB = 10**6
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def free_space(folder: Path) -> int:
    """Bytes that may still be written below a folder that need not exist yet."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free


def check_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: where it would go.
        needed: bytes.
        what: is to be written, such as ``DIV2K_train_HR.zip and its images``.

    Raises:
        StorageError: there is less room; the message says how much is missing.
    """
    free = free_space(folder)
    if needed > free:
        raise StorageError(
            f"{what} need {needed / MB:,.0f} MB in {folder}, but {free / MB:,.0f} MB are free "
            "there. Free some space, or choose another --out."
        )


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk or a missing permission into one clear line about ``path``.

    Raises:
        StorageError: instead of the ``OSError``.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            why = "no space left to write"
        elif isinstance(error, PermissionError) or error.errno == errno.EROFS:
            why = "no permission to write"
        else:
            why = f"cannot write ({error.strerror})"
        raise StorageError(
            f"{why} {path}. What has been downloaded is kept: mend this and give the command "
            "again, or choose another --out."
        ) from error


def sha256_of(path: Path, progress: Progress = silent) -> str:
    """SHA-256 of a file, 64 hex digits."""
    total, done = path.stat().st_size, 0
    h = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            h.update(chunk)
            done += len(chunk)
            progress(f"check {path.name.removesuffix('.part')} (MB)", done // MB, total // MB)
    return h.hexdigest()
