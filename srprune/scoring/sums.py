"""Sums of windows from an integral image (Crow, SIGGRAPH 1984), exact.

Windows of a grid share few edges, so the integral image is kept at these rows and columns alone.

Differences of sums in float64 would be off by what the whole image weighs: equal windows would
score differently, and windows of nothing slightly below 0. So each number of the map is taken as
two integers, in units of 2^-32 and 2^-72; sums and differences of integers are exact.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Edges = npt.NDArray[np.int64]

COARSE, FINE = 2.0**32, 2.0**40  # coarse units in 1, and fine ones in a coarse unit


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
        most = map_HW.abs().max().item() * map_HW.numel() * COARSE
        # what is not finite, or too large for an integer, is none of a sound scoring model
        of_a_band = _exact if most < 2**62 else _rounded
        bands = [
            of_a_band(map_HW[top:bottom])
            for top, bottom in zip(self._rows[:-1], self._rows[1:], strict=True)
        ]
        sums_PRW = torch.stack(bands, dim=1).cumsum(dim=1).cumsum(dim=2)
        # sums up to and without a column: that of the column before, 0 before the first
        padded_PRW = torch.nn.functional.pad(sums_PRW, (1, 0, 1, 0))
        self._sums_PRC = (
            padded_PRW[:, :, torch.from_numpy(self._columns).to(map_HW.device)].cpu().numpy()
        )

    def means(
        self, top: Edges, bottom: Edges, left: Edges, right: Edges
    ) -> npt.NDArray[np.float64]:
        """Means of windows; the four edges of all of them, in shapes that go together."""
        y0, y1 = (np.searchsorted(self._rows, edge) for edge in (top, bottom))
        x0, x1 = (np.searchsorted(self._columns, edge) for edge in (left, right))
        parts = [
            sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0] for sums in self._sums_PRC
        ]
        total = parts[0] if len(parts) == 1 else (parts[0] + parts[1] / FINE) / COARSE
        means: npt.NDArray[np.float64] = total / ((bottom - top) * (right - left))
        return means


def _exact(band_HW: Tensor) -> Tensor:
    """(2, W) int64 sums of columns, in coarse and fine units: of a float32 from 2^-48 on, all."""
    scaled_HW = band_HW.double() * COARSE
    coarse_HW = scaled_HW.round()
    fine_HW = scaled_HW.sub_(coarse_HW).mul_(FINE).round_()
    return torch.stack([each.long().sum(dim=0) for each in (coarse_HW, fine_HW)])


def _rounded(band_HW: Tensor) -> Tensor:
    """(1, W) float64 sums of columns."""
    return band_HW.sum(dim=0, dtype=torch.float64)[None]


def cell_edges(size: int, margin: int, side: int) -> tuple[Edges, Edges]:
    """First and last (out) px of each of the ``side`` cells of a patch of ``size`` px.

    Cells overlap by a pixel where the side does not divide the size. The margin is not scored: a
    cell within it is that of the nearest pixels that are.
    """
    steps = np.arange(side)
    starts = np.clip(steps * size // side, margin, size - margin - 1)
    stops = np.clip(-(-(steps + 1) * size // side), margin + 1, size - margin)
    return starts, stops
