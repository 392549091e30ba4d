"""One writer a folder: a lock that the system takes back when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from srprune.core.artifact import storage_errors
from srprune.core.errors import InputError


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder alone.

    Raises:
        InputError: another process holds it.
        StorageError: the folder may not be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)  # the folder itself: no lock file is left behind
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another srprune is at work in {folder}. Wait until it is done, "
                "or choose another --workspace."
            ) from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # not empty: the usual case
                folder.rmdir()
    finally:
        os.close(handle)
