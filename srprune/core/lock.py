"""One writer a folder: a lock that the system takes back when its holder dies.

There are two locks, because each fails where the other holds. That of the folder itself leaves no
file behind and works where nothing can be written, but NFS keeps it to one machine; that of the
file ``.lock`` in it goes to the server.
"""

from __future__ import annotations

import contextlib
import errno
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
from srprune.core.errors import Busy, StorageError
from srprune.core.progress import Progress, silent

WAIT_S = 1.0  # between two looks whether a folder is free
NOTE = ".lock"  # is locked, too, and says who holds the folder
NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}  # Lustre without its option flock


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder alone; while it is held, its file ``.lock`` says by whom.

    Raises:
        Busy: another process holds it.
        StorageError: the folder may not be written, or its file system knows no locks.
    """
    handle = _locked(folder)
    try:
        note = _noted(folder)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                (folder / NOTE).unlink()
            with contextlib.suppress(OSError):  # not empty: the usual case
                folder.rmdir()
            if note is not None:
                os.close(note)
    finally:
        os.close(handle)


@contextlib.contextmanager
def in_turn(
    folder: Path,
    tell: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
) -> Iterator[None]:
    """Hold a folder alone; wait while another process holds it.

    Args:
        folder: as :func:`exclusive` takes it.
        tell: told once who is waited for.
        progress: told at each look that it is waited; what it raises ends the wait.

    Raises:
        StorageError: as :func:`exclusive` does.
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
                progress(f"wait for {folder.name}", 0, 1)
                time.sleep(WAIT_S)
        yield


def held(folder: Path) -> bool:
    """Whether a process holds a folder now; looking changes nothing."""
    for path in (folder, folder / NOTE):
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False


def _locked(folder: Path) -> int:
    """Make the folder and lock it."""
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
        if _lock(handle, folder, folder):
            return handle


def _noted(folder: Path) -> int | None:
    """Lock the note in a folder and say in it who holds that; None where none can be written."""
    while True:
        try:  # a finished run may stand where nothing can be written
            note = os.open(folder / NOTE, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        if _lock(note, folder / NOTE, folder):
            with contextlib.suppress(OSError):
                os.ftruncate(note, 0)
                os.write(note, _note().encode())
            return note


def _lock(handle: int, path: Path, folder: Path) -> bool:
    """Lock what was opened, or close it; False where it was removed before it was locked.

    Raises:
        Busy: another process holds it.
        StorageError: its file system knows no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return True
    except BlockingIOError:
        os.close(handle)
        raise Busy(
            f"another srprune{_holder(folder)} is at work in {folder}. Wait until it is done, "
            "or choose another --workspace."
        ) from None
    except OSError as error:
        os.close(handle)
        if error.errno in NO_LOCKS:
            raise StorageError(
                f"{folder} stands on a file system without locks, where two processes could "
                "overwrite each other. Choose another --workspace."
            ) from error
        raise
    os.close(handle)
    return False


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
