"""The checkpoint of a run: all of it comes back, or one clear line says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from srprune.core.errors import ArtifactError, ArtifactMismatch  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.training.state import StateFile  # noqa: E402

CPU = torch.device("cpu")


def trained(seed: int, steps: int) -> tuple[Any, Any]:
    torch.manual_seed(seed)
    network, _ = build("fsrcnn", 2, {"d": 4, "s": 3, "m": 1})
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.rand(2, 1, 5, 5)).square().mean().backward()
        optimizer.step()
    return network, optimizer


@pytest.fixture
def state(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "run" / "state.pt", "plan one")


def flat(value: object) -> list[Any]:
    """All leaves of a nested state, in order."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in [key, *flat(value[key])]]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in flat(part)]
    return [value]


def same(a: object, b: object) -> bool:
    return len(flat(a)) == len(flat(b)) and all(
        torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
        for x, y in zip(flat(a), flat(b), strict=True)
    )


def test_everything_comes_back(state: StateFile) -> None:
    network, optimizer = trained(0, 3)
    torch.manual_seed(123)
    state.save(3, network, optimizer, 0.1 + 0.2)
    expected_random = torch.rand(5)
    other_network, other_optimizer = trained(1, 1)
    assert not same(network.state_dict(), other_network.state_dict())
    assert state.load(other_network, other_optimizer, CPU) == (3, 0.1 + 0.2)
    assert torch.equal(torch.rand(5), expected_random)
    assert same(network.state_dict(), other_network.state_dict())
    assert same(optimizer.state_dict(), other_optimizer.state_dict())
    assert [file.name for file in state.path.parent.iterdir()] == ["state.pt"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_random_numbers_of_the_device_come_back(state: StateFile) -> None:
    network, optimizer = trained(0, 1)
    network.cuda()
    torch.manual_seed(123)
    state.save(1, network, optimizer, 0.0)
    expected = torch.rand(5, device="cuda")
    state.load(network, optimizer, torch.device("cuda"))
    assert torch.equal(torch.rand(5, device="cuda"), expected)


def test_saving_replaces_the_state_before(state: StateFile) -> None:
    for step in (1, 2):
        network, optimizer = trained(0, step)
        state.save(step, network, optimizer, 0.0)
    assert state.load(*trained(1, 1), CPU)[0] == 2


def test_state_of_another_plan_is_refused(state: StateFile) -> None:
    state.save(3, *trained(0, 3), 0.0)
    network, optimizer = trained(1, 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    other = StateFile(state.path, "plan two")
    with pytest.raises(ArtifactMismatch, match="plan one, not plan two") as caught:
        other.load(network, optimizer, CPU)
    assert "--restart" in str(caught.value)
    assert same(before, network.state_dict())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.2, 0.5, 0.9, 0.999])
def test_cut_off_state_is_damaged(state: StateFile, share: float) -> None:
    state.save(3, *trained(0, 3), 0.0)
    whole = state.path.read_bytes()
    state.path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ArtifactError, match=r"state\.pt is damaged. Delete it and train again"):
        state.load(*trained(1, 1), CPU)


@pytest.mark.parametrize(
    "content",
    [b"no state, only some words", b"\x80", b"\x80\x02}q\x00.", b"PK\x03\x04", bytes(300)],
    ids=["text", "a byte", "a pickle", "a zip's start", "zeros"],
)
def test_another_file_is_damaged(state: StateFile, content: bytes) -> None:
    state.path.parent.mkdir()
    state.path.write_bytes(content)
    with pytest.raises(ArtifactError, match="is damaged"):
        state.load(*trained(1, 1), CPU)


@pytest.mark.parametrize("foreign", [{}, [1, 2], {"plan": "plan one"}, "words", 3, torch.ones(2)])
def test_a_foreign_state_is_damaged(state: StateFile, foreign: object) -> None:
    state.path.parent.mkdir()
    torch.save(foreign, state.path)
    with pytest.raises(ArtifactError, match="is damaged"):
        state.load(*trained(1, 1), CPU)


def test_flipped_bits_never_end_in_a_traceback(state: StateFile) -> None:
    state.save(3, *trained(0, 3), 0.0)
    whole = state.path.read_bytes()
    refused = 0
    for position in range(0, len(whole), max(1, len(whole) // 80)):
        broken = bytearray(whole)
        broken[position] ^= 0xFF
        state.path.write_bytes(broken)
        try:
            state.load(*trained(1, 1), CPU)
        except ArtifactError:  # the mismatch of a flipped plan is one, too
            refused += 1
    assert refused > 0


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("touched by a pickle"),))


def test_a_state_runs_no_code(state: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    state.path.parent.mkdir()
    monkeypatch.chdir(state.path.parent)
    torch.save({"plan": "plan one", "evil": Evil()}, state.path)
    with pytest.raises(ArtifactError):
        state.load(*trained(1, 1), CPU)
    assert [file.name for file in state.path.parent.iterdir()] == ["state.pt"]
