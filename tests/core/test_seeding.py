"""Random numbers are a function of seed, purpose and position, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from srprune.core.seeding import generator, hashed

PINNED = [
    1676854362661301350,
    7961204073741819435,
    592289551865219555,
    1545423062456031284,
]
PINNED_HASHES = [
    13209015637644544613,
    6020351553815347524,
    14907275214518089402,
]
WORD = 2**64
UNLIKELY = 1e-3  # that chance alone would look so uneven; keys are fixed, so it never flickers
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


# --- hashed ---


def splitmix(state: int) -> int:
    """The output of SplitMix64 after this state, in whole numbers of any size."""
    z = (state + 0x9E3779B97F4A7C15) % WORD
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


def bits_of(words: np.ndarray) -> np.ndarray:
    """(N, 64) bits of (N,) words, lowest first."""
    return (words[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).astype(np.int64)


def test_our_splitmix_is_the_published_one() -> None:
    """The first outputs from the state 0, as in its authors' code."""
    states = [k * 0x9E3779B97F4A7C15 % WORD for k in range(3)]
    assert [splitmix(state) for state in states] == [
        0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F,
    ]  # fmt: skip


@given(KEYS, st.lists(st.integers(0, WORD - 1), max_size=4))
def test_each_number_is_mixed_in_by_splitmix(key: tuple[int, str, int], numbers: list[int]) -> None:
    seed, purpose, _ = key
    expected = int(hashed(seed, purpose))
    for number in numbers:
        expected = splitmix(expected ^ splitmix(number))
    bits = hashed(seed, purpose, *numbers)
    assert bits.shape == ()
    assert bits.dtype == np.uint64
    assert int(bits) == expected


@given(st.integers(0, 9), st.lists(st.integers(0, 2**63 - 1), min_size=1), st.integers(0, 2**40))
def test_numbers_are_broadcast(seed: int, many: list[int], one: int) -> None:
    column, row = np.array(many)[:, None], np.array([one, one + 1, 0])
    words = hashed(seed, "x", column, 5, row)
    assert words.shape == (len(many), 3)
    assert words.tolist() == [[int(hashed(seed, "x", a, 5, b)) for b in row.tolist()] for a in many]


def test_hashes_are_the_same_on_every_machine() -> None:
    assert hashed(7, "data.order", [0, 1, 2**63], 3).tolist() == PINNED_HASHES


def test_other_keys_give_other_words() -> None:
    """Also those with the same numbers at other places."""
    n = np.arange(400)
    grid = hashed(0, "x", n[:, None], n)
    near = [hashed(1, "x", n[:, None], n), hashed(0, "y", n[:, None], n)]
    words = np.concatenate([each.ravel() for each in (grid, *near, hashed(0, "x", n))])
    assert len(np.unique(words)) == 3 * 400**2 + 400


@given(st.tuples(st.integers(0, 2**70), st.text(max_size=8)), st.integers(0, 2**40))
def test_seed_purpose_and_number_count(key: tuple[int, str], number: int) -> None:
    seed, purpose = key
    words = [
        hashed(seed, purpose, number),
        hashed(seed + 1, purpose, number),
        hashed(seed, purpose + "x", number),
        hashed(seed, purpose, number + 1),
        hashed(seed, purpose, number, number),
    ]
    assert len({int(word) for word in words}) == 5


@pytest.mark.parametrize("place", [0, 1])
def test_a_bit_of_a_number_turns_each_bit_of_the_word_half_of_the_time(place: int) -> None:
    n = 4096
    numbers = [np.arange(n, dtype=np.uint64), np.full(n, 12, dtype=np.uint64)][:: 1 - 2 * place]
    before = bits_of(hashed(0, "x", *numbers))
    for bit in range(64):
        other = list(numbers)
        other[place] = numbers[place] ^ np.uint64(1 << bit)
        turned = (bits_of(hashed(0, "x", *other)) ^ before).mean(axis=0)
        assert np.abs(turned - 0.5).max() < 5 * 0.5 / n**0.5  # five standard deviations


@pytest.mark.parametrize(
    "other", [{"purpose": "y"}, {"seed": 1}, {"seed": 2**64}, {"extra": (0,)}], ids=str
)
def test_words_for_other_ends_are_unrelated(other: dict[str, object]) -> None:
    n = 20_000
    key = {"seed": 0, "purpose": "x", "extra": (), **other}
    ours = bits_of(hashed(0, "x", np.arange(n)))
    theirs = bits_of(hashed(key["seed"], key["purpose"], *key["extra"], np.arange(n)))
    equal = (ours == theirs).mean(axis=0)
    assert np.abs(equal - 0.5).max() < 5 * 0.5 / n**0.5


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("step", [1, 12, 2**32])
def test_words_of_numbers_in_a_row_are_uniform(place: int, step: int) -> None:
    many = np.arange(50_000) * step
    words = hashed(3, "x", *((many, 5) if place == 0 else (5, many)))
    for shift in range(0, 64, 8):
        byte = (words >> np.uint64(shift) & np.uint64(0xFF)).astype(np.int64)
        assert chisquare(np.bincount(byte, minlength=256)).pvalue > UNLIKELY
    # a word says nothing of the next one
    high = (words >> np.uint64(60)).astype(np.int64)
    pairs = np.bincount(high[:-1] * 16 + high[1:], minlength=256).reshape(16, 16)
    assert chi2_contingency(pairs).pvalue > UNLIKELY


def test_a_negative_seed_or_number_has_no_hash() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        hashed(-1, "x", 0)
    with pytest.raises((OverflowError, DeprecationWarning)):  # NumPy 1 warns
        hashed(0, "x", -1)
