"""Random scores: the same for a patch whatever it is asked with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")
from srprune.core.config import ExtractConfig  # noqa: E402
from srprune.core.seeding import generator  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.data.patches import PatchPool  # noqa: E402
from srprune.scoring import random_scores  # noqa: E402
from srprune.scoring.random_scores import RandomScores  # noqa: E402
from srprune.stages.extract import ImageSource, extract  # noqa: E402
from srprune.stages.pool import open_pool  # noqa: E402


@pytest.fixture
def pool(images: Path, tmp_path: Path) -> PatchPool:
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=12, stride=12), workspace)
    return open_pool(workspace, 2)


def test_scores_are_uniform_and_all_different(pool: PatchPool) -> None:
    scores = RandomScores()(np.arange(len(pool)), pool)
    assert len(scores) > 300
    assert len(set(scores)) == len(scores)
    assert stats.kstest(scores, "uniform").pvalue > 1e-3


def test_a_patch_keeps_its_score_in_every_batch(pool: PatchPool) -> None:
    scores = RandomScores()(np.arange(len(pool)), pool)
    for ids in ([5], [9, 5, 2], [len(pool) - 1]):
        assert np.array_equal(RandomScores()(np.array(ids), pool), scores[ids])


def test_scores_are_unrelated_to_the_order_of_the_patches(pool: PatchPool) -> None:
    scores = RandomScores()(np.arange(len(pool)), pool)
    assert stats.spearmanr(scores, np.arange(len(scores))).pvalue > 1e-3


def test_scores_are_drawn_once_for_all_batches(
    pool: PatchPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def counting(seed: int, use: str) -> np.random.Generator:
        drawn.append(seed)
        return generator(seed, use)

    monkeypatch.setattr(random_scores, "generator", counting)
    whole = generator(0, "scoring.random").random(len(pool))
    scorer = RandomScores()
    for ids in (np.arange(4), np.arange(4, 9)):
        assert np.array_equal(scorer(ids, pool), whole[ids])
    assert drawn == [0]
