"""Random scores: the control that every score must beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srprune.core.seeding import generator
from srprune.data.patches import Ids, PatchPool


class RandomScores:
    """Uniform in [0, 1), the same for a patch id whatever the batch."""

    def __call__(self, ids: Ids, pool: PatchPool) -> npt.NDArray[np.float64]:
        """(B,) float64."""
        return generator(0, "scoring.random").random(len(pool))[ids]
