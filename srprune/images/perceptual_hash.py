"""dHash: 64 bits that hardly change when a picture is scaled, sharpened or compressed.

The picture is shrunk to 9x8 greys; bit by bit, row by row, each says whether a grey is less than
its right neighbour (Krawetz, "Kind of Like That", hackerfactor.com, 2013). Shrunk here means the
mean over the 9x8 cells of the patch, computed exactly; programs that shrink otherwise get other
bits where neighbours are nearly equal. All bits of a flat patch are 0.
"""

from __future__ import annotations

import numpy as np

from srprune.images.color import rgb_to_grey8
from srprune.images.descriptors import Byte, Corners, Descriptor, Features, Sums

ROWS, COLUMNS = 8, 9


def _dhash(rgb: Byte, tops: Corners, lefts: Corners, size: int) -> Features:
    """The bits as 0 and 1."""
    rows = np.arange(ROWS + 1) * size // ROWS
    columns = np.arange(COLUMNS + 1) * size // COLUMNS
    at_Y, at_X = tops[:, None, None] + rows[:, None], lefts[:, None, None] + columns
    sums = Sums(rgb_to_grey8(rgb).astype(np.int32)).over(
        at_Y[:, :-1], at_X[..., :-1], at_Y[:, 1:], at_X[..., 1:]
    )
    # cells may differ in width by a pixel: sum/width compared without dividing
    width_X = np.diff(columns)
    bits = sums[..., :-1] * width_X[1:] < sums[..., 1:] * width_X[:-1]
    return bits.reshape(len(tops), -1).astype(np.float32)


dhash = Descriptor(
    tuple(f"bit_{row}{column}" for row in range(ROWS) for column in range(COLUMNS - 1)), _dhash
)
