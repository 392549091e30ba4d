"""Choosing the device, and full precision on it."""

from __future__ import annotations

import ctypes
import sys

import torch

from srprune.core.errors import InputError


def pick_device(name: str) -> torch.device:
    """``auto`` takes CUDA, else MPS, else the CPU; or name one.

    TF32 is switched off: scores and measurements agree between devices to 1e-5. On the CPU the
    allocator is told to keep large blocks.

    Raises:
        InputError: a device that is not there.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, found in there.items() if found)
    if not there.get(name.split(":")[0], False):
        found = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise InputError(f"device {name} is not there. Choose: {found}.")
    if name == "cpu":
        _keep_large_blocks()
    return torch.device(name)


def _keep_large_blocks() -> None:
    """Stop glibc from giving every large activation back to the system after each step.

    Page faults otherwise take up to half the time of a training step of SRCNN.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # glibc; others have no such call
            for option, size in ((-3, 1 << 30), (-1, (1 << 31) - 1), (-2, 1 << 28)):
                libc.mallopt(option, size)  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD
