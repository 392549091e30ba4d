"""Random numbers are a function of seed, purpose and position, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srprune.core.seeding import generator

PINNED = [
    1676854362661301350,
    7961204073741819435,
    592289551865219555,
    1545423062456031284,
]
KEYS = st.tuples(st.integers(0, 2**70), st.text(max_size=8), st.integers(0, 2**40))


def draw(seed: int, purpose: str, position: int = 0) -> list[int]:
    return generator(seed, purpose, position).integers(2**63, size=4).tolist()


@given(KEYS, KEYS)
def test_equal_keys_give_equal_numbers_and_others_do_not(
    one: tuple[int, str, int], two: tuple[int, str, int]
) -> None:
    assert draw(*one) == draw(*one)
    assert (draw(*one) == draw(*two)) == (one == two)


@given(KEYS)
def test_each_part_of_the_key_counts(key: tuple[int, str, int]) -> None:
    seed, purpose, position = key
    near = [(seed + 1, purpose, position), (seed, purpose + "x", position)]
    near.append((seed, purpose, position + 1))
    assert all(draw(*each) != draw(*key) for each in near)


def test_a_generator_does_not_touch_the_global_one() -> None:
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    generator(0, "x").random(100)
    assert np.random.random() == expected


def test_numbers_are_the_same_on_every_machine() -> None:
    assert draw(0, "selection.random") == PINNED


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        generator(-1, "x")
