"""Choosing the device."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from srprune.core.errors import InputError  # noqa: E402
from srprune.models.device import pick_device  # noqa: E402

THERE = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}


def test_auto_takes_the_first_that_is_there() -> None:
    assert pick_device("auto").type == next(kind for kind, there in THERE.items() if there)


def test_the_cpu_is_always_there() -> None:
    assert pick_device("cpu") == torch.device("cpu")


def test_tf32_is_off_after_the_choice() -> None:
    torch.backends.cudnn.allow_tf32 = True
    pick_device("cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(
    "name", ["tpu", "", "CPU", *(k for k, there in THERE.items() if not there)]
)
def test_a_device_that_is_not_there_lists_those_that_are(name: str) -> None:
    with pytest.raises(InputError, match="is not there") as caught:
        pick_device(name)
    expected = ", ".join(kind for kind, there in THERE.items() if there)
    assert str(caught.value).endswith(f"Choose: {expected}.")
