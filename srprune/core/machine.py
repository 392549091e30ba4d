"""What this machine offers, asked without torch: cores, disk, shared memory, limits."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from srprune.core.artifact import storage_errors
from srprune.core.errors import StorageError

BLOCK = 4 << 20
MOST_BYTES = 64 << 20
MOST_SECONDS = 2.0
SHARED = Path("/dev/shm")
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # control groups, version 2
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class DiskSpeed:
    """Speed of one file of a few MB in a folder.

    Attributes:
        num_bytes: that were written and read.
        write: bytes a second, until the disk said that it has them.
        read: bytes a second.
        cached: whether ``read`` came out of main memory, not from the disk; None where the
            system does not tell.
    """

    num_bytes: int
    write: float
    read: float
    cached: bool | None


def usable_cores() -> float:
    """Cores that this process may use: of the machine, its affinity and its container."""
    cores = float(os.cpu_count() or 1)
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    with contextlib.suppress(OSError, ValueError):  # not Linux, or "max", no number
        quota, period = CPU_LIMIT.read_text().split()
        cores = min(cores, int(quota) / int(period))
    return cores


def thread_settings() -> dict[str, str]:
    """Environment variables that limit the threads of BLAS and OpenMP, where they are set."""
    return {name: os.environ[name] for name in THREADS if name in os.environ}


def shared_memory() -> int | None:
    """Bytes that processes may share through ``/dev/shm``; None where there is none."""
    return shutil.disk_usage(SHARED).total if SHARED.is_dir() else None


def open_files() -> int:
    """How many files this process may hold open."""
    import resource  # not on Windows

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def disk_speed(folder: Path, most_bytes: int = MOST_BYTES) -> DiskSpeed:
    """Write and read a temporary file that has no name and leaves nothing behind.

    What is written is fsynced. Before it is read the system is asked to forget it; whether it did
    is then asked too, where it tells (Linux), as memory is many times as fast as any disk.

    Args:
        folder: where; must be there.
        most_bytes: size of the file; it stays smaller where writing takes longer than 2 s.

    Raises:
        StorageError: no permission, or too little space: ten times the size must be free.
    """
    free = shutil.disk_usage(folder).free
    if free < 10 * most_bytes:
        raise StorageError(f"only {free / 1e6:,.0f} MB are free in {folder}; nothing was written.")
    block = os.urandom(min(BLOCK, most_bytes))  # some file systems compress
    with storage_errors(folder), tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        handle, written = file.fileno(), 0
        started = time.perf_counter()
        while written < most_bytes and time.perf_counter() - started < MOST_SECONDS:
            written += os.write(handle, block)
        os.fsync(handle)
        writing = time.perf_counter() - started
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        cached = _in_memory(handle)
        os.lseek(handle, 0, os.SEEK_SET)
        started = time.perf_counter()
        while os.read(handle, BLOCK):
            pass
        reading = time.perf_counter() - started
    return DiskSpeed(written, written / writing, written / reading, cached)


def _in_memory(handle: int) -> bool | None:
    """Whether the head of a file is in the page cache: only then a read need not wait."""
    if not hasattr(os, "RWF_NOWAIT"):
        return None
    try:
        return os.preadv(handle, [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except BlockingIOError:
        return False
    except OSError:  # a file system without an answer
        return None
