"""Making again what was made from other inputs, where a user says that they were edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from srprune.core.errors import ArtifactMismatch

T = TypeVar("T")


def made(make: Callable[[], T], again: Callable[[], T], *, edited: bool) -> T:
    """What a step makes or finds; with ``edited``, what is there from other inputs is made again.

    Raises:
        ArtifactMismatch: it is from other inputs, and ``edited`` is off.
    """
    try:
        return make()
    except ArtifactMismatch:
        if not edited:
            raise
        return again()
