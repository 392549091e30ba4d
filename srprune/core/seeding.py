"""Random numbers as a function of (seed, purpose, position): nothing to carry, all to repeat."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, purpose: str, position: int = 0) -> np.random.Generator:
    """A generator of its own for every seed, purpose and position (such as a step).

    Args:
        seed: of the run, at least 0.
        purpose: what the numbers are for; other purposes get unrelated numbers.
        position: such as the step or the epoch.
    """
    key = zlib.crc32(purpose.encode())
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, key, position])))
