"""Sums of windows from an integral image (Crow, SIGGRAPH 1984), in float64.

Windows of a grid share few edges, so the integral image is kept at these rows and columns alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Edges = npt.NDArray[np.int64]


class Integral:
    """The integral image of a map, where windows begin and end."""

    def __init__(self, map_HW: Tensor, rows: Edges, columns: Edges) -> None:
        """Sum up a map.

        Args:
            map_HW: (H, W) float.
            rows: all rows at which a window begins or ends (the first one that is out), any shape.
            columns: the same for columns.
        """
        self._rows, self._columns = np.unique(rows), np.unique(columns)
        if map_HW.device.type == "mps":  # has no float64
            map_HW = map_HW.cpu()
        bands = [
            map_HW[top:bottom].sum(dim=0, dtype=torch.float64)
            for top, bottom in zip(self._rows[:-1], self._rows[1:], strict=True)
        ]
        sums_RW = torch.stack(bands).cumsum(dim=0).cumsum(dim=1)
        # sums up to and without a column: that of the column before, 0 before the first
        padded_RW = torch.nn.functional.pad(sums_RW, (1, 0, 1, 0))
        self._sums_RC = (
            padded_RW[:, torch.from_numpy(self._columns).to(map_HW.device)].cpu().numpy()
        )

    def means(
        self, top: Edges, bottom: Edges, left: Edges, right: Edges
    ) -> npt.NDArray[np.float64]:
        """Means of windows; the four edges of all of them, in shapes that go together."""
        y0, y1 = (np.searchsorted(self._rows, edge) for edge in (top, bottom))
        x0, x1 = (np.searchsorted(self._columns, edge) for edge in (left, right))
        sums = self._sums_RC
        total = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
        means: npt.NDArray[np.float64] = total / ((bottom - top) * (right - left))
        return means


def cell_edges(size: int, margin: int, side: int) -> tuple[Edges, Edges]:
    """First and last (out) px of each of the ``side`` cells of a patch of ``size`` px.

    Cells overlap by a pixel where the side does not divide the size. The margin is not scored: a
    cell within it is that of the nearest pixels that are.
    """
    steps = np.arange(side)
    starts = np.clip(steps * size // side, margin, size - margin - 1)
    stops = np.clip(-(-(steps + 1) * size // side), margin + 1, size - margin)
    return starts, stops
