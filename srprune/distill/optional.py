"""Packages of the extra ``distill`` and what is said where they are missing."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator

from srprune.core.errors import MissingDependency


@contextlib.contextmanager
def needs_diffusers() -> Iterator[None]:
    """Say how to install diffusers where an import inside fails for want of it.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise _missing() from error


def check_diffusers() -> None:
    """Say so now where diffusers will be missed later; it is not loaded.

    Raises:
        MissingDependency: it is not installed.
    """
    if importlib.util.find_spec("diffusers") is None:
        raise _missing()


def _missing() -> MissingDependency:
    return MissingDependency("distillation needs diffusers. Run: pip install 'srprune[distill]'")
