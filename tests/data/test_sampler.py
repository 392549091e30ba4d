"""The crops of a step: what an epoch is, and that a step depends on nothing before it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import InputError
from srprune.data.sampler import CropSampler

SETTINGS = {"seed": 0, "batch": 4, "lr_patch": 12, "lr_crop": 8, "augment": True}


def sampler(ids: Any, **changes: Any) -> CropSampler:
    return CropSampler(np.asarray(ids, dtype=np.int64), **{**SETTINGS, **changes})


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 10_000), min_size=1, max_size=40, unique=True),
    st.integers(1, 100),
    st.integers(0, 5),
)
def test_each_patch_comes_once_an_epoch_whatever_the_batch(
    ids: list[int], batch: int, seed: int
) -> None:
    crops = sampler(ids, batch=batch, seed=seed)
    steps = -(-3 * len(ids) // batch)  # whole steps that hold three epochs
    stream = np.concatenate([crops.at(step).patch_B for step in range(steps)])
    for epoch in range(3):
        assert sorted(stream[epoch * len(ids) : (epoch + 1) * len(ids)]) == sorted(ids)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 12))
def test_the_batch_does_not_change_the_order(n: int, batch: int, other: int) -> None:
    """The budget is one stream of patches, cut into steps."""
    streams = []
    for size in (batch, other):
        crops = sampler(range(n), batch=size)
        streams.append(np.concatenate([crops.at(step).patch_B for step in range(60 // size)]))
    shared = min(map(len, streams))
    assert np.array_equal(streams[0][:shared], streams[1][:shared])


@settings(deadline=None)
@given(st.permutations(range(20)), st.integers(1, 9))
def test_a_step_is_the_same_in_whatever_order_steps_are_asked_for(
    order: list[int], batch: int
) -> None:
    forwards = sampler(range(7), batch=batch)
    expected = [forwards.at(step) for step in range(20)]
    jumping = sampler(range(7), batch=batch)
    for step in order:
        picks = jumping.at(step)
        for name in ("patch_B", "top_B", "left_B", "turn_B"):
            assert np.array_equal(getattr(picks, name), getattr(expected[step], name))


def test_a_far_step_alone_is_that_of_the_whole_run() -> None:
    whole = sampler(range(5), batch=3)
    last = [whole.at(step) for step in range(500)][-1]
    alone = sampler(range(5), batch=3).at(499)
    assert np.array_equal(last.patch_B, alone.patch_B)
    assert np.array_equal(last.top_B, alone.top_B)


@settings(deadline=None)
@given(st.integers(1, 40), st.data())
def test_crops_lie_inside_their_patches(lr_patch: int, data: st.DataObject) -> None:
    lr_crop = data.draw(st.integers(1, lr_patch))
    crops = sampler(range(3), batch=50, lr_patch=lr_patch, lr_crop=lr_crop)
    picks = crops.at(data.draw(st.integers(0, 1000)))
    for corner in (picks.top_B, picks.left_B):
        assert corner.min() >= 0
        assert corner.max() + lr_crop <= lr_patch


def test_all_positions_and_turns_occur_about_equally_often() -> None:
    crops = sampler(range(3), batch=1000)  # 5 x 5 positions, 8 turns
    seen: Counter[tuple[int, int, int]] = Counter()
    for step in range(20):
        picks = crops.at(step)
        seen.update(zip(picks.top_B, picks.left_B, picks.turn_B, strict=True))
    assert len(seen) == 5 * 5 * 8
    assert 50 < min(seen.values()) <= max(seen.values()) < 150  # 100 each on average, +-5 sd


def test_without_augmentation_nothing_is_turned() -> None:
    plain, turned = sampler(range(3), augment=False), sampler(range(3))
    for step in range(20):
        picks, others = plain.at(step), turned.at(step)
        assert not picks.turn_B.any()
        assert np.array_equal(picks.top_B, others.top_B)
        assert np.array_equal(picks.patch_B, others.patch_B)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = {
        tuple(sampler(range(30), batch=30, seed=seed).at(epoch).patch_B)
        for seed in range(4)
        for epoch in range(4)
    }
    assert len(orders) == 16


def test_a_crop_as_large_as_the_patch_has_one_position() -> None:
    picks = sampler(range(3), lr_crop=12).at(0)
    assert not picks.top_B.any()
    assert not picks.left_B.any()


def test_a_crop_larger_than_the_patch_names_the_largest() -> None:
    with pytest.raises(InputError, match="lr_crop is 13 px") as caught:
        sampler(range(3), lr_crop=13)
    assert "at most 12" in str(caught.value)
