"""Random numbers as a function of (seed, purpose, position): nothing to carry, all to repeat."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


def generator(seed: int, purpose: str, position: int = 0) -> np.random.Generator:
    """A generator of its own for every seed, purpose and position (such as a step).

    Args:
        seed: of the run, at least 0.
        purpose: what the numbers are for; other purposes get unrelated numbers.
        position: such as the step or the epoch.
    """
    return np.random.Generator(np.random.Philox(_sequence(seed, purpose, position)))


def hashed(seed: int, purpose: str, *numbers: npt.ArrayLike) -> Words:
    """64 random bits for every combination of seed, purpose and numbers, all at once.

    Two that differ in one number are unrelated. The mixing is that of SplitMix64 (Steele, Lea and
    Flood 2014).

    Args:
        seed: of the run, at least 0.
        purpose: what the numbers are for.
        numbers: whole numbers, at least 0; arrays are broadcast against each other.

    Returns:
        uint64, with the shape of ``numbers``.
    """
    bits = _sequence(seed, purpose, 0).generate_state(1, np.uint64)[0]
    for number in numbers:
        bits = _mix(bits ^ _mix(np.asarray(number, dtype=np.uint64)))
    return np.asarray(bits)


def _sequence(seed: int, purpose: str, position: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), position])


def _mix(bits: npt.ArrayLike) -> Words:
    x = np.atleast_1d(np.asarray(bits, dtype=np.uint64))  # arrays wrap around in silence
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((x ^ (x >> np.uint64(31))).reshape(np.shape(bits)))
