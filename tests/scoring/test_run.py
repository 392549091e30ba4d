"""Scoring all patches: batch by batch, and on after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from srprune.core.config import ExtractConfig  # noqa: E402
from srprune.core.errors import InputError  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.data.patches import Ids, PatchPool  # noqa: E402
from srprune.scoring import run  # noqa: E402
from srprune.scoring.gradient import Laplacian  # noqa: E402
from srprune.scoring.run import forget, merged, parts_of, score_patches  # noqa: E402
from srprune.stages.extract import ImageSource, extract  # noqa: E402
from srprune.stages.pool import open_pool  # noqa: E402


class Killed(Exception):
    pass


class Asked:
    """The Laplacian score, which remembers what it was asked for and may be killed."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.batches: list[list[int]] = []
        self.kill_at = kill_at

    def __call__(self, ids: Ids, pool: PatchPool) -> Any:
        if len(self.batches) == self.kill_at:
            raise Killed
        self.batches.append(ids.tolist())
        return Laplacian()(ids, pool)


@pytest.fixture
def pool(images: Path, tmp_path: Path) -> PatchPool:
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=48), workspace)
    return open_pool(workspace, 2)


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return tmp_path / "scores" / "laplacian.part"


@pytest.fixture
def always_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SAVE_EVERY", 0.0)


def every_score(pool: PatchPool) -> Any:
    return Laplacian()(np.arange(len(pool)), pool)


@pytest.mark.parametrize("batch", [1, 4, 5, 1000])
def test_every_patch_is_scored_once_in_order(pool: PatchPool, partial: Path, batch: int) -> None:
    asked, reported = Asked(), []

    def progress(label: str, done: int, total: int, note: str = "") -> None:
        assert (label, total) == ("score", len(pool))
        reported.append(done)

    scores = score_patches(pool, asked, batch=batch, partial=partial, plan="p", progress=progress)
    assert scores.dtype == np.float64
    assert np.array_equal(scores, every_score(pool))
    assert [i for ids in asked.batches for i in ids] == list(range(len(pool)))
    assert max(map(len, asked.batches)) == min(batch, len(pool))
    assert reported == [ids[-1] + 1 for ids in asked.batches]
    assert parts_of(partial) == []  # a short job writes none


@pytest.mark.usefixtures("always_saving")
@pytest.mark.parametrize("kill_at", [1, 3])
def test_a_killed_job_goes_on_where_it_stopped(
    pool: PatchPool, partial: Path, kill_at: int
) -> None:
    with pytest.raises(Killed):
        score_patches(pool, Asked(kill_at), batch=4, partial=partial, plan="p")
    asked = Asked()
    scores = score_patches(pool, asked, batch=4, partial=partial, plan="p")
    assert asked.batches[0][0] == 4 * kill_at
    assert np.array_equal(scores, every_score(pool))


@pytest.mark.usefixtures("always_saving")
def test_a_finished_partial_leaves_nothing_to_score(pool: PatchPool, partial: Path) -> None:
    score_patches(pool, Asked(), batch=4, partial=partial, plan="p")
    scores = score_patches(pool, Asked(kill_at=0), batch=4, partial=partial, plan="p")
    assert np.array_equal(scores, every_score(pool))


@pytest.mark.usefixtures("always_saving")
def test_partial_of_another_plan_is_ignored(pool: PatchPool, partial: Path) -> None:
    with pytest.raises(Killed):
        score_patches(pool, Asked(kill_at=2), batch=4, partial=partial, plan="another")
    assert parts_of(partial)
    asked = Asked()
    scores = score_patches(pool, asked, batch=4, partial=partial, plan="p")
    assert asked.batches[0] == [0, 1, 2, 3]
    assert np.array_equal(scores, every_score(pool))


@pytest.mark.usefixtures("always_saving")
@pytest.mark.parametrize("damage", ["empty", "cut off", "other words", "inside", "other arrays"])
def test_damaged_partial_is_ignored(pool: PatchPool, partial: Path, damage: str) -> None:
    with pytest.raises(Killed):
        score_patches(pool, Asked(kill_at=2), batch=4, partial=partial, plan="p")
    (part,) = parts_of(partial)
    whole = part.read_bytes()
    middle = len(whole) // 2
    content = {
        "empty": b"",
        "cut off": whole[:middle],
        "other words": b"no numbers at all",
        "inside": whole[: middle - 60] + bytes(120) + whole[middle + 60 :],
    }
    if damage == "other arrays":
        np.savez(part, scores=np.zeros(3))
    else:
        part.write_bytes(content[damage])
    asked = Asked()
    scores = score_patches(pool, asked, batch=4, partial=partial, plan="p")
    assert asked.batches[0] == [0, 1, 2, 3]
    assert np.array_equal(scores, every_score(pool))


@pytest.mark.parametrize("processes", [2, 3, 50])
def test_processes_share_the_patches_and_keep_the_batches(
    pool: PatchPool, partial: Path, processes: int
) -> None:
    alone = Asked()
    score_patches(pool, alone, batch=4, partial=partial, plan="p")
    asked, parts = [Asked() for _ in range(processes)], []
    for rank in range(processes):
        parts.append(
            score_patches(
                pool, asked[rank], batch=4, partial=partial, plan="p", rank=rank,
                processes=processes,
            )
        )  # fmt: skip
    assert [ids for one in asked for ids in one.batches] == alone.batches
    assert np.array_equal(merged(parts), every_score(pool))
    assert np.isnan(parts[0]).any()


@pytest.mark.usefixtures("always_saving")
def test_a_name_with_the_signs_of_a_pattern_finds_its_own_parts(
    pool: PatchPool, tmp_path: Path
) -> None:
    partial = tmp_path / "scores" / "a[1].part"
    with pytest.raises(Killed):
        score_patches(pool, Asked(kill_at=3), batch=4, partial=partial, plan="p")
    other = tmp_path / "scores" / "a1.part0.npz"
    other.touch()
    left = tmp_path / "scores" / ".a[1].part0.npz.7.part"
    left.touch()
    assert [part.name for part in parts_of(partial)] == ["a[1].part0.npz"]
    forget(partial)
    assert list(partial.parent.iterdir()) == [other]


@pytest.mark.usefixtures("always_saving")
def test_what_some_processes_left_others_take(pool: PatchPool, partial: Path) -> None:
    for rank in (0, 1):
        with pytest.raises(Killed):
            score_patches(
                pool, Asked(kill_at=1), batch=4, partial=partial, plan="p", rank=rank, processes=2
            )
    assert [part.name for part in parts_of(partial)] == [
        "laplacian.part0.npz",
        "laplacian.part1.npz",
    ]
    asked = Asked()
    scores = score_patches(pool, asked, batch=4, partial=partial, plan="p")
    assert np.array_equal(scores, every_score(pool))
    assert len([i for ids in asked.batches for i in ids]) == len(pool) - 8


class Cramped(Asked):
    """The Laplacian score of a device with room for ``room`` patches."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def __call__(self, ids: Ids, pool: PatchPool) -> Any:
        if len(ids) > self.room:
            torch.empty(1 << 60, dtype=torch.uint8)
        return super().__call__(ids, pool)


def test_a_batch_without_room_is_halved_for_good(pool: PatchPool, partial: Path) -> None:
    cramped = Cramped(room=3)
    scores = score_patches(pool, cramped, batch=8, partial=partial, plan="p")
    assert np.array_equal(scores, every_score(pool))
    assert max(map(len, cramped.batches)) == 2
    with pytest.raises(InputError, match="not enough memory to score a single patch"):
        score_patches(pool, Cramped(room=0), batch=8, partial=partial, plan="p")


class Mapped(Asked):
    """Fills in a map a patch as it goes."""

    def __init__(self, cells: Any, kill_at: int | None = None) -> None:
        super().__init__(kill_at)
        self.cells = cells

    def __call__(self, ids: Ids, pool: PatchPool) -> Any:
        scores = super().__call__(ids, pool)
        self.cells[ids] = ids[:, None, None]
        return scores


def no_cells(pool: PatchPool) -> Any:
    return np.full((len(pool), 16, 16), np.nan, np.float32)


@pytest.mark.usefixtures("always_saving")
def test_error_maps_are_kept_with_the_scores(pool: PatchPool, partial: Path) -> None:
    job = {"batch": 4, "partial": partial, "plan": "p"}
    cells = no_cells(pool)
    with pytest.raises(Killed):
        score_patches(pool, Mapped(cells, kill_at=2), cells_NHW=cells, **job)
    cells = no_cells(pool)
    mapped = Mapped(cells)
    scores = score_patches(pool, mapped, cells_NHW=cells, **job)
    assert mapped.batches[0][0] == 8
    assert np.array_equal(scores, every_score(pool))
    assert np.array_equal(cells[:, 0, 0], np.arange(len(pool)))
    assert np.isfinite(cells).all()


@pytest.mark.usefixtures("always_saving")
def test_a_partial_without_error_maps_is_no_help_where_they_are_wanted(
    pool: PatchPool, partial: Path
) -> None:
    job = {"batch": 4, "partial": partial, "plan": "p"}
    with pytest.raises(Killed):
        score_patches(pool, Asked(kill_at=2), **job)
    cells = no_cells(pool)
    mapped = Mapped(cells)
    score_patches(pool, mapped, cells_NHW=cells, **job)
    assert mapped.batches[0] == [0, 1, 2, 3]
    assert np.isfinite(cells).all()


def test_error_maps_of_processes_become_one(pool: PatchPool, partial: Path) -> None:
    parts = []
    for rank in range(2):
        cells = no_cells(pool)
        score_patches(
            pool, Mapped(cells), batch=4, partial=partial, plan="p", rank=rank, processes=2,
            cells_NHW=cells,
        )  # fmt: skip
        parts.append(cells)
    assert np.isnan(parts[0]).any() and np.isnan(parts[1]).any()
    assert np.array_equal(merged(parts)[:, 3, 3], np.arange(len(pool)))
