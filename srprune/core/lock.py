"""One writer a folder: a lock that the system takes back when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from srprune.core.artifact import storage_errors
from srprune.core.errors import Busy

WAIT_S = 1.0  # between two looks whether a folder is free
NOTE = ".lock"  # says who holds the folder; it is not the lock


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder alone; while it is held, its file ``.lock`` says by whom.

    Raises:
        Busy: another process holds it.
        StorageError: the folder may not be written.
    """
    handle = _locked(folder)
    try:
        with contextlib.suppress(OSError):  # a finished run may stand where nothing can be written
            (folder / NOTE).write_text(_note(), encoding="utf-8")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (folder / NOTE).unlink()
            with contextlib.suppress(OSError):  # not empty: the usual case
                folder.rmdir()
    finally:
        os.close(handle)


@contextlib.contextmanager
def in_turn(folder: Path, tell: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Hold a folder alone; wait while another process holds it.

    Args:
        folder: as :func:`exclusive` takes it.
        tell: told once who is waited for.
    """
    told = False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(exclusive(folder))
                break
            except Busy as busy:
                if not told:
                    tell(str(busy))
                told = True
                time.sleep(WAIT_S)
        yield


def held(folder: Path) -> bool:
    """Whether a process holds a folder now; looking changes nothing."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _locked(folder: Path) -> int:
    """Make the folder and lock it: the folder itself, so that the lock leaves no file behind."""
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with storage_errors(folder):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
            try:
                handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                if folder.is_symlink():
                    raise
                continue  # its last holder has just removed it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise Busy(
                f"another srprune{_holder(folder)} is at work in {folder}. Wait until it is done, "
                "or choose another --workspace."
            ) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(folder)):
                return handle
        os.close(handle)  # locked, but gone: removed between opening and locking


def _note() -> str:
    """Who this process is, as JSON."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":  # of python -m srprune
        program = program.parent
    who = {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": datetime.now().isoformat(sep=" ", timespec="seconds"),
        "command": " ".join([program.name, *sys.argv[1:]]),
    }
    return json.dumps(who, indent=1) + "\n"


def _holder(folder: Path) -> str:
    """Who holds a folder, in brackets; nothing where its note is missing or damaged."""
    try:
        who = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        # repr quotes the command, and keeps one of several lines on one line
        return f" (process {who['pid']} on {who['host']}, since {who['since']}, {who['command']!r})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
