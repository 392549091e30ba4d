"""Running out of memory: telling it from other errors, and saying what to do about it.

Nothing that is read may be taken for damaged because there was no room to read it.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator

from srprune.core.errors import InputError

# what torch says where it has no error of its own, on the CPU, MPS, and outside its allocator;
# torch.OutOfMemoryError, which is a RuntimeError, says the first; so does Pillow, as an OSError
NO_ROOM = re.compile(
    "out of memory|not enough memory|can(.t|not) allocate memory|cublas_status_alloc_failed"
    "|storage size calculation overflow"  # more bytes than there are numbers for
)

NO_ROOM_TO_READ = "Free some to read {}, or replace it if its sizes are damaged."


def is_out_of_memory(error: BaseException) -> bool:
    """True if an error means that a device, or main memory, has no room left."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno is not None:  # a path may stand in its words
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError | OSError) and bool(NO_ROOM.search(str(error).lower()))


@contextlib.contextmanager
def memory_errors(advice: str) -> Iterator[None]:
    """Turn running out of memory into one line.

    Args:
        advice: what to do about it.

    Raises:
        InputError: there is no room left.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(f"there is not enough memory. {advice}") from error
