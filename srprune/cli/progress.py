"""Progress on stderr: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

import click
from tqdm import tqdm

HEARTBEAT = 30.0  # seconds between two lines where there is no terminal


class Bars:
    """A :class:`srprune.core.progress.Progress`; one bar a label."""

    def __init__(self, shown: bool = True) -> None:
        """Start without a bar; of several processes one is ``shown``."""
        self._shown = shown
        self._label = ""
        self._bar: Any = None  # tqdm has no type for a bar that is updated by hand
        self._started = self._spoken = time.monotonic()
        self._before = 0  # done when this one was first heard of: a resumed run does not begin at 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def __call__(self, label: str, done: int, total: int, note: str = "") -> None:
        """Show one report."""
        if not self._shown:
            return
        if not sys.stderr.isatty():
            self._line(label, done, total, note)
            return
        if label != self._label or self._bar is None:
            self._close()
            self._label = label
            self._bar = tqdm(total=total, desc=label, initial=0, file=sys.stderr, leave=True)
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._close()

    def _line(self, label: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if label != self._label:
            self._label, self._started, self._before = label, now, done
        if now - self._spoken >= HEARTBEAT:
            self._spoken = now
            text = f"{label}: {done:,} of {total:,}" + (f", {note}" if note else "")
            if done > self._before:
                left = (now - self._started) / (done - self._before) * (total - done)
                text += f", about {left:.0f} s left"
            click.echo(text, err=True)
        if done >= total:
            self._label = ""  # the next one of this name has a beginning of its own

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self._label = None, ""
