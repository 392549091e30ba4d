"""Choosing the device, and full precision on it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from srprune.core.errors import InputError


def pick_device(name: str) -> torch.device:
    """``auto`` takes CUDA, else MPS, else the CPU; or name one, such as ``cuda:1``.

    TF32 is switched off: scores and measurements agree between devices to 1e-5. On the CPU the
    allocator is told to keep large blocks. A GPU becomes the current one of this process: CUDA
    graphs are captured there, whatever tensors they are of.

    Raises:
        InputError: a device that is not there, or one GPU for several processes.
    """
    use_tf32(False)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what deterministic cuBLAS needs
    counts = {
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    if name == "auto":
        name = next(kind for kind, count in counts.items() if count)
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun: a GPU for each process
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    elif name.startswith("cuda:") and (several := int(os.environ.get("LOCAL_WORLD_SIZE", "1"))) > 1:
        raise InputError(
            f"device {name} is one GPU, and torchrun started {several} processes here. Give "
            "--device cuda, which takes a GPU for each."
        )
    match = re.fullmatch(r"([a-z]+)(?::([0-9]+))?", name)
    if not match or int(match[2] or 0) >= counts.get(match[1], 0):
        found = ", ".join(kind for kind, count in counts.items() if count)
        raise InputError(f"device {name} is not there. Choose: {found}.")
    if match[1] == "cpu":
        _keep_large_blocks()
    device = torch.device(name)
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    return device


def seed_device(device: torch.device, seed: int) -> None:
    """Set what layers on a device draw, and what the CPU draws; no other generator is touched."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed asks every kind of device
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def use_tf32(on: bool) -> None:
    """Let NVIDIA GPUs round fp32 products to TF32, or not."""
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


@contextlib.contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Inside, NVIDIA GPUs round fp32 products to TF32, or not; afterwards as they did before."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    use_tf32(on)
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _keep_large_blocks() -> None:
    """Stop glibc from giving every large activation back to the system after each step.

    Page faults otherwise take up to half the time of a training step of SRCNN.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # glibc; others have no such call
            for option, size in ((-3, 1 << 30), (-1, (1 << 31) - 1), (-2, 1 << 28)):
                libc.mallopt(option, size)  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD


def processor(device: torch.device) -> str:
    """Name of the GPU, or of the CPU, for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):  # Linux alone
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(": ")[2] for line in lines if "model name" in line), name)
    return f"{name} ({torch.get_num_threads()} threads)"
