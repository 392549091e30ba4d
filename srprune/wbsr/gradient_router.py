"""The router of WBSR: tiles are projected on the difficulty classes of the training tiles.

Yu et al., "Rethinking Imbalance in Image Super-Resolution for Efficient Inference", NeurIPS 2024:
the gradient vector of a tile (mean and standard deviation of the gradient's magnitude,
horizontally and vertically) falls into one of K classes, whose thresholds are quantiles of the
training tiles, and the class decides the subnet. No code is public. The readings taken here:

- The vector becomes one number as in :mod:`srprune.selection.hes`: its Euclidean length, each
  part divided by its standard deviation over the training tiles.
- Without a budget, class k of 1..K gets subnet m = ceil(k M / K) of 1..M, as printed.
- With one, the printed argmin over m of |alpha k C_m / K - C_t| gives harder classes cheaper
  subnets, since k C_m has to stay near the fixed C_t. Here class k asks for alpha k / K of the
  dearest subnet's FLOPs and gets the dearest subnet within that, the cheapest at least; alpha is
  the effort of :func:`srprune.wbsr.router.within_budget`.
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
from srprune.selection.hes import lengths
from srprune.wbsr.router import Choice, Demand, Flops
from srprune.wbsr.router_file import read_router, write_router

Floats = npt.NDArray[np.float64]

KIND = "GradientRouter"
NAMES = ("mean_right", "std_right", "mean_down", "std_down")
GREY = (299, 587, 114)  # thousandths of R, G and B: those of srprune.images.color, whole
PIXELS = 1 << 22  # of tiles at a time: a whole number for each takes 16 MiB


@torch.inference_mode()
def gradient_vectors(lr_TChw: Tensor) -> Floats:
    """(T, 4) mean and standard deviation of the differences to the right, then downwards.

    The feature ``gradient`` of :mod:`srprune.images.descriptors`, on the tiles' device: of the
    grey of 8-bit pixels, in grey levels.

    Args:
        lr_TChw: (T, 3, h, w) RGB in [0, 1].
    """
    most = max(1, PIXELS // (lr_TChw.shape[2] * lr_TChw.shape[3]))
    firsts = range(0, len(lr_TChw), most)
    return np.concatenate([_vectors(lr_TChw[first : first + most]) for first in firsts])


def _vectors(lr_TChw: Tensor) -> Floats:
    red, green, blue = tensor.round_uint8(lr_TChw).to(torch.int32).unbind(1)
    # whole numbers: the same on every device, and a flat tile has exactly 0
    grey_Thw = (GREY[0] * red + GREY[1] * green + GREY[2] * blue + 500) // 1000
    columns = []
    for dim in (2, 1):
        values = grey_Thw.diff(dim=dim).abs_().flatten(1)
        num = max(1, values.shape[1])  # a tile of one px has no differences
        total, squares = (sums.cpu().numpy() for sums in (values.sum(1), (values**2).sum(1)))
        columns += [total / num, np.sqrt(num * squares - total**2) / num]
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class GradientRouter:
    """Difficulty classes of training tiles, and the subnets that they get.

    Attributes:
        thresholds: K - 1 rising lengths; class k holds lengths in (t_{k-1}, t_k].
        spread: standard deviations of the four parts over the training tiles.
        num_tiles: training tiles that both come from.
    """

    thresholds: tuple[float, ...]
    spread: tuple[float, float, float, float]
    num_tiles: int

    name: ClassVar[str] = "gradient"

    @classmethod
    def fit(cls, values_N4: npt.NDArray[np.floating[Any]], classes: int = 10) -> Self:
        """Take spreads and quantiles of training tiles.

        Args:
            values_N4: gradient vectors, from :func:`gradient_vectors`.
            classes: K.

        Raises:
            InputError: fewer tiles than classes, or so many equal ones that a class has none.
        """
        num_tiles = len(values_N4)
        if classes < 1 or num_tiles < classes:
            raise InputError(
                f"the gradient router was given {num_tiles} training tiles for {classes} classes; "
                "each class needs one. Give fewer classes, at least 1, or more tiles."
            )
        exact_N4 = values_N4.astype(np.float64)
        if not np.isfinite(exact_N4).all():
            raise InputError("a gradient vector of the training tiles is not finite.")
        right, right_std, down, down_std = exact_N4.std(axis=0).tolist()
        spread = (right, right_std, down, down_std)
        lengths_N = np.sort(lengths(exact_N4))
        last_K = -(-np.arange(1, classes + 1) * num_tiles // classes) - 1
        thresholds_K = lengths_N[last_K]
        sizes_K = np.diff(np.searchsorted(lengths_N, thresholds_K, side="right"), prepend=0)
        if not sizes_K.all():
            raise InputError(
                f"class {int(np.argmin(sizes_K)) + 1} of {classes} has no tiles: of {num_tiles} "
                f"training tiles only {len(np.unique(lengths_N))} differ in their gradients. Give "
                "fewer classes."
            )
        return cls(tuple(thresholds_K[:-1].tolist()), spread, num_tiles)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.thresholds) + 1

    def flops(self, height: int, width: int) -> int:
        """0: it has no network; see :class:`srprune.wbsr.router.Router`."""
        return 0

    def demand(self, lr_TChw: Tensor) -> Demand:
        """(T,) lengths of the gradient vectors; see :class:`srprune.wbsr.router.Router`."""
        return lengths(gradient_vectors(lr_TChw), spread_D=np.array(self.spread))

    def classes(self, lengths_T: Demand) -> Choice:
        """(T,) class of each tile, 1 the simplest to K the hardest."""
        below_T: Choice = np.searchsorted(np.array(self.thresholds), lengths_T, side="left")
        return below_T + 1

    def choose(self, demand: Demand, flops_M: Flops, effort: float | None) -> Choice:
        """The subnet by class and effort; see :class:`srprune.wbsr.router.Router`."""
        classes_T = self.classes(demand)
        if effort is None:
            return -(-classes_T * len(flops_M) // self.num_classes) - 1
        asked_T = effort * (classes_T / self.num_classes * flops_M[-1])
        within_T: Choice = np.searchsorted(flops_M, asked_T, side="right") - 1
        return np.maximum(within_T, 0)

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
            "thresholds": list(self.thresholds),
            "spread": dict(zip(NAMES, self.spread, strict=True)),
            "num_tiles": self.num_tiles,
        }
        return write_router(path, KIND, facts, parents=parents or {}, made=made or {})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a router.

        Raises:
            ArtifactError: there is no such file, or it is damaged or not a gradient router.
        """
        facts = read_router(path, KIND).params
        try:
            right, right_std, down, down_std = (float(facts["spread"][name]) for name in NAMES)
            thresholds = tuple(float(length) for length in facts["thresholds"])
            spread = (right, right_std, down, down_std)
            return cls(thresholds, spread, int(facts["num_tiles"]))
        except (LookupError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{path} is no gradient router. Fit it again: srprune route."
            ) from error
