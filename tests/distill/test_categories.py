"""Categories by k-means, and the features that need no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import InputError
from srprune.distill.categories import categories_of, check_enough, features_of_all
from srprune.distill.config import CategoriseConfig
from srprune.distill.descriptor_features import BANDS, DescriptorFeatures, band_energies
from srprune.stages.distill import categorise as stage
from tests.conftest import picture
from tests.distill.test_round_trip import Still
from tests.distill.untrained import make_workspace

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def with_scikit_learn() -> None:
    pytest.importorskip("sklearn")


def test_categories_are_the_blobs_and_the_others_have_none() -> None:
    of = np.repeat(np.arange(3), 10)
    features_ND = (100 * of[:, None] + RNG.normal(size=(30, 2))).astype(np.float32)
    ids = np.flatnonzero(np.arange(30) % 5)
    labels_N = categories_of(features_ND, ids, 3, 42, divided=True)
    assert labels_N.dtype == np.int32
    assert (np.flatnonzero(labels_N < 0) == np.arange(0, 30, 5)).all()
    assert len({(a, b) for a, b in zip(of[ids], labels_N[ids], strict=True)}) == 3
    again = categories_of(features_ND, ids, 3, 42, divided=True)
    assert np.array_equal(labels_N, again)


def test_published_features_are_not_divided_by_their_spread() -> None:
    """Three features of small spread part the patches one way, one of large spread another."""
    large, small = np.repeat([0.0, 100.0], 20), np.tile([0.0, 1.0], 20)
    features_ND = np.stack([large, *[small] * 3], axis=1).astype(np.float32)
    ids = np.arange(40)
    raw = categories_of(features_ND, ids, 2, 0, divided=False)
    divided = categories_of(features_ND, ids, 2, 0, divided=True)
    assert len(set(zip(raw, large, strict=True))) == 2
    assert len(set(zip(divided, small, strict=True))) == 2


@pytest.mark.parametrize(
    ("different", "words"), [(1, "1 category, so 3"), (2, "2 categories, so 2")]
)
def test_an_empty_category_is_refused(different: int, words: str) -> None:
    features_ND = np.repeat(np.eye(different, dtype=np.float32), 8, axis=0)
    with pytest.raises(InputError, match=f"fall into {words} of 4 would be empty"):
        categories_of(features_ND, np.arange(len(features_ND)), 4, 0, divided=False)


def test_nearly_equal_vectors_are_refused_without_a_warning() -> None:
    rows = np.repeat([0, 1e-20, 1, 1 + 1.2e-7, 1e10], 6)
    with pytest.raises(InputError, match="fall into 2 categories, so 3 of 5 would be empty"):
        categories_of(rows[:, None].astype(np.float32), np.arange(30), 5, 0, divided=False)


def test_fewer_patches_than_categories_are_refused() -> None:
    check_enough(7, 7, "mine")
    with pytest.raises(InputError, match="mine has 6 patches, fewer than 7 categories"):
        check_enough(6, 7, "mine")


class Numbers:
    """Each patch's number, until a patch comes that may not."""

    names, divided, batch = ("number",), True, 4

    def __init__(self, until: int) -> None:
        self.parents: dict[str, str] = {}
        self.until, self.seen = until, 0

    def __call__(self, ids: np.ndarray, pool: object) -> np.ndarray:
        if ids[-1] >= self.until:
            raise KeyboardInterrupt
        self.seen += len(ids)
        return ids[:, None].astype(np.float32)


@pytest.mark.parametrize(("plan", "left"), [("mine", 10 - 8), ("of another", 10)])
def test_a_killed_call_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: str, left: int
) -> None:
    monkeypatch.setattr("srprune.distill.categories.SAVE_EVERY", -1.0)
    partial, pool = tmp_path / "numbers.part.npz", [None] * 10
    given: dict[str, Any] = {"label": "features", "partial": partial}
    with pytest.raises(KeyboardInterrupt):
        features_of_all(Numbers(9), pool, **given, plan="mine")  # type: ignore[arg-type]
    again = Numbers(99)
    found = features_of_all(again, pool, **given, plan=plan)  # type: ignore[arg-type]
    assert found[:, 0].tolist() == list(range(10)) and again.seen == left
    partial.write_bytes(b"PK no archive")
    damaged = Numbers(99)
    features_of_all(damaged, pool, **given, plan="mine")  # type: ignore[arg-type]
    assert damaged.seen == 10


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_bands_hold_the_variance_of_blocks(high: int, wide: int, seed: int) -> None:
    """Parseval: the sum of squares of all coefficients but the first is 64 times the variance."""
    grey = np.random.default_rng(seed).integers(0, 256, (8 * high, 8 * wide), np.uint8)
    energies = band_energies(grey)
    sizes = [min(band, BANDS - band) + 1 for band in range(1, BANDS + 1)]
    blocks = grey.reshape(high, 8, wide, 8).swapaxes(1, 2).reshape(-1, 64).astype(float)
    assert energies @ sizes == pytest.approx(64 * blocks.var(axis=1))


def test_a_wave_is_in_its_band() -> None:
    x = np.arange(8)
    wave = 100 * np.cos(np.pi * (2 * x + 1) * 3 / 16)  # u = 3 of the DCT-II
    grey = np.tile(np.round(128 + wave), (8, 1)).astype(np.uint8)
    assert band_energies(grey)[0].argmax() == 3 - 1


def test_margins_below_a_block_do_not_count() -> None:
    grey = RNG.integers(0, 256, (12, 20), np.uint8)
    other = grey.copy()
    other[8:], other[:, 16:] = 0, 255
    assert np.array_equal(band_energies(grey), band_energies(other))


def test_descriptors_tell_fine_from_coarse_and_flat_from_both() -> None:
    from srprune.core.patches import ImageRecord, PatchIndex
    from srprune.data.patches import PatchPool

    rgb = np.full((24, 72, 3), 90, np.uint8)
    rgb[:, 24:48] = 255 * (np.add.outer(np.arange(24), np.arange(24)) % 2)[..., None]
    rgb[:, 48:] = picture(24, 24)
    lefts = np.array([0, 24, 48])
    index = PatchIndex(
        24, 24, (ImageRecord("a", 24, 72, ""),), np.zeros(3, int), np.zeros(3, int), lefts
    )
    features = DescriptorFeatures()
    found = features(np.arange(3), PatchPool(index, Still(rgb), None, 2))  # type: ignore[arg-type]
    assert found.dtype == np.float32 and found.shape == (3, len(features.names))
    assert not found[0].any()  # flat
    column = dict(zip(features.names, found.T, strict=True))
    highest = column[f"mean_band{BANDS}"]
    assert highest[1] > highest[2] > highest[0]  # a chessboard is all in the highest band
    assert np.array_equal(
        found[1:2],
        features(np.array([1]), PatchPool(index, Still(rgb), None, 2)),  # type: ignore[arg-type]
    )


def test_a_network_without_room_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("diffusers")  # of the workspace
    workspace = make_workspace(tmp_path)

    def full(weights: str) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(stage, "find_weights", full)
    ask = CategoriseConfig(features="clip", weights="clip.safetensors", categories=2)
    with pytest.raises(InputError, match="that tells the features has no room: choose another"):
        stage.categorise(workspace, ask, coreset="full", device="cpu")
