"""Random scores: the control that every score must beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srprune.core.seeding import generator
from srprune.data.patches import Ids, PatchPool


class RandomScores:
    """Uniform in [0, 1), the same for a patch id whatever the batch."""

    def __init__(self) -> None:
        self._drawn_N = np.empty(0)  # once for a pool: batches are many

    def __call__(self, ids: Ids, pool: PatchPool) -> npt.NDArray[np.float64]:
        """(B,) float64."""
        if len(self._drawn_N) != len(pool):
            self._drawn_N = generator(0, "scoring.random").random(len(pool))
        return self._drawn_N[ids]
