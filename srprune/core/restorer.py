"""Restorer: anything that turns LR into SR and can be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Restorer(Protocol):
    """An SR model seen from outside.

    Attributes:
        name: short name for tables.
        scale: 2, 3 or 4.
        fingerprint: what identifies the weights.
    """

    name: str
    scale: int
    fingerprint: str

    def __call__(self, lr_BChw: Tensor) -> Tensor:
        """RGB in, RGB out: (B, 3, h, w) float in [0, 1] to (B, 3, s*h, s*w), not clipped."""


@runtime_checkable
class LumaRestorer(Restorer, Protocol):
    """A restorer that can also work on Y alone, as the protocol y@1 needs."""

    def luma(self, y_B1hw: Tensor) -> Tensor:
        """Y in [16/255, 235/255], (B, 1, h, w), to Y of (B, 1, s*h, s*w), not clipped."""
