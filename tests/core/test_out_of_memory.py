"""Telling an error of no memory from others, and the line that is said then."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

torch = pytest.importorskip("torch")
from srprune.core.errors import InputError, Stopped  # noqa: E402
from srprune.core.out_of_memory import is_out_of_memory, memory_errors  # noqa: E402

TOO_MUCH = 1 << 58  # bytes


def test_main_memory_that_runs_out_is_recognised() -> None:
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(TOO_MUCH, dtype=torch.uint8)
    with pytest.raises(MemoryError) as of_numpy:
        np.empty(TOO_MUCH, np.uint8)
    assert is_out_of_memory(of_torch.value)
    assert is_out_of_memory(of_numpy.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 64 bytes."),
        OSError(12, "Cannot allocate memory"),
        OSError("out of memory error when reading image file"),  # Pillow's
        pa.ArrowMemoryError("malloc of size 64 failed"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_devices_that_have_no_room_left_are_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        ValueError("out of memory"),
        OSError(28, "No space left on device"),
        OSError("image file is truncated"),
        FileNotFoundError(2, "No such file or directory", "out of memory.png"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_running_out_of_memory_is_one_line_with_advice() -> None:
    with (
        pytest.raises(InputError) as caught,
        memory_errors("Lower batch."),
    ):
        torch.empty(TOO_MUCH, dtype=torch.uint8)
    assert str(caught.value) == "there is not enough memory. Lower batch."
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), InputError("no"), Stopped("now"), KeyboardInterrupt()]
)
def test_other_errors_pass_as_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, memory_errors("Lower batch."):
        raise error
    assert caught.value is error
