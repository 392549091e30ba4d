"""Checkpoints on disk: the newest whole one comes back, or one clear line says why not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from srprune.core.errors import ArtifactError, ArtifactMismatch, StorageError  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.training.checkpoints import Checkpoints  # noqa: E402

IDENTITY = {"model": "fsrcnn", "seed": 0, "config": {"lr": 1e-3, "ema": None}, "parents": {}}


def state_of(seed: int, steps: int = 3) -> dict[str, Any]:
    """What a short training leaves: weights and what the optimizer remembers."""
    torch.manual_seed(seed)
    network, _ = build("fsrcnn", 2, {"d": 4, "s": 3, "m": 1})
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.rand(2, 1, 5, 5)).square().mean().backward()
        optimizer.step()
    return {
        "network": network.state_dict(),
        "average": None,
        "optimizer": optimizer.state_dict(),
        "loss_sum": 0.1 + 0.2,
        "best": -float("inf"),
    }


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "run" / "checkpoints", IDENTITY)


def leaves(value: object) -> list[Any]:
    """All leaves of a nested state, in order."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in [key, *leaves(value[key])]]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


def same(a: object, b: object) -> bool:
    return len(leaves(a)) == len(leaves(b)) and all(
        torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
        for x, y in zip(leaves(a), leaves(b), strict=True)
    )


def content(state: dict[str, Any] | None) -> dict[str, Any]:
    """What was saved, without what says whose it is."""
    assert state is not None
    return {key: value for key, value in state.items() if key not in ("identity", "step")}


def names(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.folder.iterdir())


def test_everything_comes_back(checkpoints: Checkpoints) -> None:
    state = state_of(0)
    checkpoints.save(3, state)
    found = checkpoints.load()
    assert found is not None
    assert found["step"] == 3
    assert same(content(found), state)
    assert not same(content(found), state_of(1))
    assert names(checkpoints) == ["000000003.pt"]


def test_without_any_there_is_nothing_to_load(checkpoints: Checkpoints) -> None:
    assert checkpoints.load() is None
    assert checkpoints.files() == []
    checkpoints.folder.mkdir(parents=True)
    assert checkpoints.load() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_state_of_a_gpu_comes_back_on_the_cpu(checkpoints: Checkpoints) -> None:
    checkpoints.save(1, {"network": {"weight": torch.ones(2, device="cuda")}})
    assert content(checkpoints.load())["network"]["weight"].device.type == "cpu"


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_last_ones_are_kept_and_the_newest_is_first(tmp_path: Path, keep: int) -> None:
    checkpoints = Checkpoints(tmp_path, IDENTITY, keep)
    steps = [9, 10, 99, 100, 1000]
    for count, step in enumerate(steps, 1):
        checkpoints.save(step, {"loss_sum": step / 2})
        there = [int(path.stem) for path in checkpoints.files()]
        assert there == steps[:count][::-1][:keep]
        found = checkpoints.load()
        assert found is not None
        assert (found["step"], found["loss_sum"]) == (step, step / 2)


# --- damage -------------------------------------------------------------------------------------


def flip_middle(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0x10
    path.write_bytes(whole)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def replace_by_another_state(path: Path) -> None:
    torch.save({"plan": "of another program"}, path)


DAMAGES = [flip_middle, halve, empty, replace_by_another_state]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_passed_over(
    checkpoints: Checkpoints, damage: Callable[[Path], None]
) -> None:
    checkpoints.save(2, state_of(2))
    checkpoints.save(4, state_of(4))
    damage(checkpoints.files()[0])
    found = checkpoints.load()
    assert found is not None
    assert found["step"] == 2
    assert same(content(found), state_of(2))


@pytest.mark.parametrize("damage", DAMAGES)
def test_all_damaged_is_one_line_that_names_the_newest(
    checkpoints: Checkpoints, damage: Callable[[Path], None]
) -> None:
    for step in (2, 4):
        checkpoints.save(step, state_of(step))
    for path in checkpoints.files():
        damage(path)
    with pytest.raises(ArtifactError) as caught:
        checkpoints.load()
    assert str(caught.value) == (
        f"the checkpoint {checkpoints.folder / '000000004.pt'} is damaged. "
        f"Delete {checkpoints.folder} and train again."
    )


@pytest.mark.parametrize("keep", [1, 2])
def test_a_damaged_one_never_pushes_out_a_whole_one(tmp_path: Path, keep: int) -> None:
    """A run that goes on from an older one saves below the damaged one at first."""
    before = Checkpoints(tmp_path, IDENTITY, 2)
    for step in (20, 40):
        before.save(step, {"loss_sum": 0.0})
    flip_middle(before.files()[0])
    after = Checkpoints(tmp_path, IDENTITY, keep)
    after.save(30, {"loss_sum": 3.0})
    assert [int(path.stem) for path in after.files()] == [30, 20][:keep]
    assert content(after.load()) == {"loss_sum": 3.0}


def test_a_flipped_bit_is_noticed_wherever_it_is(checkpoints: Checkpoints) -> None:
    """In the directory of the zip archive, too, which has no sum of its own."""
    checkpoints.save(4, state_of(4))
    path = checkpoints.files()[0]
    whole = path.read_bytes()
    for position in {*range(0, len(whole), 37), len(whole) - 1}:
        broken = bytearray(whole)
        broken[position] ^= 0x10
        path.write_bytes(broken)
        with pytest.raises(ArtifactError, match="is damaged"):
            checkpoints.load()
    path.write_bytes(whole)
    assert same(content(checkpoints.load()), state_of(4))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_damaged(checkpoints: Checkpoints, share: float) -> None:
    checkpoints.save(3, state_of(0))
    path = checkpoints.files()[0]
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(ArtifactError, match="is damaged"):
        checkpoints.load()


@pytest.mark.parametrize(
    "words",
    [b"no state, only some words", b"\x80", b"\x80\x02}q\x00.", b"PK\x03\x04", bytes(300)],
    ids=["text", "a byte", "a pickle", "a zip's start", "zeros"],
)
def test_another_file_is_damaged(checkpoints: Checkpoints, words: bytes) -> None:
    checkpoints.folder.mkdir(parents=True)
    (checkpoints.folder / "000000007.pt").write_bytes(words)
    with pytest.raises(ArtifactError, match="is damaged"):
        checkpoints.load()


@pytest.mark.parametrize("foreign", [{}, [1, 2], {"step": 3}, "words", 3, torch.ones(2)])
def test_a_foreign_state_is_damaged(checkpoints: Checkpoints, foreign: object) -> None:
    checkpoints.folder.mkdir(parents=True)
    torch.save(foreign, checkpoints.folder / "000000007.pt")
    with pytest.raises(ArtifactError, match="is damaged"):
        checkpoints.load()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("touched by a pickle"),))


def test_a_state_runs_no_code(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.save(1, {"evil": Evil()})
    monkeypatch.chdir(checkpoints.folder)
    with pytest.raises(ArtifactError, match="is damaged"):
        checkpoints.load()
    assert names(checkpoints) == ["000000001.pt"]


# --- writing ------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_leaves_the_last_ones_whole(
    checkpoints: Checkpoints, unfinished: Callable[[Path], list[str]]
) -> None:
    import resource

    checkpoints.save(2, state_of(2))
    checkpoints.save(4, state_of(4))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(StorageError, match=r"no space left to write .*000000006\.pt"):
            checkpoints.save(6, state_of(6))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(checkpoints) == ["000000002.pt", "000000004.pt"]
    assert unfinished(checkpoints.folder) == []
    assert same(content(checkpoints.load()), state_of(4))


def test_half_a_file_of_a_killed_process_is_no_checkpoint(checkpoints: Checkpoints) -> None:
    checkpoints.save(2, state_of(2))
    left = checkpoints.folder / ".000000004.pt.999999999.part"
    left.write_bytes(checkpoints.files()[0].read_bytes()[:500])
    assert [path.name for path in checkpoints.files()] == ["000000002.pt"]
    assert same(content(checkpoints.load()), state_of(2))


def test_clear_removes_them_and_the_folder(checkpoints: Checkpoints) -> None:
    checkpoints.clear()  # there is none yet
    for step in (2, 4):
        checkpoints.save(step, {"loss_sum": 0.0})
    checkpoints.clear()
    assert list(checkpoints.folder.parent.iterdir()) == []


def test_clear_leaves_what_is_not_its_own(checkpoints: Checkpoints) -> None:
    checkpoints.save(2, {"loss_sum": 0.0})
    (checkpoints.folder / "notes.txt").touch()
    checkpoints.clear()
    assert names(checkpoints) == ["notes.txt"]


# --- identity -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, "seed 0 there, 1 asked for"),
        ({"config": {"lr": 1e-4, "ema": None}}, "config.lr 0.001 there, 0.0001 asked for"),
        ({"seed": 1, "model": "srcnn"}, "model 'fsrcnn' there, 'srcnn' asked for"),
        (
            {"seed": 1, "config": {"lr": 1e-3, "ema": 0.9}},
            "config.ema None there, 0.9 asked for",
        ),
        ({"parents": {"init": "ab"}}, "parents.init None there, 'ab' asked for"),
        ({"config": {"ema": None}}, "config.lr 0.001 there, None asked for"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    checkpoints: Checkpoints, changes: dict[str, Any], difference: str
) -> None:
    """The message names the first key that differs, and both values."""
    checkpoints.save(2, {"loss_sum": 0.0})
    other = Checkpoints(checkpoints.folder, {**IDENTITY, **changes})
    with pytest.raises(ArtifactMismatch) as caught:
        other.load()
    said = str(caught.value)
    path = checkpoints.folder / "000000002.pt"
    assert said.startswith(f"{path} belongs to another run: {difference}. Choose another")
    assert "--restart" in said
    assert "\n" not in said
    assert checkpoints.load() is not None


def test_a_key_that_is_only_sometimes_there_is_another_version(checkpoints: Checkpoints) -> None:
    checkpoints.save(2, {"loss_sum": 0.0})
    with pytest.raises(ArtifactMismatch, match="written by another version"):
        Checkpoints(checkpoints.folder, {**IDENTITY, "new": None}).load()


def test_the_order_of_the_keys_does_not_matter(checkpoints: Checkpoints) -> None:
    checkpoints.save(2, {"loss_sum": 0.0})
    turned = dict(reversed(IDENTITY.items()))
    assert list(turned) != list(IDENTITY)
    assert Checkpoints(checkpoints.folder, turned).load() is not None


def test_how_many_are_kept_is_no_part_of_the_identity(checkpoints: Checkpoints) -> None:
    checkpoints.save(2, {"loss_sum": 0.0})
    assert Checkpoints(checkpoints.folder, IDENTITY, keep=5).load() is not None
