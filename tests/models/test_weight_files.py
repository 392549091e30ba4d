"""Reading tensors from files of other programs, whatever these hold."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

from srprune.core.errors import ArtifactError, MissingArtifact  # noqa: E402
from srprune.models.weight_files import read_tensors  # noqa: E402

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


def same(found: dict[str, Any]) -> bool:
    return found.keys() == STATE.keys() and all(torch.equal(found[n], STATE[n]) for n in STATE)


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        OrderedDict(STATE),
        {"params": STATE},
        {"params": {"a.weight": torch.zeros(1)}, "params_ema": STATE},
        {"state_dict": STATE, "epoch": 3},
        {"model": {"params": STATE}},
        {"model_state_dict": STATE, "optimizer": {"lr": 0.1}},
        {f"module.{name}": tensor for name, tensor in STATE.items()},
        {f"_orig_mod.{name}": tensor for name, tensor in STATE.items()},
        {"params": {f"_orig_mod.module.{name}": tensor for name, tensor in STATE.items()}},
        {"params": {f"module._orig_mod.{name}": tensor for name, tensor in STATE.items()}},
        {"params_ema": {}, "params": STATE},
    ],
    ids=[
        "bare",
        "ordered",
        "params",
        "params_ema first",
        "state_dict",
        "twice",
        "model_state_dict",
        "module",
        "_orig_mod",
        "both",
        "both, other order",
        "empty ema",
    ],
)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_wrappers_and_prefixes_are_taken_off(content: Any, legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert same(read_tensors(path))


def test_safetensors_of_any_program(tmp_path: Path) -> None:
    save_file({f"module.{n}": t for n, t in STATE.items()}, tmp_path / "model.safetensors")
    assert same(read_tensors(tmp_path / "model.safetensors"))


def test_a_prefix_that_some_names_lack_is_part_of_the_others(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "m.pth")
    assert list(read_tensors(tmp_path / "m.pth")) == ["module.a", "b"]


def test_halves_become_float32_and_integers_stay(tmp_path: Path) -> None:
    torch.save(
        {"h": torch.ones(2).half(), "b": torch.ones(2).bfloat16(), "i": torch.ones(2).long()},
        tmp_path / "m.pth",
    )
    dtypes = {name: tensor.dtype for name, tensor in read_tensors(tmp_path / "m.pth").items()}
    assert dtypes == {"h": torch.float32, "b": torch.float32, "i": torch.int64}


class Hostile:
    """A pickle that would write a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.write_text, (self.path, "it ran"))


@pytest.mark.parametrize("name", ["model.pth", "model.pt", "model.ckpt", "model.bin"])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_pickle_that_runs_code_does_not_run(name: str, legacy: bool, tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / name
    torch.save(
        {"params": STATE, "x": Hostile(trace)}, path, _use_new_zipfile_serialization=not legacy
    )
    with pytest.raises(ArtifactError, match="could run code of its own, so it was not read"):
        read_tensors(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Hostile(trace)))  # it would have run
    assert trace.exists()


def test_a_bare_pickle_does_not_run_either(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "model.pth"
    path.write_bytes(pickle.dumps(Hostile(trace)))
    with pytest.raises(ArtifactError):
        read_tensors(path)
    assert not trace.exists()


def test_a_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pth")
    with pytest.raises(ArtifactError, match=r"m\.pth holds more than tensors.*state_dict"):
        read_tensors(tmp_path / "m.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "inf"])
def test_weights_that_went_astray_name_the_tensor(value: float, tmp_path: Path) -> None:
    torch.save(
        {**STATE, "c": torch.tensor([1, value]), "d": torch.tensor(value)}, tmp_path / "m.pth"
    )
    with pytest.raises(ArtifactError, match=r"m\.pth holds NaN or infinity \(in c and 1 more\)"):
        read_tensors(tmp_path / "m.pth")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "holds no tensors by name, but dict"),
        ([torch.ones(1)], "holds no tensors by name, but list"),
        (torch.ones(1), "holds no tensors by name, but Tensor"),
        ({"a": torch.ones(1), "lr": 0.1}, "'lr' is no tensor, but float"),
        ({"params": {"a": 1}}, "'a' is no tensor, but int"),
    ],
    ids=["empty", "a list", "a tensor", "a number among tensors", "numbers"],
)
def test_what_is_no_state_dict(content: Any, said: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(ArtifactError, match=said):
        read_tensors(tmp_path / "m.pth")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact, match=r"no weights .*m\.pth"):
        read_tensors(tmp_path / "m.pth")


@pytest.mark.parametrize("name", ["m.pth", "m.safetensors", "m.caffemodel"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no weights at all " * 9], ids=len)
def test_another_file_is_damage(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        read_tensors(tmp_path / name)


@given(cut=st.floats(0, 1, exclude_max=True), flips=st.lists(st.integers(0, 10**6), max_size=4))
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damage_never_gives_another_exception(
    suffix: str, cut: float, flips: list[int], tmp_path: Path
) -> None:
    path = tmp_path / f"m{suffix}"
    if suffix == ".pth":
        torch.save({"params": STATE}, path)
    else:
        save_file(STATE, path)
    content = bytearray(path.read_bytes())
    for flip in flips:
        content[flip % len(content)] ^= 1 << flip % 8
    path.write_bytes(content if flips else content[: int(cut * len(content))])
    try:
        read_tensors(path)
    except ArtifactError as error:
        assert "\n" not in str(error)
