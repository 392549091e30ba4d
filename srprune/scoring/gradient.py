"""Scores without a network: how strongly the grey of an HR patch changes.

All work on the 8-bit grey of the patch alone, its edge mirrored without repeating the rim pixel
("reflect-101"), as OpenCV does. Sums are exact integers, so a score has the same bits everywhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from srprune.data.patches import Ids, PatchPool, Pixels
from srprune.images.color import rgb_to_grey8
from srprune.images.store import PixelStore

_ROWS = 64  # filtered at a time: what is in between stays in a core's cache

Levels = npt.NDArray[np.int16]
_Magnitude = Callable[[Levels], Levels]


class GreyScore(ABC):
    """A score of the 8-bit grey of each patch.

    Windows overlap, so the grey of an image is computed once, and kept until another image comes.

    Attributes:
        grey: ``bt601`` weighs R, G and B by 0.299, 0.587 and 0.114; ``swapped`` takes R for B
            and B for R, as code does that loads BGR and converts it as RGB.
    """

    grey: ClassVar[Literal["bt601", "swapped"]] = "bt601"

    def __init__(self) -> None:
        """A scorer that has seen no image."""
        self._last: tuple[PixelStore, int, Pixels] | None = None

    def __call__(self, ids: Ids, pool: PatchPool) -> npt.NDArray[np.float64]:
        """(B,) float64."""
        return np.array([self.score(patch) for patch in self.greys(ids, pool)], dtype=np.float64)

    @abstractmethod
    def score(self, grey: Pixels) -> float:
        """Score of one patch, given its (size, size) uint8 grey."""

    def greys(self, ids: Ids, pool: PatchPool) -> Iterator[Pixels]:
        """(size, size) uint8 grey of each HR patch: a view."""
        index, size = pool.index, pool.index.size
        for i in ids:
            image = self._image(pool.hr_store, int(index.image_N[i]))
            top, left = int(index.top_N[i]), int(index.left_N[i])
            yield image[top : top + size, left : left + size]

    def _image(self, store: PixelStore, number: int) -> Pixels:
        """(H, W) uint8 grey of a whole image."""
        if self._last is None or self._last[0] is not store or self._last[1] != number:
            rgb = store.image(number)
            if self.grey == "swapped":
                rgb = rgb[..., ::-1]
            grey = np.empty(rgb.shape[:2], np.uint8)
            for top in range(0, len(rgb), _ROWS):
                grey[top : top + _ROWS] = rgb_to_grey8(rgb[top : top + _ROWS])
            self._last = store, number, grey
        return self._last[2]


class Sobel(GreyScore):
    """Texture complexity of Ding et al. 2023 (IEEE SPL 30): ``mean(|gx|/2 + |gy|/2)``.

    3x3 Sobel of the grey, in grey levels. The paper's code takes the grey of an image whose
    channels were swapped (:class:`SwappedSobel`); the grey here is the ordinary one.
    """

    def score(self, grey: Pixels) -> float:
        """In grey levels; see :meth:`GreyScore.score`."""
        return _mean_over_rows(grey, _sobel) / 2


class SwappedSobel(Sobel):
    """:class:`Sobel` on the grey of Ding et al.'s code, which loads BGR and converts it as RGB."""

    grey = "swapped"


class Laplacian(GreyScore):
    """Mean absolute Laplacian (4 neighbours): nearly the ranking of a network's loss, for free."""

    def score(self, grey: Pixels) -> float:
        """In grey levels; see :meth:`GreyScore.score`."""
        return _mean_over_rows(grey, _laplace)


def _mean_over_rows(grey: Pixels, magnitude: _Magnitude) -> float:
    """Mean of a 3x3 filter's magnitude over a patch, edge mirrored, some rows at a time."""
    height, width = grey.shape
    framed = np.empty((height + 2, width + 2), np.int16)
    framed[1:-1, 1:-1] = grey
    framed[0, 1:-1], framed[-1, 1:-1] = grey[1], grey[-2]
    framed[:, 0], framed[:, -1] = framed[:, 2], framed[:, -3]
    total = sum(
        int(magnitude(framed[top : top + _ROWS + 2]).sum(dtype=np.int64))
        for top in range(0, height, _ROWS)
    )
    return total / grey.size


def _sobel(framed: Levels) -> Levels:
    """``|gx| + |gy|`` of (H + 2, W + 2) grey levels: (H, W), at most 2040, so int16 holds it."""
    column = framed[:-2] + framed[2:]  # 1 2 1 downwards
    column += framed[1:-1]
    column += framed[1:-1]
    row = framed[:, :-2] + framed[:, 2:]  # 1 2 1 to the right
    row += framed[:, 1:-1]
    row += framed[:, 1:-1]
    magnitude = np.abs(column[:, 2:] - column[:, :-2])
    magnitude += np.abs(row[2:] - row[:-2])
    return magnitude


def _laplace(framed: Levels) -> Levels:
    """``|up + down + left + right - 4 centre|`` of (H + 2, W + 2) grey levels: (H, W)."""
    result = framed[1:-1, 1:-1] * np.int16(-4)
    result += framed[:-2, 1:-1]
    result += framed[2:, 1:-1]
    result += framed[1:-1, :-2]
    result += framed[1:-1, 2:]
    magnitude: Levels = np.abs(result, out=result)
    return magnitude
