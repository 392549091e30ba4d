"""What ``doctor`` finds out: each probe gives plain values, and none of them ends the command."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from srprune.core import machine
from srprune.core.lock import exclusive, held
from srprune.core.provenance import version

Facts = dict[str, Any]

REQUIRED = ("numpy", "pillow", "scikit-image", "scipy", "pyarrow", "pydantic", "safetensors")
ROUNDS = 5
SIDES = {"cpu": 256, "cuda": 4096, "mps": 2048}  # of the matrices whose product is timed


class Optional(NamedTuple):
    """A package that srprune can do without.

    Attributes:
        package: as pip calls it.
        module: as Python calls it.
        extra: of srprune, which installs it; empty where srprune itself needs it.
        use: what it is for.
    """

    package: str
    module: str
    extra: str
    use: str


OPTIONAL = (
    Optional("torchvision", "torchvision", "", "preview grids of a training run"),
    Optional("matplotlib", "matplotlib", "report", "figures and curves"),
    Optional("spandrel", "spandrel", "interop", "models of other programs as spandrel:FILE"),
    Optional("tensorboard", "tensorboard", "log", "curves of a run while it trains"),
    Optional("scikit-learn", "sklearn", "select", "the rule clustered"),
    Optional("diffusers", "diffusers", "distill", "training images synthesised by diffusion"),
    Optional("open_clip", "open_clip", "distill", "features of CLIP for their categories"),
    Optional("lmdb", "lmdb", "export", "LMDB databases for BasicSR"),
    Optional("imagecodecs", "imagecodecs", "fast", "plain PNG files decoded in half the time"),
    Optional("ray", "ray", "ray", "scoring on a cluster"),
)


def examine(folder: Path) -> Facts:
    """Run every probe.

    Args:
        folder: whose disk is measured.

    Returns:
        What each found, by its name, None where it failed; ``problems`` says why it did.
    """
    probes: dict[str, Callable[[], Any]] = {
        "system": _system,
        "packages": lambda: {name: version(name) for name in REQUIRED},
        "torch": _torch,
        "devices": _devices,
        "bf16": _bf16,
        "memory": _memory,
        "threads": _threads,
        "disk": lambda: _disk(folder),
        "locks": lambda: _locks(folder),
        "torchrun": _torchrun,
        "limits": _limits,
        "optional": lambda: [_optional(each) for each in OPTIONAL],
    }
    facts: Facts = {"srprune": version(), "problems": {}}
    for name, probe in probes.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                facts[name] = probe()
        except Exception as error:  # whatever is broken here is what the user wants to know
            facts[name], facts["problems"][name] = None, first_line(error)
    return facts


def first_line(error: BaseException) -> str:
    """An error in one line."""
    return f"{error} ".splitlines()[0].strip() or type(error).__name__


def _system() -> Facts:
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": machine.usable_cores(),
    }


def _torch() -> Facts:
    import torch

    return {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def _devices() -> list[Facts]:
    import torch

    found: list[Facts] = []
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        found.append({"device": f"cuda:{number}", "name": name, "memory": total, "free": free})
    if torch.backends.mps.is_available():
        found.append({"device": "mps", "name": platform.processor(), "memory": None, "free": None})
    return found


def _bf16() -> Facts:
    """How much faster than in fp32 the product of two matrices is in bf16, where scoring runs."""
    import torch

    from srprune.models.device import pick_device

    device = pick_device("auto")
    side = SIDES[device.type]
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    matrices = {kind: torch.ones(side, side, dtype=kind, device=device) for kind in seconds}
    for number in range(ROUNDS + 1):
        for kind, matrix in matrices.items():
            started = time.perf_counter()
            (matrix @ matrix)[0, 0].item()  # waits for the device
            if number:  # the first round warms up
                seconds[kind].append(time.perf_counter() - started)
    fp32, bf16 = (statistics.median(times) for times in seconds.values())
    return {"device": str(device), "side": side, "times_as_fast": fp32 / bf16}


def _memory() -> Facts:
    from srprune.data.memory import free_memory

    return {"free": free_memory()}


def _threads() -> Facts:
    import numpy as np

    # numpy has no type for this, and older ones print instead
    found: Any = np.show_config(mode="dicts")
    blas = found["Build Dependencies"]["blas"]
    return {"settings": machine.thread_settings(), "blas": f"{blas['name']} {blas['version']}"}


def _disk(folder: Path) -> Facts:
    place = machine.existing(folder)
    facts = {"folder": str(place), "free": shutil.disk_usage(place).free}
    try:
        return {**facts, **asdict(machine.disk_speed(place)), "problem": None}
    except Exception as error:  # what is free is worth knowing all the same
        return {**facts, "problem": first_line(error)}


def _locks(folder: Path) -> Facts:
    """Whether a folder that is held can be told from one that is not."""
    place = machine.existing(folder)
    with TemporaryDirectory(dir=place) as made, exclusive(Path(made) / "held"):
        return {"folder": str(place), "kept": held(Path(made) / "held")}


def _torchrun() -> Facts:
    import torch.distributed as dist

    beside = Path(sys.executable).with_name("torchrun")
    script = shutil.which("torchrun") or (str(beside) if beside.exists() else None)
    backends = []
    if dist.is_available():
        known = {"gloo": dist.is_gloo_available, "nccl": dist.is_nccl_available}
        backends = [name for name, there in known.items() if there()]
    return {"script": script, "backends": backends}


def _limits() -> Facts:
    return {"shared_memory": machine.shared_memory(), "open_files": machine.open_files()}


def _optional(what: Optional) -> Facts:
    """Whether a package imports; one that was built for another torch fails in many ways."""
    problem = None
    if importlib.util.find_spec(what.module) is None:
        problem = "is not installed"
    else:
        try:
            importlib.import_module(what.module)
        except Exception as error:
            problem = f"does not import ({first_line(error)})"
    return {
        "package": what.package,
        "version": version(what.package) if problem is None else None,
        "use": what.use,
        "problem": problem,
        "install": f"pip install 'srprune[{what.extra}]'"
        if what.extra
        else f"pip install --force-reinstall {what.package}",
    }
