"""Scores without a network: how strongly the grey of an HR patch changes.

Both work on the 8-bit grey of the patch alone, its edge mirrored without repeating the rim pixel
("reflect-101"), as OpenCV does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from srprune.data.patches import Ids, PatchPool
from srprune.images.color import rgb_to_grey8


class Sobel:
    """Texture complexity of Ding et al. 2023 (IEEE SPL 30): ``mean(|gx|/2 + |gy|/2)``.

    3x3 Sobel of the grey. The paper's code takes the grey of an image whose channels were
    swapped; the grey here is the ordinary one (BT.601 weights 0.299, 0.587, 0.114).
    """

    def __call__(self, ids: Ids, pool: PatchPool) -> npt.NDArray[np.float64]:
        """(B,) float64, in grey levels."""
        return np.array([self._score(patch) for patch in greys(ids, pool)])

    @staticmethod
    def _score(grey: npt.NDArray[np.float64]) -> float:
        gx = ndimage.sobel(grey, axis=1, mode="mirror")
        gy = ndimage.sobel(grey, axis=0, mode="mirror")
        return float((np.abs(gx) + np.abs(gy)).mean() / 2)


class Laplacian:
    """Mean absolute Laplacian (4 neighbours): nearly the ranking of a network's loss, for free."""

    def __call__(self, ids: Ids, pool: PatchPool) -> npt.NDArray[np.float64]:
        """(B,) float64, in grey levels."""
        return np.array(
            [np.abs(ndimage.laplace(grey, mode="mirror")).mean() for grey in greys(ids, pool)]
        )


def greys(ids: Ids, pool: PatchPool) -> list[npt.NDArray[np.float64]]:
    """The 8-bit grey of each HR patch, as float64 (size, size)."""
    return [rgb_to_grey8(patch).astype(np.float64) for patch in pool.hr_patches(ids)]
