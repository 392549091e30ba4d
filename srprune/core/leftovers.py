"""Files and folders that are being written: their names, and what killed writers left of them."""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import secrets
import shutil
import time
from hashlib import sha256
from pathlib import Path

DAY_S = 86_400.0


def temporary_beside(path: Path) -> Path:
    """A name beside ``path`` for what is to take its place; no other writer has the same."""
    return path.with_name(f".{path.name}.{_here()}-{os.getpid()}.{secrets.token_hex(4)}.part")


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers left.

    Whether a writer of another machine or container lives, nothing here can tell: what it left is
    removed when nothing was written to it for a day.

    Args:
        folder: where they wrote.
        name: of the file or folder that they were to make; anything by default.
    """
    wanted = "*" if name is None else glob.escape(name)
    for leftover in folder.glob(f".{wanted}.*-*.*.part"):
        host, _, pid = leftover.name.split(".")[-3].partition("-")
        with contextlib.suppress(FileNotFoundError):  # its writer, or another sweep, was faster
            if not (_lives(pid) if host == _here() else _fresh(leftover)):
                _remove(leftover)


def _here() -> str:
    """The machine, or the container on it: within it process ids are told apart."""
    try:
        space = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:  # not Linux
        space = ""
    return sha256(f"{platform.node()} {space}".encode()).hexdigest()[:8]


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True  # another user's
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    return True


def _fresh(leftover: Path) -> bool:
    return time.time() - leftover.stat().st_mtime < DAY_S


def _remove(leftover: Path) -> None:
    if leftover.is_dir() and not leftover.is_symlink():
        shutil.rmtree(leftover, ignore_errors=True)
    else:
        leftover.unlink()
