"""Names that a user gives: which known one was meant, and how to say that there is none."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from srprune.core.errors import UnknownName


def near(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that is spelled most like the given one.

    Args:
        name: what the user wrote; upper and lower case count as the same.
        known: the names to choose from.

    Returns:
        The nearest known name as it is spelled there, or None when nothing is near.
    """
    spelled = {each.lower(): each for each in sorted(known, reverse=True)}
    return next((spelled[found] for found in get_close_matches(name.lower(), spelled, n=1)), None)


def unknown(kind: str, name: str, known: Iterable[str], *, within: str = "") -> UnknownName:
    """Make (not raise) the error for a name that stands in no table.

    Args:
        kind: what the name should have named, such as ``rule``.
        name: what the user wrote.
        known: all names that would have done.
        within: a prefix that is shown before the name but not compared, such as ``select.``.

    Returns:
        The error, such as ``unknown rule 'desc'. Did you mean: des? Known: asc, des, random.``
    """
    names = sorted(set(known))
    meant = near(name, names)
    hint = f" Did you mean: {meant}?" if meant else ""
    return UnknownName(
        f"unknown {kind} {within + name!r}.{hint} Known: {', '.join(names) or 'none'}."
    )
