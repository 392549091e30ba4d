"""How much memory can still be had, on a GPU and on the machine."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import torch

GROUPS = Path("/sys/fs/cgroup")


def free_on(device: torch.device) -> int:
    """Bytes that are free on a GPU; where they cannot be asked for, those of main memory."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()


def free_memory() -> int:
    """Bytes of main memory that can be had without swapping, or being killed for it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        free = sizes["MemAvailable"]
    except (OSError, LookupError, ValueError):  # not Linux
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return int(min([free, *map(_left_in, _own_groups())]))


def _own_groups() -> Iterator[Path]:
    """Control groups (version 2) of this process, the innermost first: a container's, a job's."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        if line.startswith("0::/"):
            own = GROUPS / line.removeprefix("0::/")
            yield own
            yield from own.parents[: len(own.parts) - len(GROUPS.parts)]


def _left_in(group: Path) -> float:
    """Bytes that the processes of a group may still take; inf where there is no limit."""
    try:
        limit = int((group / "memory.max").read_text())  # "max", no number, where there is none
        used = int((group / "memory.current").read_text())
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(facts["inactive_file"]))  # caches are given back
    except (OSError, LookupError, ValueError):
        return math.inf
