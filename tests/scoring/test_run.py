"""Scoring all patches: batch by batch, and on after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from srprune.core.config import ExtractConfig  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.data.patches import Ids, PatchPool  # noqa: E402
from srprune.scoring import run  # noqa: E402
from srprune.scoring.gradient import Laplacian  # noqa: E402
from srprune.scoring.run import score_patches  # noqa: E402
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
    return tmp_path / "scores" / "laplacian.part.npz"


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
    assert not partial.exists()  # a short job writes none


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
    assert partial.exists()
    asked = Asked()
    scores = score_patches(pool, asked, batch=4, partial=partial, plan="p")
    assert asked.batches[0] == [0, 1, 2, 3]
    assert np.array_equal(scores, every_score(pool))


@pytest.mark.usefixtures("always_saving")
@pytest.mark.parametrize("damage", ["empty", "cut off", "other words", "inside", "other arrays"])
def test_damaged_partial_is_ignored(pool: PatchPool, partial: Path, damage: str) -> None:
    with pytest.raises(Killed):
        score_patches(pool, Asked(kill_at=2), batch=4, partial=partial, plan="p")
    whole = partial.read_bytes()
    middle = len(whole) // 2
    content = {
        "empty": b"",
        "cut off": whole[:middle],
        "other words": b"no numbers at all",
        "inside": whole[: middle - 60] + bytes(120) + whole[middle + 60 :],
    }
    if damage == "other arrays":
        np.savez(partial, scores=np.zeros(3))
    else:
        partial.write_bytes(content[damage])
    asked = Asked()
    scores = score_patches(pool, asked, batch=4, partial=partial, plan="p")
    assert asked.batches[0] == [0, 1, 2, 3]
    assert np.array_equal(scores, every_score(pool))
