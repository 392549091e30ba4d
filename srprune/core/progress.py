"""How long work tells its progress without printing: a callback that the caller gives."""

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
