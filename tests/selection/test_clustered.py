"""clustered: the texture filter, k-means, and an equal number from each cluster."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import InputError, MissingDependency
from srprune.selection.clustered import above, clustered
from srprune.selection.rule import Pool

no_deadline = settings(deadline=None)

RNG = np.random.default_rng(0)
BLOBS = 3


@pytest.fixture(autouse=True)
def with_scikit_learn() -> None:
    pytest.importorskip("sklearn")


def blobs(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Well separated vectors, and which blob each is of."""
    of = np.repeat(np.arange(len(sizes)), sizes)
    return (100 * of[:, None] + RNG.normal(size=(len(of), 2))).astype(np.float32), of


def as_published(scores: list[float]) -> list[bool]:
    """The filter of DCSR's remove_low_complexity.py, in Python."""
    ranked = sorted(scores)
    threshold = ranked[int(0.5 * len(scores)) - 1]
    return [score > threshold for score in scores]


@no_deadline
@given(st.lists(st.integers(0, 5) | st.floats(0, 9), min_size=2, max_size=50))
def test_the_filter_is_that_of_the_papers_code(scores: list[float]) -> None:
    assert above(np.array(scores, dtype=float), 0.5).tolist() == as_published(scores)


def test_each_cluster_gives_as_many() -> None:
    features_ND, of = blobs((60, 30, 10))
    rule = clustered.prepare(
        Pool(100, 0, 0, np.arange(100.0), features_ND), clusters=BLOBS, textured=1.0
    )
    assert rule.groups_N is not None
    assert len({(a, b) for a, b in zip(of, rule.groups_N, strict=True)}) == BLOBS  # they are found
    assert np.bincount(of[rule.take(30).ids]).tolist() == [10, 10, 10]
    assert np.bincount(of[rule.take(50).ids]).tolist() == [20, 20, 10]  # the small one gives all


def test_only_textured_patches_are_clustered_and_kept() -> None:
    features_ND, _ = blobs((20, 20, 20))
    scores_N = RNG.permutation(60).astype(float)
    rule = clustered.prepare(Pool(60, 6, 0, scores_N, features_ND), clusters=BLOBS)
    assert rule.groups_N is not None
    inside = rule.groups_N >= 0
    assert sorted(scores_N[inside]) == list(range(30, 54))  # upper half, without the hardest 6
    assert set(rule.take(24).ids) == set(np.flatnonzero(inside)) and rule.most == 24


def test_more_than_the_filter_leaves_is_refused() -> None:
    features_ND, _ = blobs((20, 20, 20))
    rule = clustered.prepare(Pool(60, 0, 0, np.arange(60.0), features_ND), clusters=BLOBS)
    with pytest.raises(InputError, match="leaves 30 of 60 patches, 6 fewer than the 36 asked for"):
        rule.take(36)


def test_fewer_patches_than_clusters_are_refused() -> None:
    features_ND, _ = blobs((4, 4, 4))
    with pytest.raises(InputError, match="leaves 6 patches, fewer than 15 clusters"):
        clustered.prepare(Pool(12, 0, 0, np.arange(12.0), features_ND))


def test_equal_vectors_are_one_cluster_without_a_warning() -> None:
    kept = clustered(np.arange(40.0), 0.25, features_ND=np.ones((40, 3), np.float32))
    assert len(kept) == 10 and kept.min() >= 20


def test_without_scikit_learn_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)  # as if it were not installed
    with pytest.raises(MissingDependency, match=r"pip install 'srprune\[select\]'"):
        clustered(np.arange(40.0), 0.25, features_ND=np.ones((40, 3), np.float32))
