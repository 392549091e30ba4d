"""Files that a command writes where the user says, by ``--out``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from srprune.core.errors import StorageError


@contextlib.contextmanager
def named_by(out: Path | None) -> Iterator[None]:
    """Have errors of storage ask for another ``--out`` where one was given.

    Everything is written into the workspace as a rule, so they ask for another ``--workspace``.

    Args:
        out: what the user gave; None where the place is one of the workspace's own.

    Raises:
        StorageError: the same, with the option that was given.
    """
    try:
        yield
    except StorageError as error:
        if out is None:
            raise
        words = str(error).replace("another --workspace", "another --out")
        raise StorageError(words) from error
