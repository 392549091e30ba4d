"""What keeps a synthesised set honest: blank images are known, and copies of training images.

A diffusion model may collapse to flat images, and it may repeat what it was trained on (Somepalli
et al., "Diffusion Art or Digital Forgery?", CVPR 2023); a set of copies would be a core-set under
another name. The published code looks for neither.

The thresholds were measured on crops of 128 px of real photographs. Spread of grey: 4.6 and more
in 99% of the centres of DIV2K's 800 training images. Of 900 crops of Urban100, one is a near-copy
of one of 2,000 of DIV2K and BSD100; 0.7% would be, were 16 dB enough. Of copies, 97% are found
under noise of 30 grey levels, 92% after a bicubic round trip by 4, all that are mirrored, and
those that are moved by 4 px as a rule not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from srprune.core.parallel import in_threads
from srprune.core.progress import Progress, silent
from srprune.images.color import rgb_to_grey8

Pixels = npt.NDArray[np.uint8]
Vector = npt.NDArray[np.float32]

BLACK = 4.0  # mean grey below which an image is black, of 255
CONSTANT = 2.0  # standard deviation of the grey below which an image shows nothing
SIDE = 16  # px of a thumbnail
CANDIDATES = 8  # patches by thumbnail that are compared pixel by pixel
COPY_CORRELATION = 0.95  # of thumbnails, and
COPY_PSNR = 18.0  # dB over all RGB pixels, from which on an image is a near-copy


def blank(image_HW3: Pixels) -> str | None:
    """Why an image shows nothing: ``black`` or ``constant``; None where it shows something."""
    grey = rgb_to_grey8(image_HW3)
    if grey.mean() < BLACK:
        return "black"
    return "constant" if grey.std() < CONSTANT else None


class Match(NamedTuple):
    """A training patch that an image is like.

    Attributes:
        patch_id: in the index.
        mirrored: whether the patch was mirrored left to right, as in training.
        correlation: of the thumbnails' greys, -1 to 1.
        psnr_db: over all RGB pixels; infinite for a true copy.
    """

    patch_id: int
    mirrored: bool
    correlation: float
    psnr_db: float

    @property
    def near_copy(self) -> bool:
        """Whether it is as near as different photographs are not."""
        return self.correlation >= COPY_CORRELATION and self.psnr_db >= COPY_PSNR


class Nearest(NamedTuple):
    """The training patches that an image is most like; they need not be the same one.

    Attributes:
        by_thumbnail: of the highest correlation among all patches and their mirrored twins.
        by_pixels: a near-copy before others, then of the best PSNR, among the candidates: the 8
            patches, and 8 mirrored ones, of the highest correlations.
    """

    by_thumbnail: Match
    by_pixels: Match


class Copies:
    """Finds the training patches that an image is most like.

    Thumbnails of 16x16 greys choose candidates among all patches and their mirrored twins; these
    are then compared pixel by pixel. A generator sees whole patches only, so a copy lies as its
    patch does; shifted copies are not looked for. 1 kB of memory a patch; pixels are read as
    needed.
    """

    def __init__(
        self,
        patch: Callable[[int], Pixels],
        patch_ids_K: npt.NDArray[np.int64],
        size: int,
        progress: Progress = silent,
    ) -> None:
        """Look at every patch once.

        Args:
            patch: gives a patch by id as (size, size, 3) uint8; called from several threads.
            patch_ids_K: what the generator was trained on, at least one.
            size: side of a patch, px.
            progress: told after each patch.
        """
        self._patch, self._ids_K = patch, patch_ids_K
        count, side = len(patch_ids_K), min(SIDE, size)
        self._thumbs_KD = np.empty((count, side * side), dtype=np.float32)

        def look(row: int) -> None:
            self._thumbs_KD[row] = _thumb(patch(int(patch_ids_K[row])))

        work = in_threads(look, range(count), os.cpu_count() or 1)
        for done, (_, future) in enumerate(work, start=1):
            future.result()
            progress("look at training patches", done, count)

    def nearest(self, image_HW3: Pixels) -> Nearest:
        """The nearest patches, by thumbnail and by pixels; of equals the lowest patch id.

        Args:
            image_HW3: as large as the patches.
        """
        found = [
            each
            for mirrored, image in ((False, image_HW3), (True, image_HW3[:, ::-1]))
            for each in self._candidates(image, mirrored)
        ]
        return Nearest(
            max(found, key=lambda each: (each.correlation, -each.patch_id)),
            max(found, key=lambda each: (each.near_copy, each.psnr_db, -each.patch_id)),
        )

    def _candidates(self, image_HW3: Pixels, mirrored: bool) -> list[Match]:
        """The patches most like an image by thumbnail, compared pixel by pixel."""
        correlation_K = self._thumbs_KD @ _thumb(image_HW3)
        count = min(CANDIDATES, len(correlation_K))
        result = []
        for row in np.argpartition(-correlation_K, count - 1)[:count].tolist():
            patch_id = int(self._ids_K[row])
            psnr = _psnr(image_HW3, self._patch(patch_id))
            # of two unit vectors: rounding may lead a hair beyond 1
            correlation = min(max(float(correlation_K[row]), -1.0), 1.0)
            result.append(Match(patch_id, mirrored, correlation, psnr))
        return result


def _thumb(image_HW3: Pixels) -> Vector:
    """Mean grey of 16x16 cells without their mean, as a unit vector; zeros of a flat image."""
    grey = rgb_to_grey8(image_HW3).astype(np.float32)
    size = len(grey)
    side = min(SIDE, size)
    edges = np.arange(side + 1) * size // side
    sums = np.add.reduceat(np.add.reduceat(grey, edges[:-1], axis=0), edges[:-1], axis=1)
    widths = np.diff(edges)
    cells = (sums / np.outer(widths, widths)).ravel()
    cells -= cells.mean()
    length = float(np.linalg.norm(cells))
    # a thumbnail that varies by less than a hundredth of a grey level has no pattern
    if length < side / 100:
        return np.zeros(len(cells), dtype=np.float32)
    unit: Vector = (cells / length).astype(np.float32)
    return unit


def _psnr(one_HW3: Pixels, other_HW3: Pixels) -> float:
    """PSNR in dB over all pixels and channels; infinite for equal images."""
    error = one_HW3.astype(np.int32) - other_HW3
    mse = float(np.square(error).mean())
    return 10 * math.log10(255**2 / mse) if mse else math.inf
