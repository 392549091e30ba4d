"""What made an artifact: versions, command, start, duration."""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

_PACKAGES = ("numpy", "pillow", "pyarrow", "scipy")


def version(package: str = "srprune") -> str:
    """Installed version of a package; ``unknown`` where it is not installed as one."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class Stopwatch:
    """Started with a stage; describes the making of its artifact at the end."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    tick: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.tick

    def made(self) -> dict[str, Any]:
        """Versions, command line, start (UTC, ISO 8601) and duration in seconds."""
        versions = {name: version(name) for name in _PACKAGES}
        if "torch" in sys.modules:  # never loaded for this line alone
            torch = sys.modules["torch"]
            versions["torch"] = str(torch.__version__)
        return {
            "srprune": version(),
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "versions": versions,
            "command": " ".join(["srprune", *sys.argv[1:]]),
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
        }
