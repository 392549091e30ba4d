"""HES: classes of the gradient vector, drawn by probability; weights bring the rest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import InputError
from srprune.selection.hes import hes, lengths, probabilities
from srprune.selection.rule import Pool


def vectors(num: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(size=(num, 4)).astype(np.float32)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 12), st.integers(1, 100), st.integers(0, 2**32))
def test_in_training_each_class_is_drawn_with_its_probability(
    num: int, classes: int, percent: int, seed: int
) -> None:
    size, classes = max(num * percent // 100, 1), min(classes, num)
    prepared = hes.prepare(Pool(num, 0, seed, None, vectors(num, seed)), classes=classes)
    choice, labels_N = prepared.take(size), prepared.groups_N
    assert choice.weights is not None and labels_N is not None
    assert len(choice.ids) == len(choice.weights) == size
    assert (choice.weights > 0).all() and choice.weights.mean() == pytest.approx(1, abs=1e-12)
    kept = np.unique(labels_N[choice.ids])
    chances_K = probabilities(np.bincount(labels_N, minlength=classes), 0.9)
    drawn = np.bincount(labels_N[choice.ids], choice.weights, classes) / size
    np.testing.assert_allclose(drawn[kept], chances_K[kept] / chances_K[kept].sum(), rtol=1e-9)


def test_the_full_set_has_the_papers_probabilities() -> None:
    choice = hes.prepare(Pool(100, 0, 0, None, vectors(100))).take(100)
    assert choice.ids.tolist() == list(range(100)) and choice.weights is not None
    # 10 classes of 10: each step to an easier class divides by 1/0.9
    steps = np.unique(np.round(choice.weights, 12))
    np.testing.assert_allclose(steps[1:] / steps[:-1], 1 / 0.9, rtol=1e-9)


def test_hard_classes_get_more_and_delta_1_makes_all_alike() -> None:
    features_ND = vectors(1000)
    hard_N = np.argsort(lengths(features_ND))[-100:]
    prefer, alike = (
        hes.prepare(Pool(1000, 0, 0, None, features_ND), delta=delta).take(200).ids
        for delta in (0.5, 1.0)
    )
    assert np.isin(prefer, hard_N).sum() == 100  # half of 200, which is the class
    assert np.isin(alike, hard_N).sum() == 20


def test_a_flat_patch_is_the_simplest() -> None:
    features_ND = vectors(50) + 1
    features_ND[17] = 0
    assert np.argmin(lengths(features_ND)) == 17
    labels_N = hes.prepare(Pool(50, 0, 0, None, features_ND)).groups_N
    assert labels_N is not None and labels_N[17] == 0


def test_the_unit_of_a_feature_has_no_effect() -> None:
    features_ND = vectors(300)
    scaled_ND = features_ND * np.array([1, 8, 64, 0.5], dtype=np.float32)
    np.testing.assert_allclose(lengths(features_ND), lengths(scaled_ND), rtol=1e-9)


def test_probabilities_by_hand() -> None:
    chances_K = probabilities(np.array([4, 0, 2]), 0.5)
    np.testing.assert_allclose(chances_K, np.array([0.25 / 4, 0, 1 / 2]) / (0.25 / 4 + 0.5))


def test_more_classes_than_patches_are_refused() -> None:
    pool = Pool(20, 0, 0, None, vectors(20))
    assert len(hes.prepare(pool, classes=20).take(10).ids) == 10
    with pytest.raises(InputError, match=r"^classes is 21, but the pool has 20 patches\. Choose"):
        hes.prepare(pool, classes=21)


@pytest.mark.parametrize(("delta", "classes"), [(1e-40, 10), (1e-300, 3), (0.5, 2000)])
def test_a_delta_of_which_the_powers_vanish_is_named(delta: float, classes: int) -> None:
    pool = Pool(2000, 0, 0, None, vectors(2000))
    with pytest.raises(InputError, match=rf"^delta is {delta:g}; to the power of {classes - 1},"):
        hes.prepare(pool, classes=classes, delta=delta)
    assert probabilities(np.array([0] * 9 + [5]), 1e-40).tolist() == [0.0] * 9 + [1.0]
