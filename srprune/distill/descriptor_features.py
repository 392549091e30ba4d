"""Features without a network: statistics of the gradient, and where the energy of the DCT lies.

Ours: for those who have no weights of CLIP. All are of the 8-bit grey of the HR patch.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
from scipy import fft

from srprune.core.features import Features
from srprune.core.parallel import in_threads
from srprune.data.patches import Ids, PatchPool, Pixels
from srprune.images.color import rgb_to_grey8
from srprune.images.descriptors import gradient

BLOCK = 8  # px, as JPEG has it
BANDS = 2 * (BLOCK - 1)  # u + v of a coefficient from 1 on; 0 is the mean, and no texture
_SUMS = np.add.outer(np.arange(BLOCK), np.arange(BLOCK)).reshape(-1, 1)  # u + v
_OF_BAND = np.equal(_SUMS, np.arange(1, BANDS + 1)).astype(np.float64)
_MEAN_OF_BAND = _OF_BAND / _OF_BAND.sum(axis=0)  # (coefficients, bands)
_FIRST = np.zeros(1, dtype=np.int64)


class DescriptorFeatures:
    """log(1 + mean and spread of the gradient), and of the log energy of each band of the DCT.

    Attributes:
        names: of the features.
        parents: none beside the patches.
        divided: they are of different units, so k-means divides them by their spread.
        batch: patches at a time.
    """

    names = (
        *gradient.names,
        *(f"mean_band{band}" for band in range(1, BANDS + 1)),
        *(f"std_band{band}" for band in range(1, BANDS + 1)),
    )
    divided = True
    batch = 64

    def __init__(self) -> None:
        """Nothing to open."""
        self.parents: dict[str, str] = {}

    def __call__(self, ids: Ids, pool: PatchPool) -> Features:
        """(B, 32) float32."""
        size = pool.index.size
        found = np.empty((len(ids), len(self.names)), dtype=np.float32)

        def one(row: int) -> None:
            found[row] = _describe(pool.hr_crop(int(ids[row]), 0, 0, size))

        for _, future in in_threads(one, range(len(ids)), os.cpu_count() or 1):
            future.result()
        return found


descriptor_features = DescriptorFeatures


def band_energies(grey: Pixels) -> npt.NDArray[np.float64]:
    """(blocks, 14) mean square of the coefficients of each band, of whole 8x8 blocks.

    The DCT is orthonormal, so by Parseval the energies, times the coefficients of their bands,
    add up to 64 times the variance of the block. A margin of less than a block is left out.

    Args:
        grey: (H, W) uint8, H and W at least 8.
    """
    high, wide = (side // BLOCK for side in grey.shape)
    whole = grey[: high * BLOCK, : wide * BLOCK].astype(np.float64)
    blocks = whole.reshape(high, BLOCK, wide, BLOCK).transpose(0, 2, 1, 3)
    spectrum = fft.dctn(blocks, axes=(2, 3), norm="ortho").reshape(high * wide, BLOCK**2)
    energies: npt.NDArray[np.float64] = spectrum**2 @ _MEAN_OF_BAND
    return energies


def _describe(rgb: Pixels) -> Features:
    slopes = np.log1p(gradient.compute(rgb, _FIRST, _FIRST, len(rgb))[0])
    logs = np.log1p(band_energies(rgb_to_grey8(rgb)))
    found: Features = np.concatenate([slopes, logs.mean(axis=0), logs.std(axis=0)]).astype(
        np.float32
    )
    return found
