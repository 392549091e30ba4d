"""The crops of a step: what an epoch is, and that a step depends on nothing before it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import fields
from types import FrameType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from srprune.core.errors import InputError
from srprune.data.sampler import CropSampler, Picks

SETTINGS = {"seed": 0, "batch": 4, "lr_patch": 12, "lr_crop": 8, "augment": True}
NAMES = [field.name for field in fields(Picks)]
PINNED = {
    "patch_B": [4, 7, 30],
    "place_B": [2, 1, 0],
    "top_B": [2, 0, 1],
    "left_B": [0, 2, 2],
    "turn_B": [4, 0, 7],
}
UNLIKELY = 1e-3  # that chance alone would look so uneven; seeds are fixed, so it never flickers


def sampler(ids: Any, **changes: Any) -> CropSampler:
    return CropSampler(np.asarray(ids, dtype=np.int64), **{**SETTINGS, **changes})


def equal(one: Picks, other: Picks) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in NAMES)


def joined(picks: Sequence[Picks]) -> Picks:
    return Picks(*(np.concatenate([getattr(each, name) for each in picks]) for name in NAMES))


def epochs_of(ids: Any, count: int, **changes: Any) -> list[Picks]:
    """What each of the first epochs shows: a step is an epoch here."""
    crops = sampler(ids, batch=len(ids), **changes)
    return [crops.at(epoch) for epoch in range(count)]


def counts(*numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How often each combination occurs; each number runs from 0 to its maximum."""
    table = np.zeros([int(each.max()) + 1 for each in numbers], dtype=np.int64)
    np.add.at(table, numbers, 1)
    return table


# --- epochs and steps ---


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
        assert equal(jumping.at(step), expected[step])
        assert equal(sampler(range(7), batch=batch).at(step), expected[step])  # it alone


def test_a_far_step_alone_is_that_of_the_whole_run() -> None:
    whole = sampler(range(5), batch=3)
    last = [whole.at(step) for step in range(500)][-1]
    assert equal(last, sampler(range(5), batch=3).at(499))


def test_steps_far_beyond_any_run_cost_no_more() -> None:
    ids = np.arange(8)
    picks = sampler(ids, batch=8).at(10**15)
    assert sorted(picks.patch_B) == ids.tolist()


def test_threads_may_share_a_sampler() -> None:
    """One reads ahead while another asks what a step has seen; they may meet at any line."""
    crops, met = sampler(range(50), batch=50), 0

    def meet(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal met
        if frame.f_code.co_filename != inspect.getfile(CropSampler):
            return None
        if event == "line":  # as if the other thread had its turn now
            met += 1
            crops.at(20 + met)
        return meet

    expected = epochs_of(range(50), 10)
    before = sys.gettrace()
    sys.settrace(meet)
    try:
        all_picks = [crops.at(step) for step in range(10)]
    finally:
        sys.settrace(before)
    assert met > 100
    assert all(equal(*pair) for pair in zip(all_picks, expected, strict=True))


def test_crops_are_the_same_on_every_machine() -> None:
    picks = sampler([30, 7, 4, 12, 9], seed=5, batch=3).at(7)
    assert {name: getattr(picks, name).tolist() for name in NAMES} == PINNED


# --- parts ---


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 20), st.integers(0, 50))
def test_parts_together_are_the_step(parts: int, share: int, n: int, step: int) -> None:
    crops = sampler(range(100, 100 + n), batch=parts * share)
    own = [crops.at(step, part, parts) for part in range(parts)]
    assert [len(picks.patch_B) for picks in own] == [share] * parts
    assert equal(joined(own), crops.at(step))


# --- core-sets ---

IDS = st.lists(st.integers(0, 40_000), min_size=1, max_size=40, unique=True)


@settings(deadline=None)
@given(IDS, IDS, IDS, st.integers(0, 3))
def test_core_sets_share_the_order_and_the_crops_of_the_patches_they_share(
    shared: list[int], ours: list[int], theirs: list[int], seed: int
) -> None:
    one, other = (sorted({*shared, *more}) for more in (ours, theirs))
    both = set(one) & set(other)
    for mine, yours in zip(
        epochs_of(one, 3, seed=seed), epochs_of(other, 3, seed=seed), strict=True
    ):
        seen = [
            [
                crop
                for crop in zip(p.patch_B, p.top_B, p.left_B, p.turn_B, strict=True)
                if crop[0] in both
            ]
            for p in (mine, yours)
        ]
        assert len(seen[0]) == len(both)
        assert seen[0] == seen[1]


@settings(deadline=None)
@given(IDS, st.randoms(use_true_random=False))
def test_the_order_of_a_core_set_s_ids_changes_their_places_alone(ids: list[int], rng: Any) -> None:
    shuffled = rng.sample(ids, len(ids))
    for one, other in zip(epochs_of(ids, 2), epochs_of(shuffled, 2), strict=True):
        for name in set(NAMES) - {"place_B"}:
            assert np.array_equal(getattr(one, name), getattr(other, name))
        for picks, order in ((one, ids), (other, shuffled)):
            assert np.array_equal(np.array(order)[picks.place_B], picks.patch_B)


# --- crops ---


@settings(deadline=None)
@given(st.integers(1, 40), st.data())
def test_crops_lie_inside_their_patches(lr_patch: int, data: st.DataObject) -> None:
    lr_crop = data.draw(st.integers(1, lr_patch))
    crops = sampler(range(3), batch=50, lr_patch=lr_patch, lr_crop=lr_crop)
    picks = crops.at(data.draw(st.integers(0, 1000)))
    for corner in (picks.top_B, picks.left_B):
        assert corner.min() >= 0
        assert corner.max() + lr_crop <= lr_patch


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_positions_and_turns_are_uniform_and_know_nothing_of_each_other(seed: int) -> None:
    """Over many patches in one epoch and over many epochs of one patch."""
    many_patches = joined(epochs_of(range(40_000), 1, seed=seed))
    one_patch = sampler([3], seed=seed, batch=200)
    many_epochs = joined([one_patch.at(step) for step in range(50)])
    for picks in (many_patches, many_epochs):
        seen = counts(picks.top_B, picks.left_B, picks.turn_B)
        assert seen.shape == (5, 5, 8)
        for axes in ((1, 2), (0, 2), (0, 1), ()):  # top, left, turn, all combinations
            assert chisquare(seen.sum(axis=axes).ravel()).pvalue > UNLIKELY
        for axis in range(3):
            assert chi2_contingency(seen.sum(axis=axis)).pvalue > UNLIKELY


def test_a_crop_says_nothing_of_the_next_one() -> None:
    first, second = epochs_of(range(40_000), 2)
    by_patch = [picks.top_B[np.argsort(picks.patch_B)] for picks in (first, second)]
    assert chi2_contingency(counts(*by_patch)).pvalue > UNLIKELY  # of the same patch
    neighbours = counts(by_patch[0][:-1], by_patch[0][1:])
    assert chi2_contingency(neighbours).pvalue > UNLIKELY  # of the patch beside it
    crops = first.top_B * 5 + first.left_B
    order = counts(np.arange(40_000) * 10 // 40_000, crops)
    assert chi2_contingency(order).pvalue > UNLIKELY  # those that come early are no others


@pytest.mark.parametrize(("lr_patch", "lr_crop"), [(9, 8), (20, 8), (60, 41), (240, 192)])
def test_every_position_up_to_the_corners_is_reached(lr_patch: int, lr_crop: int) -> None:
    crops = sampler(range(1000), lr_patch=lr_patch, lr_crop=lr_crop, batch=60_000)
    picks = crops.at(0)
    seen = counts(picks.top_B, picks.left_B)
    last = lr_patch - lr_crop
    assert seen.shape == (last + 1, last + 1)
    assert min(seen[0, 0], seen[0, last], seen[last, 0], seen[last, last]) > 0
    assert (seen > 0).all()
    assert chisquare(seen.ravel()).pvalue > UNLIKELY


def test_without_augmentation_nothing_is_turned() -> None:
    plain, turned = sampler(range(3), augment=False), sampler(range(3))
    for step in range(20):
        picks, others = plain.at(step), turned.at(step)
        assert not picks.turn_B.any()
        assert np.array_equal(picks.top_B, others.top_B)
        assert np.array_equal(picks.patch_B, others.patch_B)


def test_epochs_and_seeds_have_orders_and_crops_of_their_own() -> None:
    all_picks = [
        picks for seed in range(4) for picks in epochs_of(range(30), 4, seed=seed, lr_crop=1)
    ]
    for name in ("patch_B", "top_B", "left_B", "turn_B"):
        assert len({tuple(getattr(picks, name)) for picks in all_picks}) == 16


def test_any_patch_may_come_at_any_time_and_after_any_other() -> None:
    epochs = 6_000
    crops = sampler([17, 4, 99, 5, 23], batch=500)
    picks = joined([crops.at(step) for step in range(epochs // 100)])
    order_ET = picks.place_B.reshape(epochs, 5)
    times = counts(order_ET.ravel(), np.tile(np.arange(5), epochs))
    assert times.sum() == 5 * epochs
    # each row and column adds up to the epochs, so that chi-square has 16 degrees of freedom
    assert chi2_contingency(times).pvalue > UNLIKELY
    words = counts(*order_ET.T)
    permutations = words[words > 0]
    assert len(permutations) == 120
    assert chisquare(permutations).pvalue > UNLIKELY
    for early, late in ((0, 1), (0, 4)):  # of one epoch and of the next
        pairs = counts(order_ET[:-1, late], order_ET[1:, early])
        assert chi2_contingency(pairs).pvalue > UNLIKELY


def test_a_crop_as_large_as_the_patch_has_one_position() -> None:
    picks = sampler(range(3), lr_crop=12).at(0)
    assert not picks.top_B.any()
    assert not picks.left_B.any()


def test_a_crop_larger_than_the_patch_names_the_largest() -> None:
    with pytest.raises(InputError, match="lr_crop is 13 px") as caught:
        sampler(range(3), lr_crop=13)
    assert "at most 12" in str(caught.value)


# --- weights ---


def weighted(weights: Sequence[float], **changes: Any) -> CropSampler:
    ids = np.arange(len(weights)) * 3 + 1
    return sampler(ids, weights=np.array(weights, dtype=np.float64), **changes)


def test_patches_are_drawn_as_often_as_their_weights_say() -> None:
    weights = np.array([0.1, 4.0, 1.0, 0.4, 2.5])
    patch_B = weighted(weights, batch=20_000).at(0).patch_B
    found = np.bincount((patch_B - 1) // 3, minlength=5)
    assert chisquare(found, 20_000 * weights / weights.sum()).pvalue > UNLIKELY
    places = weighted(weights, batch=50).at(3)
    assert np.array_equal(places.patch_B, places.place_B * 3 + 1)


def test_each_draw_by_weight_shows_another_crop() -> None:
    """Of one patch alone every visit is a repetition, which an epoch knows nothing of."""
    picks = weighted([2.0], batch=2000, lr_patch=20).at(0)
    seen = counts(picks.top_B, picks.left_B, picks.turn_B)
    assert seen.shape == (13, 13, 8)
    assert chisquare(seen.ravel()).pvalue > UNLIKELY


@given(
    st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20),
    st.integers(0, 10**6),
    st.sampled_from([1, 2, 3, 6]),
)
def test_parts_of_a_weighted_step_are_the_step(weights: list[float], step: int, parts: int) -> None:
    crops = weighted(weights, batch=6)
    whole = crops.at(step)
    assert equal(joined([crops.at(step, part, parts) for part in range(parts)]), whole)
    assert equal(weighted(np.array(weights) * 7.5, batch=6).at(step), whole)  # shares count


def test_weights_far_apart_never_draw_a_place_that_is_not_there() -> None:
    ends = weighted([1.0] * 3 + [1e-300], batch=10_000).at(1).place_B
    assert ends.max() == 2


# --- patches that change on the way ---


def handed_over(one: CropSampler, step: int, ids: Any) -> CropSampler:
    """The sampler that goes on with other patches from a step on."""
    ids = np.asarray(ids, dtype=np.int64)
    return one.of(ids, 10 * ids, one.joining(step, ids))


@settings(deadline=None)
@given(IDS, st.integers(1, 9), st.integers(0, 30))
def test_the_same_patches_go_on_as_if_nothing_had_changed(
    ids: list[int], batch: int, step: int
) -> None:
    whole = sampler(ids, batch=batch)
    rest = handed_over(whole, step, ids)
    for later in range(step, step + 20):
        expected, found = whole.at(later), rest.at(later)
        assert np.array_equal(found.place_B, 10 * found.patch_B)  # where their pixels stand
        for name in set(NAMES) - {"place_B"}:
            assert np.array_equal(getattr(found, name), getattr(expected, name))


@settings(deadline=None)
@given(IDS, IDS, IDS, st.integers(1, 9), st.integers(0, 30))
def test_a_patch_that_stays_comes_once_an_epoch_whatever_else_changes(
    stay: list[int], leave: list[int], enter: list[int], batch: int, step: int
) -> None:
    before = sampler(sorted({*stay, *leave}), batch=batch)
    after = handed_over(before, step, sorted({*stay, *enter}))
    drawn = step * batch
    epoch, rank = divmod(drawn, len(before.patch_ids))
    old = np.concatenate([before.at(each).patch_B for each in range(step + 1)])[
        drawn - rank : drawn
    ]
    left = (epoch + 1) * len(after.patch_ids) - drawn - after.start  # of the epoch
    new = np.concatenate([after.at(step + each).patch_B for each in range(left // batch + 1)])[
        :left
    ]
    assert len(set(new.tolist())) == left
    for patch in set(stay):
        assert np.count_nonzero(old == patch) + np.count_nonzero(new == patch) == 1


@settings(deadline=None)
@given(IDS, IDS, st.integers(0, 30))
def test_epochs_after_a_change_are_those_of_the_new_patches(
    ids: list[int], others: list[int], step: int
) -> None:
    """The same order and the same crops as in a run on them alone."""
    after = handed_over(sampler(ids, batch=3), step, others)
    alone = sampler(others, batch=len(others))
    drawn = after.start + 3 * step
    epoch = -(-drawn // len(others))
    skip = epoch * len(others) - drawn
    steps = range(step, step + (skip + len(others)) // 3 + 1)
    found = joined([after.at(each) for each in steps])
    for name in set(NAMES) - {"place_B"}:
        stream = getattr(found, name)[skip : skip + len(others)]
        assert np.array_equal(stream, getattr(alone.at(epoch), name))


def test_weights_may_begin_to_hold_at_a_later_step() -> None:
    weights = [1.0, 3.0, 9.0, 0.5]
    late = weighted(weights, batch=2, weighted_from=5)
    plain, always = sampler(np.arange(4) * 3 + 1, batch=2), weighted(weights, batch=2)
    for step in range(10):
        expected = plain if step < 5 else always
        assert np.array_equal(late.at(step).patch_B, expected.at(step).patch_B)
        assert np.array_equal(late.at(step).top_B, expected.at(step).top_B)
