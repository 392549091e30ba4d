"""DynamicRestorer: an image in tiles, each restored by the subnet that a router chooses."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srprune.core.errors import InputError
from srprune.core.restorer import LumaRestorer
from srprune.images import tensor
from srprune.models.restorer import (
    LumaNetworkRestorer,
    NetworkRestorer,
    Precision,
    check_least,
    check_planes,
)
from srprune.wbsr.flops import FlopCount
from srprune.wbsr.merging import Grid
from srprune.wbsr.router import Choice, Demand, Flops, Router, check_budget, within_budget

TILES = {2: 64, 3: 48, 4: 48}  # side by scale, LR px; docs/adr/0016-readings-of-wbsr.md
# LR px: no tile has what RCAN sees untiled; its layers alone reach 229 px in the smallest subnet of
# WBSR, which runs it on tiles of 32
SEES_ALL = 32
OVERLAP = 4  # LR px, as in ClassSR's options: tiles of 32 begin every 28
# LR px of a batch of tiles. On CPUs 4 tiles of 64 or 16 of 32 are as fast a px as the untiled
# image, one alone is up to a third slower; elsewhere as many as an image of a megapixel
BATCH = {"cpu": 16_384}
LARGE_BATCH = 1 << 20

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Routing:
    """Which subnet each tile of an image got, and what that cost.

    Attributes:
        height: of a tile, LR px.
        width: of a tile, LR px.
        overlap: of neighbours, LR px.
        tops_T: where each tile begins, LR px.
        lefts_T: where each tile begins, LR px.
        demand: (T, ...) what the router knew of each tile.
        subnet_T: number of the subnet, 0 the cheapest.
        flops_M: of a tile in each subnet.
        flops_router: of a tile in the router's own network.
        flops_untiled: of the dearest subnet on the whole image.
        seconds: of the whole call, the router's included; counting FLOPs is not.
    """

    height: int
    width: int
    overlap: int
    tops_T: npt.NDArray[np.int64]
    lefts_T: npt.NDArray[np.int64]
    demand: Demand
    subnet_T: Choice
    flops_M: Flops
    flops_router: int
    flops_untiled: int
    seconds: float

    @property
    def flops(self) -> int:
        """Of the image, as it was restored: subnets and router."""
        return int(self.flops_M[self.subnet_T].sum()) + self.flops_router * len(self.subnet_T)

    @property
    def flops_full(self) -> int:
        """Of the dearest subnet on the same tiles: what a budget is a share of."""
        return int(self.flops_M[-1]) * len(self.subnet_T)


class DynamicRestorer:
    """Cuts an image into tiles and gives each as much network as it needs.

    All tiles of a subnet run together, in batches that bound the memory. Zero padding at the
    borders of tiles costs some PSNR against the untiled image; see docs/weighting.md.

    Attributes:
        last: how the image of the latest call was restored; of a batch, its last image.
    """

    luma: Callable[[Tensor], Tensor]  # there for networks on Y, as isinstance(.., LumaRestorer)

    def __init__(
        self,
        name: str,
        subnets: Sequence[NetworkRestorer],
        router: Router,
        *,
        tile: int,
        overlap: int = OVERLAP,
        budget: float | None = None,
        fingerprint: str,
    ) -> None:
        """Make a restorer of several.

        Args:
            name: for tables.
            subnets: of one scale and one domain, the cheapest first.
            router: chooses among them.
            tile: side of a tile, LR px.
            overlap: of neighbours, LR px.
            budget: share of the FLOPs of the dearest subnet, for each image, which subnets and
                router may take; None leaves the choice to the router.
            fingerprint: of the weights and the router.

        Raises:
            InputError: a tile or an overlap that does not fit the subnets, or a budget that no
                subnet can meet.
        """
        assert len({subnet.domain for subnet in subnets}) == 1
        self.name, self.scale, self.fingerprint = name, subnets[0].scale, fingerprint
        self.subnets, self.router = tuple(subnets), router
        self.tile, self.overlap, self.budget = tile, overlap, budget
        self.last: Routing | None = None
        self._counts = [FlopCount(subnet) for subnet in self.subnets]
        self._multiple, self._least = _bounds(subnets)
        check_tile(subnets, tile)
        check_overlap(overlap, tile)
        if budget is not None:
            check_budget(budget, self._flops_of_tiles(tile, tile), router.flops(tile, tile))
        if isinstance(subnets[0], LumaNetworkRestorer):
            self.luma = self._luma

    def at(self, precision: Precision) -> DynamicRestorer:
        """The same with the networks in another precision."""
        other = copy.copy(self)  # which keeps the counts
        other.subnets = tuple(subnet.at(precision) for subnet in self.subnets)
        other.last = None
        if isinstance(other.subnets[0], LumaNetworkRestorer):
            other.luma = other._luma
        return other

    @torch.inference_mode()
    def __call__(self, lr_BChw: Tensor) -> Tensor:
        """Restore RGB; see :class:`srprune.core.restorer.Restorer`.

        Raises:
            InputError: not RGB, too small for the networks, or too much for fp16; or a budget
                that no subnet can meet on an image smaller than a tile.
        """
        check_planes(self.name, lr_BChw, 3)
        return torch.cat([self._restore(lr_Chw[None]) for lr_Chw in lr_BChw])

    def _restore(self, lr_1Chw: Tensor) -> Tensor:
        if self.subnets[0].domain.channels == "rgb":
            return self._dynamic(lr_1Chw, None)
        ycbcr = tensor.rgb_to_ycbcr(lr_1Chw)
        colour = tensor.upscale(ycbcr[:, 1:], self.scale)
        return tensor.ycbcr_to_rgb(torch.cat([self._dynamic(lr_1Chw, ycbcr[:, :1]), colour], dim=1))

    @torch.inference_mode()
    def _luma(self, y_B1hw: Tensor) -> Tensor:
        """Restore Y; the router gets the grey RGB image that has this Y."""
        check_planes(self.name, y_B1hw, 1)
        grey_B3hw = ((255 * y_B1hw - 16) / 219).expand(-1, 3, -1, -1)
        images = zip(grey_B3hw, y_B1hw, strict=True)
        return torch.cat([self._dynamic(rgb[None], y[None]) for rgb, y in images])

    def _dynamic(self, rgb_13hw: Tensor, y_11hw: Tensor | None) -> Tensor:
        """Restore what the networks take: Y where it is given, else RGB."""
        height, width = rgb_13hw.shape[2:]
        check_least(self.name, height, width, max(each.minimum for each in self.subnets))
        grid = Grid.of(
            height,
            width,
            self.tile,
            self.overlap,
            multiple=self._multiple,
            least=self._least,
        )
        flops_M = self._flops_of_tiles(grid.height, grid.width)
        flops_router = self.router.flops(grid.height, grid.width)
        flops_untiled = self._counts[-1](height, width)
        started = _now(rgb_13hw.device)
        tiles_T = grid.cut(rgb_13hw)
        demand = self.router.demand(tiles_T)
        if self.budget is None:
            subnet_T = self.router.choose(demand, flops_M, None)
        else:
            subnet_T = within_budget(self.router, demand, flops_M, self.budget, flops_router)
        if y_11hw is None:
            sr_T = self._run(tiles_T, subnet_T, self.subnets)
        else:
            on_y = [cast(LumaRestorer, subnet).luma for subnet in self.subnets]
            sr_T = self._run(grid.cut(y_11hw), subnet_T, on_y)
        sr_1CHW = grid.merge(sr_T, self.scale)
        seconds = _now(rgb_13hw.device) - started
        self.last = Routing(
            height=grid.height,
            width=grid.width,
            overlap=self.overlap,
            tops_T=np.repeat(np.array(grid.tops, dtype=np.int64), len(grid.lefts)),
            lefts_T=np.tile(np.array(grid.lefts, dtype=np.int64), len(grid.tops)),
            demand=demand,
            subnet_T=subnet_T,
            flops_M=flops_M,
            flops_router=flops_router,
            flops_untiled=flops_untiled,
            seconds=seconds,
        )
        return sr_1CHW

    def _run(self, tiles_TChw: Tensor, subnet_T: Choice, runs_M: Sequence[Run]) -> Tensor:
        """(T, C, H, W): the tiles of each subnet together, in batches."""
        num_tiles, planes, height, width = tiles_TChw.shape
        most = max(1, BATCH.get(tiles_TChw.device.type, LARGE_BATCH) // (height * width))
        if num_tiles == 1:
            return runs_M[int(subnet_T[0])](tiles_TChw)
        shape = (num_tiles, planes, self.scale * height, self.scale * width)
        sr_TCHW = torch.empty(
            shape,
            dtype=tiles_TChw.dtype,
            device=tiles_TChw.device,
            memory_format=torch.channels_last,
        )
        for number in np.unique(subnet_T):
            ids = torch.from_numpy(np.flatnonzero(subnet_T == number)).to(tiles_TChw.device)
            for first in range(0, len(ids), most):
                part = ids[first : first + most]
                sr_TCHW[part] = runs_M[number](tiles_TChw[part])
        return sr_TCHW

    def _flops_of_tiles(self, height: int, width: int) -> Flops:
        return np.array([count(height, width) for count in self._counts], dtype=np.int64)


def check_tile(subnets: Sequence[NetworkRestorer], tile: int) -> None:
    """Refuse tiles that do not fit the networks.

    A tile may be smaller than the receptive field of large subnets (71 px of the published
    MSRResNet, whose tiles have 48 at x4): their outermost layers see little. Below that of the
    smallest, no pixel of a tile would be what it is untiled. Of networks that see all none ever is:
    there it is what their layers reach, or 32 px where that is less.

    Args:
        subnets: the cheapest first.
        tile: side, LR px.

    Raises:
        InputError: the message says which would fit.
    """
    smallest, (multiple, least) = subnets[0], _bounds(subnets)
    if tile < least:
        field, name = _field(smallest), smallest.name
        if field <= tile:
            why = f"the subnets take at least {least} px a side"
        elif smallest.radius is None:
            why = f"the smallest subnet, {name}, sees all of it and {field} px are the least"
        else:
            why = f"a pixel of the smallest subnet, {name}, depends on {field} LR px a side"
        raise InputError(f"the tile is {tile} LR px, but {why}. Give a tile of {least} or more.")
    if tile % multiple:
        raise InputError(
            f"the tile is {tile} LR px; the windows of {smallest.name} call for a multiple of "
            f"{multiple}. Near: {round(tile / multiple) * multiple}."
        )


def check_overlap(overlap: int, tile: int) -> None:
    """Refuse what is not below half a tile; both in LR px.

    Raises:
        InputError: the message says what would fit.
    """
    if not 0 <= 2 * overlap < tile:
        raise InputError(
            f"the overlap is {overlap} LR px; with a tile of {tile} it is at least 0 and at most "
            f"{(tile - 1) // 2}."
        )


def _bounds(subnets: Sequence[NetworkRestorer]) -> tuple[int, int]:
    """What the side of a tile is a multiple of, and the smallest, LR px."""
    multiple = max(subnet.multiple for subnet in subnets)
    least = max(_field(subnets[0]), *(subnet.minimum for subnet in subnets))
    return multiple, -(-least // multiple) * multiple


def _field(subnet: NetworkRestorer) -> int:
    """Side of what a pixel of a subnet depends on, LR px; 1 where that is not known.

    Where it is all, the side that its layers reach, up to what can be expected of a tile.
    """
    field = 2 * (subnet.reach or 0) + 1
    return min(field, SEES_ALL) if subnet.radius is None else field


def _now(device: torch.device) -> float:
    """The clock, once the device has done all it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()
