"""Shards: a table in parts, by processes that know nothing of each other."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
from srprune.core.config import ExtractConfig
from srprune.core.errors import ArtifactMismatch, InputError
from srprune.core.score_parts import part_path
from srprune.core.workspace import Workspace
from srprune.stages.extract import ImageSource, extract
from srprune.stages.score import Options, score
from srprune.stages.score_shards import score_shards
from srprune.training.distributed import World

HOW = {"method": "bicubic", "device": "cpu"}


@pytest.fixture
def workspace(images: Path, tmp_path: Path) -> Workspace:
    """71 patches of four images."""
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), workspace)
    return workspace


@pytest.mark.parametrize("method", ["bicubic", "laplacian"])
def test_shards_in_any_order_are_the_table_of_one_call(workspace: Workspace, method: str) -> None:
    how = {**HOW, "method": method}
    _, whole = score(workspace, name="whole", **how)
    for shard in (2, 0):
        done = score_shards(workspace, shards=3, shard=shard, name="parts", **how)
        assert done.table is None
    assert done.missing == (1,)
    done = score_shards(workspace, shards=3, shard=1, name="parts", **how)
    assert done.missing == ()
    assert done.table is not None
    assert done.table.fingerprint == whole.fingerprint
    assert sorted(path.name for path in workspace.scores("parts").iterdir()) == [
        part_path(Path(), number, 3).name for number in range(3)
    ]
    assert not list(workspace.root.glob("scores/*.npz"))


def test_what_is_there_is_not_scored_again(workspace: Workspace) -> None:
    seen: list[int] = []

    def progress(label: str, done: int, total: int, note: str = "") -> None:
        if label == "score":
            seen.append(done)

    score_shards(workspace, shards=4, shard=1, **HOW)
    score_shards(workspace, shards=4, shard=1, progress=progress, **HOW)
    assert seen == []
    before = part_path(workspace.scores("bicubic_x2"), 1, 4).stat().st_mtime_ns
    done = score_shards(workspace, shards=4, progress=progress, **HOW)
    assert done.table is not None
    assert seen
    assert part_path(workspace.scores("bicubic_x2"), 1, 4).stat().st_mtime_ns == before


def test_a_damaged_shard_is_scored_again(workspace: Workspace) -> None:
    whole = score_shards(workspace, shards=2, **HOW).table
    part_path(workspace.scores("bicubic_x2"), 0, 2).write_bytes(b"PAR1 cut off")
    again = score_shards(workspace, shards=2, **HOW).table
    assert whole is not None and again is not None
    assert again.fingerprint == whole.fingerprint


def test_processes_share_what_is_missing(workspace: Workspace) -> None:
    """Each process alone, as if the others had died: it takes its own share and no more."""

    class Silent(World):
        def wait(self) -> None:
            pass

        def in_turn(self):  # type: ignore[no-untyped-def]
            import contextlib

            return contextlib.nullcontext()

    done = score_shards(workspace, shards=4, world=Silent(1, 2, 2), **HOW)
    assert done.missing == (0, 2)
    done = score_shards(workspace, shards=4, world=Silent(0, 2, 2), **HOW)
    assert done.missing == (2,)  # of the two that were left


def test_a_shard_of_another_scoring_is_refused(workspace: Workspace) -> None:
    score_shards(workspace, shards=2, shard=0, **HOW)
    other = Options(include_rim=True)
    with pytest.raises(ArtifactMismatch, match=r"made otherwise: params\.rim 4 there, 0 asked for"):
        score_shards(workspace, shards=2, options=other, **HOW)


def test_a_whole_table_is_never_mixed_with_shards(workspace: Workspace) -> None:
    name, _ = score(workspace, **HOW)
    with pytest.raises(ArtifactMismatch, match="is a whole table"):
        score_shards(workspace, shards=2, **HOW)
    workspace.scores(name).unlink()
    score_shards(workspace, shards=2, shard=0, **HOW)
    with pytest.raises(InputError, match="is a folder of shards"):
        score(workspace, **HOW)


def test_a_whole_folder_of_shards_is_a_finished_table(workspace: Workspace) -> None:
    whole = score_shards(workspace, shards=2, **HOW).table
    _, found = score(workspace, **HOW)
    assert whole is not None
    assert found.fingerprint == whole.fingerprint


@pytest.mark.parametrize(
    ("shards", "shard", "said"),
    [
        (2, 2, "--shard is 2; there are 2, counted from 0"),
        (5, None, "5 shards are asked for, but there are 4 images"),
    ],
)
def test_a_shard_that_is_not_there_is_refused(
    workspace: Workspace, shards: int, shard: int | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        score_shards(workspace, shards=shards, shard=shard, **HOW)


def test_one_shard_for_several_processes_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="Under torchrun leave it out"):
        score_shards(workspace, shards=2, shard=0, world=World(1, 2, 2), **HOW)
    assert not workspace.scores("bicubic_x2").exists()


def test_error_maps_need_the_whole_table(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="leave out --maps or --shards"):
        score_shards(workspace, shards=2, options=Options(maps=True), **HOW)
