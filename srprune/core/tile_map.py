"""TileMap: which subnet each tile of an image got."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Whole = npt.NDArray[np.integer[Any]]


class TileMap(NamedTuple):
    """The tiles of an image, and what each got.

    Attributes:
        tops_T: LR px.
        lefts_T: LR px.
        height: of a tile, LR px.
        width: of a tile, LR px.
        subnet_T: number of the subnet, 0 the cheapest.
        labels: of the subnets, the cheapest first.
        flops_share: of the image, of the dearest subnet on the same tiles.
    """

    tops_T: Whole
    lefts_T: Whole
    height: int
    width: int
    subnet_T: Whole
    labels: Sequence[str]
    flops_share: float
