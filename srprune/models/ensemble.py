"""Geometric self-ensemble, the "+" of EDSR+.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from srprune.core.restorer import LumaRestorer, Restorer

Restore = Callable[[Tensor], Tensor]


class SelfEnsemble:
    """The mean of what a restorer gives for the 8 flips and quarter turns, each turned back."""

    luma: Restore  # there if the inner restorer has it, as isinstance(.., LumaRestorer) asks

    def __init__(self, restorer: Restorer) -> None:
        """Ask ``restorer`` eight times."""
        self.name = f"{restorer.name}+"
        self.scale = restorer.scale
        self.fingerprint = restorer.fingerprint
        self._restorer = restorer
        if isinstance(restorer, LumaRestorer):
            self.luma = partial(self._mean, restorer.luma)

    def __call__(self, lr_BChw: Tensor) -> Tensor:
        """Restore RGB; see :class:`srprune.core.restorer.Restorer`."""
        return self._mean(self._restorer, lr_BChw)

    @torch.inference_mode()
    def _mean(self, restore: Restore, lr_BChw: Tensor) -> Tensor:
        *rest, height, width = lr_BChw.shape
        sum_BCHW = lr_BChw.new_zeros(*rest, self.scale * height, self.scale * width)
        for flipped in (False, True):
            for turns in range(4):
                view = lr_BChw.flip(-1) if flipped else lr_BChw
                sr = restore(view.rot90(turns, (-2, -1))).rot90(-turns, (-2, -1))
                sum_BCHW += sr.flip(-1) if flipped else sr
        return sum_BCHW / 8
