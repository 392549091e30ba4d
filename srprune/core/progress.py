"""How long work tells its progress without printing: a callback that the caller gives; times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from srprune.core.errors import Stopped


class Progress(Protocol):
    """Receives the state of a long job; the command line turns it into a bar."""

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        """Take one report.

        Args:
            label: what is being done, such as ``decode``; a new label starts a new bar.
            done: units finished, 0 to ``total``.
            total: units in all.
            note: a short addition, such as the loss.
        """


def silent(label: str, done: int, total: int, note: str = "") -> None:
    """The progress callback that reports nothing."""


def heeding(stopping: Callable[[], bool], progress: Progress) -> Progress:
    """The progress callback that also ends the work that reports to it, when it is told to stop.

    For work that keeps no checkpoint and writes its artifact at its end, whole or not at all:
    patches, scores, routers, measurements. Training asks ``stopping`` itself, and saves first.

    Args:
        stopping: asked at every report.
        progress: gets the reports.

    Returns:
        A callback that raises :class:`~srprune.core.errors.Stopped` once ``stopping`` says so.
    """

    def heed(label: str, done: int, total: int, note: str = "") -> None:
        if done < total and stopping():
            raise Stopped(
                f"stopped at '{label}', {done:,} of {total:,}. The same command goes on with what "
                "was not finished."
            )
        progress(label, done, total, note)

    return heed


def duration(seconds: float) -> str:
    """``42 s``, ``3 min`` or ``5 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
