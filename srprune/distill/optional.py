"""Packages of the extra ``distill`` and what is said where they are missing."""

from __future__ import annotations

import contextlib
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
        raise MissingDependency(
            "distillation needs diffusers. Run: pip install 'srprune[distill]'"
        ) from error
