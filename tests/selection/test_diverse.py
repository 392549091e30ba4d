"""diverse: of near-duplicates the hardest stays, found without comparing all with all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import InputError
from srprune.selection.diverse import diverse
from srprune.selection.rank_window import des
from srprune.selection.rule import Pool


def greedy(
    scores_N: np.ndarray, features_ND: np.ndarray, within: float, squared: bool
) -> list[int]:
    """All with all: from the hardest on, keep what is near to nothing kept. In rank order."""
    kept: list[int] = []
    for i in sorted(range(len(scores_N)), key=lambda i: (-scores_N[i], i)):
        gaps = ((features_ND[kept].astype(float) - features_ND[i]) ** 2).sum(axis=1)
        if not ((gaps if squared else np.sqrt(gaps)) <= within).any():
            kept.append(i)
    return kept


def hashes(num: int, seed: int) -> np.ndarray:
    """64 bits each, many of them near to one of a few."""
    rng = np.random.default_rng(seed)
    bits_ND = rng.integers(0, 2, (5, 64))[rng.integers(0, 5, num)]
    flips_ND = rng.random((num, 64)) < rng.choice([0.0, 0.02, 0.08], (num, 1))
    return (bits_ND ^ flips_ND).astype(np.float32)


@settings(deadline=None)
@given(
    st.integers(1, 60),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 1.0, 2.5, 4.0, 9.0, 63.0, 64.0, 70.0]),
    st.booleans(),
)
def test_by_hash_it_is_what_comparing_all_with_all_gives(
    num: int, seed: int, within: float, tied: bool
) -> None:
    features_ND = hashes(num, seed)
    rng = np.random.default_rng(seed)
    scores_N = rng.integers(0, 4, num).astype(float) if tied else rng.random(num)
    prepared = diverse.prepare(Pool(num, 0, 0, scores_N, features_ND), within=within)
    expected = greedy(scores_N, features_ND, within, squared=True)
    assert prepared.most == len(expected)
    for size in {1, len(expected) // 2 + 1, len(expected)} - {0}:
        size = min(size, len(expected))
        assert prepared.take(size).ids.tolist() == sorted(expected[:size])


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32), st.floats(0, 3))
def test_by_distance_it_is_what_comparing_all_with_all_gives(
    num: int, seed: int, within: float
) -> None:
    rng = np.random.default_rng(seed)
    features_ND = rng.normal(size=(num, 3)).astype(np.float32)
    scores_N = rng.random(num)
    prepared = diverse.prepare(
        Pool(num, 0, 0, scores_N, features_ND), within=within, features="texture"
    )
    expected = greedy(scores_N, features_ND, within, squared=False)
    assert prepared.take(prepared.most).ids.tolist() == sorted(expected)


def test_without_duplicates_it_is_des() -> None:
    rng = np.random.default_rng(1)
    features_ND = rng.integers(0, 2, (80, 64)).astype(np.float32)  # some 32 bits apart
    scores_N = rng.random(80)
    assert diverse(scores_N, 0.5, 0.1, features_ND=features_ND).tolist() == (
        des(scores_N, 0.5, 0.1).tolist()
    )


def test_too_many_are_refused_with_the_number_that_remains() -> None:
    features_ND = np.repeat(np.eye(64, dtype=np.float32)[:3] * 0, 4, axis=0)
    features_ND[4:8, :10] = 1
    features_ND[8:, 20:40] = 1
    with pytest.raises(InputError, match="3 of 12 patches remain, 3 fewer than the 6 asked for"):
        diverse(np.arange(12.0), 0.5, features_ND=features_ND)
    with pytest.raises(InputError, match="3 fewer than the 3 asked for and the 3 to skip"):
        diverse(np.arange(12.0), 0.25, 0.25, features_ND=features_ND)
    assert diverse(np.arange(12.0), 0.25, features_ND=features_ND).tolist() == [3, 7, 11]


def test_features_that_are_no_hash_are_refused() -> None:
    with pytest.raises(InputError, match="'dhash' must be 64 bits a patch"):
        diverse(np.arange(4.0), 0.5, features_ND=np.ones((4, 3), np.float32))
