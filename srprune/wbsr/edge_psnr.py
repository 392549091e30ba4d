"""The router of ARM: the edges of a tile tell what PSNR each subnet will reach on it.

Chen et al., "ARM: Any-Time Super-Resolution Method", ECCV 2022. One table, made on a validation
set: tiles are put into intervals by their edge score, and each interval holds the mean PSNR of
each subnet on its tiles. A tile gets the subnet with the highest ``eta * PSNR - FLOPs``. Read off
the authors' code (chenbong/ARM-Net, ``utils/util.py``, ``models/USSR_model.py``, ``main.py``):

- Edge score: mean of the absolute Laplacian of the tile's 8-bit grey, as OpenCV computes it with
  a 3x3 aperture (2 at the corners, -8 in the middle; rim mirrored; cut off at 255).
- 30 intervals of equal width between the lowest and the highest score. A tile takes the interval
  whose middle is nearest: between intervals nothing is interpolated.
- PSNR: of 8-bit RGB, without ``scale`` px at each edge; 80 dB where nothing differs.
- eta is a multiple k of the dearest subnet's FLOPs, k from 0.5 to 32; k is the *effort* here, so
  the price of the dearest subnet is 1 / k dB. Without a budget the best PSNR wins, as in the
  code's default (``best``).

Two departures. In the code an interval without tiles is not a number, which is then taken for the
best; here it is interpolated between its neighbours. And the code has bicubic enlargement as one
more, free subnet; here there are the subnets of the supernet alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srprune.core.artifact import Header
from srprune.core.errors import ArtifactError, InputError
from srprune.images import tensor
from srprune.wbsr.gradient_router import GREY
from srprune.wbsr.router import Choice, Demand, Flops
from srprune.wbsr.router_file import read_router, write_router

Floats = npt.NDArray[np.float64]

KIND = "EdgePsnrRouter"
BINS = 30  # main.py: model.hmap['bins']
SAME = 80.0  # dB of a tile without a fault: util.calculate_psnr
FORBIDDING = 1e30  # dB; a price that no PSNR is worth, and that no float overflows at
ROOM = 1 << 24  # px of tiles at a time: int32 images of them take 64 MiB


@torch.inference_mode()
def edge_scores(lr_TChw: Tensor) -> Floats:
    """(T,) mean absolute Laplacian of the 8-bit grey, in grey levels.

    Args:
        lr_TChw: (T, 3, h, w) RGB in [0, 1].
    """
    most = max(1, ROOM // (lr_TChw.shape[2] * lr_TChw.shape[3]))
    return np.concatenate([_scores(part) for part in torch.split(lr_TChw, most)])


def _scores(lr_TChw: Tensor) -> Floats:
    red, green, blue = tensor.round_uint8(lr_TChw).to(torch.int32).unbind(1)
    # whole numbers: the same on every device
    grey_Thw = (GREY[0] * red + GREY[1] * green + GREY[2] * blue + 500) // 1000
    framed = _mirrored(_mirrored(grey_Thw, 1), 2)
    corners = framed[:, :-2, :-2] + framed[:, :-2, 2:] + framed[:, 2:, :-2] + framed[:, 2:, 2:]
    edges_Thw = (2 * corners - 8 * grey_Thw).abs_().clamp_(max=255)
    means_T = edges_Thw.flatten(1).sum(1).double() / edges_Thw[0].numel()
    scores_T: Floats = means_T.cpu().numpy()
    return scores_T


def _mirrored(values: Tensor, dim: int) -> Tensor:
    """With one more row or column at both ends; the rim itself is not repeated."""
    last = values.shape[dim] - 1
    places = torch.arange(-1, last + 2, device=values.device).abs()
    return values.index_select(dim, (last - (last - places).abs()).clamp_(min=0))


@torch.inference_mode()
def tile_psnr(sr_TCHW: Tensor, hr_TCHW: Tensor, border: int) -> Floats:
    """(T,) PSNR of 8-bit RGB tiles, dB.

    Args:
        sr_TCHW: RGB in [0, 1], not clipped.
        hr_TCHW: the same size and scale.
        border: px at each edge that do not count.

    Raises:
        InputError: the border is all of a tile.
    """
    height, width = hr_TCHW.shape[2:]
    if min(height, width) <= 2 * border:
        raise InputError(
            f"a tile has {width}x{height} px at HR, of which {border} px at each edge do not count "
            "for its PSNR: nothing is left. Give larger tiles."
        )
    apart = tensor.round_uint8(sr_TCHW).int() - tensor.round_uint8(hr_TCHW).int()
    inside = apart[:, :, border : height - border, border : width - border]
    mse_T = inside.square().flatten(1).sum(1).cpu().numpy() / inside[0].numel()
    with np.errstate(divide="ignore"):
        psnr_T: Floats = np.where(mse_T > 0, 10 * np.log10(255**2 / mse_T), SAME)
    return psnr_T


@dataclass(frozen=True)
class EdgePsnrRouter:
    """What PSNR each subnet reaches, by edge score.

    Attributes:
        low: lowest edge score of the validation tiles.
        high: the highest.
        psnr_KM: mean PSNR of M subnets in K intervals of equal width, the cheapest subnet first.
        tiles_K: validation tiles of each interval; where there are none, PSNR is interpolated.
    """

    low: float
    high: float
    psnr_KM: tuple[tuple[float, ...], ...]
    tiles_K: tuple[int, ...]

    name: ClassVar[str] = "edge_psnr"

    @classmethod
    def fit(cls, edges_N: Floats, psnr_NM: Floats, bins: int = BINS) -> Self:
        """Make the table from validation tiles.

        Args:
            edges_N: from :func:`edge_scores`.
            psnr_NM: of each tile in each subnet, the cheapest first.
            bins: K, at least 2.

        Raises:
            InputError: all tiles have one edge score, or fewer than 2 intervals are asked for.
        """
        if bins < 2:
            raise InputError(f"edge_psnr takes at least 2 intervals of edge scores, not {bins}.")
        if not (np.isfinite(edges_N).all() and np.isfinite(psnr_NM).all()):
            raise InputError("an edge score or a PSNR of the validation tiles is not finite.")
        if not len(edges_N) or edges_N.min() == edges_N.max():
            raise InputError(
                f"the {len(edges_N)} validation tiles of edge_psnr all fall into one interval of "
                "edge scores, so they tell nothing apart. Give more tiles, or other images."
            )
        low, high = float(edges_N.min()), float(edges_N.max())
        interval_N = _interval(edges_N, low, high, bins)
        tiles_K = np.bincount(interval_N, minlength=bins)
        there = np.flatnonzero(tiles_K)
        psnr_MK = []
        for psnr_N in psnr_NM.T:
            sums_K = np.bincount(interval_N, weights=psnr_N, minlength=bins)
            psnr_MK.append(np.interp(np.arange(bins), there, sums_K[there] / tiles_K[there]))
        psnr_KM = tuple(tuple(row) for row in np.stack(psnr_MK, axis=1).tolist())
        return cls(low, high, psnr_KM, tuple(tiles_K.tolist()))

    def flops(self, height: int, width: int) -> int:
        """0: it has no network; see :class:`srprune.wbsr.router.Router`."""
        return 0

    def demand(self, lr_TChw: Tensor) -> Demand:
        """(T,) edge scores; see :class:`srprune.wbsr.router.Router`."""
        return edge_scores(lr_TChw)

    def choose(self, demand: Demand, flops_M: Flops, effort: float | None) -> Choice:
        """The subnet of the highest PSNR less its price; see :class:`srprune.wbsr.router.Router`.

        The dearest subnet's price is 1 / effort dB, another's in proportion to its FLOPs. None is
        an effort without end: the best PSNR, whatever it takes. Of equals the cheapest is chosen.

        Raises:
            InputError: the table is of another number of subnets.
        """
        psnr_KM = np.array(self.psnr_KM)
        if psnr_KM.shape[1] != len(flops_M):
            raise InputError(
                f"this edge_psnr router is for {psnr_KM.shape[1]} subnets, but there are "
                f"{len(flops_M)}. Fit it again: srprune route."
            )
        price = 0.0 if effort is None else min(1 / effort, FORBIDDING)
        best_K = np.argmax(psnr_KM - price * (flops_M / flops_M[-1]), axis=1)
        chosen_T: Choice = best_K[_interval(demand, self.low, self.high, len(psnr_KM))]
        return chosen_T

    def save(
        self,
        path: Path,
        *,
        parents: Mapping[str, str] | None = None,
        made: Mapping[str, Any] | None = None,
    ) -> Header:
        """Write the router as JSON.

        Args:
            path: of the file; written whole or not at all.
            parents: fingerprints of what it was fitted on, by role.
            made: who made it.
        """
        facts = {
            "low": self.low,
            "high": self.high,
            "tiles": list(self.tiles_K),
            "psnr": [list(row) for row in self.psnr_KM],
        }
        return write_router(path, KIND, facts, parents=parents or {}, made=made or {})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a router.

        Raises:
            ArtifactError: there is no such file, or it is damaged or not an edge_psnr router.
        """
        facts = read_router(path, KIND).params
        try:
            psnr_KM = tuple(tuple(float(psnr) for psnr in row) for row in facts["psnr"])
            tiles_K = tuple(int(count) for count in facts["tiles"])
            if len({len(row) for row in psnr_KM}) != 1 or len(tiles_K) != len(psnr_KM):
                raise ValueError("rows of unequal length")
            return cls(float(facts["low"]), float(facts["high"]), psnr_KM, tiles_K)
        except (LookupError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{path} is no edge_psnr router. Fit it again: srprune route."
            ) from error


def _interval(edges_T: Floats, low: float, high: float, bins: int) -> Choice:
    """(T,) the interval whose middle is nearest, 0 to ``bins - 1``."""
    share_T = (edges_T - low) / (high - low)
    return np.clip(np.floor(share_T * bins), 0, bins - 1).astype(np.int64)
