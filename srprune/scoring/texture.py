"""Scores without a network: how much is in the grey of an HR patch, wherever it is.

All work on the 8-bit grey of the patch alone (:class:`srprune.scoring.gradient.GreyScore`).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import fft

from srprune.data.patches import Pixels
from srprune.scoring.gradient import GreyScore

# Cycles a px: the highest frequency that LR holds at x2. Shrinking by 2 takes away all above.
RADIUS = 0.25

_VALUES = np.arange(256)


class Variance(GreyScore):
    """Variance of the grey levels, of the whole population: contrast, whatever its frequency."""

    def score(self, grey: Pixels) -> float:
        """In grey levels squared; see :meth:`GreyScore.score`."""
        histogram = _histogram(grey)
        total, squares = int(histogram @ _VALUES), int(histogram @ _VALUES**2)
        return (squares * grey.size - total**2) / grey.size**2  # exact until the division


class Entropy(GreyScore):
    """Shannon's entropy of the histogram of the 8-bit grey: ``-sum p log2 p``, 0 to 8 bits.

    Shannon 1948, "A Mathematical Theory of Communication". Where a grey level stands in the patch
    does not count.
    """

    def score(self, grey: Pixels) -> float:
        """In bits; see :meth:`GreyScore.score`."""
        histogram = _histogram(grey)
        shares = histogram[histogram > 0] / grey.size
        return float(-(shares * np.log2(shares)).sum()) + 0.0  # no negative zero


class HighFrequency(GreyScore):
    """Energy of the spectrum beyond what LR can hold at x2, a pixel.

    The spectrum is the orthonormal two-dimensional DCT-II, which mirrors the patch at its edge:
    a Fourier transform would take the jump from one edge to the other for detail. Coefficient
    (u, v) of a patch of n px stands for ``sqrt(u^2 + v^2) / 2n`` cycles a px; the score is the sum
    of squares of those above a quarter, over n^2. By Parseval that is the mean square of what an
    ideal round low-pass filter would remove.
    """

    def score(self, grey: Pixels) -> float:
        """In grey levels squared; see :meth:`GreyScore.score`."""
        # Without the mean, which is no detail, float32 keeps more digits of the rest.
        centred = (grey - grey.mean()).astype(np.float32)
        spectrum = fft.dctn(centred, norm="ortho", overwrite_x=True)
        spectrum *= _above(len(grey))
        return float(np.vdot(spectrum, spectrum)) / grey.size


def _histogram(grey: Pixels) -> npt.NDArray[np.int64]:
    """How often each of the 256 levels occurs."""
    return np.bincount(grey.ravel(), minlength=256)


@cache
def _above(size: int) -> npt.NDArray[np.float32]:
    """(size, size) of 1 where the frequency is above the radius, else 0; read-only."""
    along = np.arange(size) / (2 * size)
    above = (along[:, None] ** 2 + along**2 > RADIUS**2).astype(np.float32)
    above.flags.writeable = False  # shared by all callers through the cache
    return above
