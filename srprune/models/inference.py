"""Inference: how a trained network is run, without a change to its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

from srprune.core.errors import InputError
from srprune.core.names import unknown
from srprune.core.restorer import Restorer
from srprune.models.ensemble import SelfEnsemble
from srprune.models.restorer import REDUCED, NetworkRestorer, Precision
from srprune.models.tiling import Tiled

OVERLAP = 64  # LR px, if a network sees further than this; a tile of 64 then reads 192


@dataclass(frozen=True)
class Inference:
    """Options of a network's restorer; the defaults run it plainly.

    Attributes:
        tile: side of a tile, LR px; None restores images as a whole.
        overlap: context of a tile at each inner side, LR px; None takes the network's radius, at
            most 64.
        self_ensemble: the mean over 8 flips and quarter turns.
        precision: of the network, ``fp32``, ``bf16`` or ``fp16``.
    """

    tile: int | None = None
    overlap: int | None = None
    self_ensemble: bool = False
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        if self.overlap is not None and self.tile is None:
            raise InputError(f"overlap is {self.overlap} LR px, but there are no tiles; give tile.")
        if self.precision not in ("fp32", *REDUCED):
            raise unknown("precision", self.precision, ("fp32", *REDUCED))

    @property
    def label(self) -> str:
        """For file names: ``_tile64_o8_bf16``. The self-ensemble stands in the name before it."""
        tiles = f"_tile{self.tile}_o{self.overlap}" if self.tile is not None else ""
        return tiles + (f"_{self.precision}" if self.precision in REDUCED else "")

    def settled(self, restorer: NetworkRestorer) -> Inference:
        """The same with the overlap that this restorer gets."""
        if self.tile is None or self.overlap is not None:
            return self
        radius = OVERLAP if restorer.radius is None else restorer.radius
        return replace(self, overlap=min(OVERLAP, radius))

    def wrap(self, restorer: NetworkRestorer) -> Restorer:
        """The restorer, run this way.

        The ensemble stands around the tiles, so that each of its 8 images is cut where its own
        windows are.
        """
        wrapped: Restorer = restorer.at(self.precision)
        if self.tile is not None:
            overlap = self.settled(restorer).overlap
            assert overlap is not None
            wrapped = Tiled(wrapped, self.tile, overlap, restorer.multiple, restorer.minimum)
        return SelfEnsemble(wrapped) if self.self_ensemble else wrapped
