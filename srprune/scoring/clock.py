"""Where the time of scoring goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch


class Clock:
    """Seconds by what they were spent on.

    Attributes:
        seconds: of each part, in the order in which they first came.
        patches: how many were scored in the meantime.
        total: seconds in all, parts and the rest.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.seconds: dict[str, float] = {}
        self.patches = 0
        self.total = 0.0

    @contextlib.contextmanager
    def part(self, name: str, device: torch.device | None = None) -> Iterator[None]:
        """Count what is inside towards ``name``; a GPU is waited for."""
        _wait(device)
        started = time.perf_counter()
        yield
        _wait(device)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def _wait(device: torch.device | None) -> None:
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
