"""Choosing the device, full precision on it, and what is said when its memory runs out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from srprune.core.errors import InputError, Stopped  # noqa: E402
from srprune.models.device import (  # noqa: E402
    is_out_of_memory,
    memory_errors,
    pick_device,
    seed_device,
    tf32,
    use_tf32,
)

THERE = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
SWITCHES = (torch.backends.cuda.matmul, torch.backends.cudnn)
TOO_MUCH = 1 << 58  # bytes


@pytest.fixture(autouse=True)
def switches() -> Iterator[None]:
    """Leave TF32 as it was."""
    before = [switch.allow_tf32 for switch in SWITCHES]
    yield
    for switch, on in zip(SWITCHES, before, strict=True):
        switch.allow_tf32 = on


def test_auto_takes_the_first_that_is_there() -> None:
    assert pick_device("auto").type == next(kind for kind, there in THERE.items() if there)


def test_the_cpu_is_always_there() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("cpu:0").type == "cpu"


@pytest.mark.parametrize("on", [True, False])
def test_tf32_is_on_or_off_everywhere(on: bool) -> None:
    use_tf32(not on)
    use_tf32(on)
    assert [switch.allow_tf32 for switch in SWITCHES] == [on, on]


@pytest.mark.parametrize("on", [True, False])
def test_tf32_is_as_it_was_after_a_while_even_after_an_error(on: bool) -> None:
    use_tf32(not on)
    with pytest.raises(KeyError), tf32(on):
        assert [switch.allow_tf32 for switch in SWITCHES] == [on, on]
        raise KeyError
    assert [switch.allow_tf32 for switch in SWITCHES] == [not on, not on]


def test_tf32_is_off_after_the_choice() -> None:
    use_tf32(True)
    pick_device("cpu")
    assert [switch.allow_tf32 for switch in SWITCHES] == [False, False]


@pytest.mark.parametrize(
    "name",
    [
        *("tpu", "", "CPU", "cpu:1", "cpu:x", "cpu:-1", "cpu:", ":0", "cuda:99", "cuda:x", "mps:9"),
        *(kind for kind, there in THERE.items() if not there),
    ],
)
def test_a_device_that_is_not_there_lists_those_that_are(name: str) -> None:
    with pytest.raises(InputError) as caught:
        pick_device(name)
    expected = ", ".join(kind for kind, there in THERE.items() if there)
    assert str(caught.value) == f"device {name} is not there. Choose: {expected}."


def test_the_gpu_that_is_chosen_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", current.append)
    for name in ("cuda:1", "cuda:0"):
        assert pick_device(name) == current[-1] == torch.device(name)
    monkeypatch.setenv("LOCAL_RANK", "1")
    pick_device("cuda")
    assert current[2:] == [torch.device("cuda:1")]


def test_one_gpu_for_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    pick_device("cuda:1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"device cuda:1 is one GPU, and .* 2 processes here"):
        pick_device("cuda:1")


def test_what_is_drawn_on_a_gpu_is_seeded_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the one that happens to be current; CPU generators stand for those of two GPUs."""
    gpus = [torch.Generator(), torch.Generator()]
    before = gpus[0].get_state()
    monkeypatch.setattr("torch.cuda.default_generators", gpus)
    seed_device(torch.device("cuda:1"), 7)
    assert gpus[1].initial_seed() == torch.default_generator.initial_seed() == 7
    assert torch.equal(gpus[0].get_state(), before)


def test_a_process_of_torchrun_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named or not; the hundredth GPU is not there, and a machine without any needs none."""
    monkeypatch.setenv("LOCAL_RANK", "99")
    with pytest.raises(InputError, match="device cuda:99 is not there"):
        pick_device("cuda")
    assert pick_device("cpu") == torch.device("cpu")
    if THERE["cuda"]:
        with pytest.raises(InputError, match="device cuda:99 is not there"):
            pick_device("auto")
        assert pick_device("cuda:0") == torch.device("cuda", 0)
        monkeypatch.setenv("LOCAL_RANK", "0")
        assert pick_device("auto") == pick_device("cuda") == torch.device("cuda", 0)
    else:
        assert pick_device("auto").type != "cuda"


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
