"""Energy that processors count: Intel's and AMD's RAPL under Linux, NVIDIA's through NVML."""

from __future__ import annotations

import contextlib
from pathlib import Path

RAPL = Path("/sys/class/powercap")


class EnergyMeter:
    """Counts from the moment it is made; energy of the whole machine, not of one process."""

    def __init__(self, rapl: Path = RAPL, *, gpus: bool = True) -> None:
        """Read all counters that this user may read.

        Args:
            rapl: folder of the kernel's power capping framework.
            gpus: count NVIDIA GPUs, too, where the package nvidia-ml-py is installed.
        """
        # one entry a package; its parts (cores, memory controller) have a second number
        zones = [zone for zone in rapl.glob("*-rapl:*") if zone.name.count(":") == 1]
        found = {zone: _number(zone / "energy_uj") for zone in sorted(zones)}
        self._zones = {zone: uj for zone, uj in found.items() if uj is not None}
        self._gpus = _gpu_millijoules() if gpus else []

    def joules(self) -> float | None:
        """Joules since it was made; None where nothing counts them.

        A package's counter starts anew at its range, within about an hour at full load: read it
        more often than that.
        """
        total = 0.0
        for zone, before in self._zones.items():
            now = _number(zone / "energy_uj") or before
            if now < before:
                now += _number(zone / "max_energy_range_uj") or 0
            total += (now - before) / 1e6
        if self._gpus:
            pairs = zip(self._gpus, _gpu_millijoules(), strict=False)
            total += sum(now - before for before, now in pairs) / 1e3
        return total if self._zones or self._gpus else None


def _number(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):  # root alone may read it on many systems
        return int(path.read_text())
    return None


def _gpu_millijoules() -> list[int]:
    """Counter of each NVIDIA GPU since its driver was loaded; empty without NVML."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles]
    except pynvml.NVMLError:  # no driver, or a GPU before Volta
        return []
