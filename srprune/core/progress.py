"""How long work tells its progress without printing: a callback that the caller gives; times."""

from __future__ import annotations

from typing import Protocol


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


def duration(seconds: float) -> str:
    """``42 s``, ``3 min`` or ``5 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
