"""Errors of srprune, as one tree. The message of each is one clear line for a person.

::

    SrpruneError            anything that srprune itself raises; exit status 1 (our fault)
    └── UserError           the user can mend it; exit status 2
        ├── InputError      a value, a folder or a file that cannot be used
        │   ├── ConfigError     faults of a config file, all of them at once
        │   ├── ImageError      an image (or several) that cannot be decoded or is too small
        │   ├── UnknownName     a name that stands in no table; lists near names
        │   ├── Busy            a folder in which another process is at work
        │   └── Diverged        a training whose loss or weights are no longer finite
        ├── ArtifactError   an artifact that is damaged or not one of ours
        │   └── ArtifactMismatch    a sound artifact that was made from other inputs
        ├── MissingArtifact     an artifact that an earlier command makes
        ├── MissingDependency   an optional package that is not installed
        ├── LeakError       an evaluation image that is also a training image
        ├── StorageError    a full disk, a missing permission
        └── Stopped         a run that was told to stop (SIGTERM) and saved what it had
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence


class SrpruneError(Exception):
    """Base of all errors that srprune raises on purpose; by itself, a fault of ours."""

    exit_status = 1


class UserError(SrpruneError):
    """Something that the user can mend: usage or input."""

    exit_status = 2


class InputError(UserError):
    """A value, a folder or a file that cannot be used as given."""


class ConfigError(InputError):
    """Faults of a configuration, each with file and line where known.

    Attributes:
        faults: one line a fault, in the order of the file.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        head, *rest = self.faults
        super().__init__("\n".join([head, *(f"       {fault}" for fault in rest)]))


class ImageError(InputError):
    """An image, or several, that cannot be used; the message lists every one."""


class UnknownName(InputError):
    """A name that stands in no table; the message lists near names and all names."""


class Busy(InputError):
    """A folder in which another process is at work; the message says which."""


class Diverged(InputError):
    """A training whose loss or weights are no longer finite; the message says where."""


class ArtifactError(UserError):
    """A file that is damaged, incomplete or not an artifact of srprune."""


class ArtifactMismatch(ArtifactError):
    """A sound artifact that was made from other inputs than those at hand."""


class MissingArtifact(UserError):
    """An artifact that is not there yet; the message names the command that makes it."""


class MissingDependency(UserError):
    """An optional package that is not installed; the message says how to install it."""


class LeakError(UserError):
    """An evaluation image that is also a training image, found by content."""


class StorageError(UserError):
    """The disk is full, or a file or folder may not be read or written."""


class Stopped(UserError):
    """A run that was told to stop and saved a checkpoint first; exit status 143, as of SIGTERM."""

    exit_status = 143


@contextlib.contextmanager
def about(what: str) -> Iterator[None]:
    """Put before an InputError which of several settings it is about.

    Raises:
        InputError: the one that is raised inside, with ``what`` before it.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
