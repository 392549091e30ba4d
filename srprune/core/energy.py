"""Energy that processors count: Intel's and AMD's RAPL under Linux, NVIDIA's through NVML."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from srprune.core.progress import Progress

RAPL = Path("/sys/class/powercap")
EVERY_S = 60.0


class EnergyMeter:
    """Counts from the moment it is made; energy of the whole machine, not of one process."""

    def __init__(self, rapl: Path = RAPL, *, gpus: bool = True) -> None:
        """Read all counters that this user may read.

        Args:
            rapl: folder of the kernel's power capping framework.
            gpus: count NVIDIA GPUs, too, where the package nvidia-ml-py is installed.
        """
        # one entry a package; its parts (cores, memory controller) have a second number, and
        # psys is the whole board, with the packages in it
        zones = [
            zone
            for zone in rapl.glob("*-rapl:*")
            if zone.name.count(":") == 1 and _name(zone) != "psys"
        ]
        found = {zone: _number(zone / "energy_uj") for zone in sorted(zones)}
        self._zones = {zone: uj for zone, uj in found.items() if uj is not None}
        self._rapl_uj = 0
        self._gpus = _gpu_millijoules() if gpus else []
        self._looked = time.monotonic()

    def joules(self) -> float | None:
        """Joules since it was made; None where nothing counts them.

        A package's counter starts anew at its range, within about an hour at full load: have
        :meth:`watching` read it meanwhile.
        """
        for zone, before in self._zones.items():
            now = _number(zone / "energy_uj")
            if now is None:
                continue
            anew = (_number(zone / "max_energy_range_uj") or 0) if now < before else 0
            self._rapl_uj += now - before + anew
            self._zones[zone] = now
        self._looked = time.monotonic()
        total = self._rapl_uj / 1e6
        if self._gpus:
            pairs = zip(self._gpus, _gpu_millijoules(), strict=False)
            total += sum(now - before for before, now in pairs) / 1e3
        return total if self._zones or self._gpus else None

    def watching(self, progress: Progress, every_s: float = EVERY_S) -> Progress:
        """The progress callback that also reads the counters, often enough to miss no new start.

        Args:
            progress: gets the reports.
            every_s: the least time between two readings.
        """

        def watch(label: str, done: int, total: int, note: str = "") -> None:
            if time.monotonic() - self._looked >= every_s:
                self.joules()
            progress(label, done, total, note)

        return watch


def _name(zone: Path) -> str:
    with contextlib.suppress(OSError):
        return (zone / "name").read_text().strip()
    return ""


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
