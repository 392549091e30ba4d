"""Choosing the device, and full precision on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")
from srprune.core.errors import InputError  # noqa: E402
from srprune.models.device import pick_device, seed_device, tf32, use_tf32  # noqa: E402

THERE = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
SWITCHES = (torch.backends.cuda.matmul, torch.backends.cudnn)


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
