"""From the pixels of LR and HR to a map of what is wrong: restorers and a measure together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from srprune.core.restorer import LumaRestorer, Restorer
from srprune.data.patches import Pixels
from srprune.images.tensor import from_uint8, rgb_to_y
from srprune.models.restorer import REDUCED, NetworkRestorer
from srprune.scoring.clock import Clock
from srprune.scoring.measures import Measure


class ErrorMapper:
    """Maps of a measure, for any crop of an image.

    A network on Y is measured on Y, one on RGB on RGB; of several, all on Y if one of them is.
    Bicubic is measured on Y.

    Attributes:
        channels: ``y`` or ``rgb``.
        device: where maps are made.
        clock: told where the time goes.
    """

    def __init__(
        self,
        measure: Measure,
        restorers: Sequence[Restorer],
        device: torch.device,
        clock: Clock | None = None,
    ) -> None:
        """Measure ``restorers``, whose networks are on ``device``."""
        self.measure = measure
        self.device = device
        self.clock = clock or Clock()
        self._restorers = list(restorers)
        self.channels = "y" if any(isinstance(r, LumaRestorer) for r in restorers) else "rgb"

    @torch.inference_mode()
    def __call__(self, lr_BhwC: Pixels, hr_BHWC: Pixels) -> Tensor:
        """The map of each crop, (B, H, W) float on the device; crops are uint8."""
        with self.clock.part("pixels", self.device):
            lr, hr = (from_uint8(each, self.device) for each in (lr_BhwC, hr_BHWC))
            hr = rgb_to_y(hr) if self.channels == "y" else hr
        sr = list(self._answers(lr))
        with self.clock.part("reduce", self.device):
            return self.measure.map(sr, hr).float()

    def _answers(self, lr_B3hw: Tensor) -> Iterator[Tensor]:
        """SR of each restorer; of a single one eight times, if the measure wants that."""
        if not self.measure.turns or len(self._restorers) > 1:
            for restorer in self._restorers:
                yield self._restored(restorer, lr_B3hw)
            return
        (restorer,) = self._restorers
        for flipped in (False, True):
            view = lr_B3hw.flip(-1) if flipped else lr_B3hw
            for turns in range(4):
                sr = self._restored(restorer, view.rot90(turns, (-2, -1))).rot90(-turns, (-2, -1))
                yield sr.flip(-1) if flipped else sr

    def _restored(self, restorer: Restorer, lr_B3hw: Tensor) -> Tensor:
        if not isinstance(restorer, NetworkRestorer):
            assert isinstance(restorer, LumaRestorer)  # bicubic
            with self.clock.part("bicubic", self.device):
                return restorer.luma(rgb_to_y(lr_B3hw))
        with self.clock.part("bicubic", self.device):
            x_BChw = _channels_last(restorer.domain.input(lr_B3hw))
        with self.clock.part("network", self.device):
            reduced = REDUCED.get(restorer.precision)
            with torch.autocast(self.device.type, reduced) if reduced else nullcontext():
                sr_BCHW: Tensor = restorer.network(x_BChw).float()
        if self.channels == "y" and restorer.domain.channels == "rgb":
            return rgb_to_y(sr_BCHW)
        return sr_BCHW


def _channels_last(x_BCHW: Tensor) -> Tensor:
    """The same values with strides that say channels last, even of a single channel.

    Torch asks the strides which way to compute; of one channel both say the same bytes. It makes
    convolutions on CPUs up to twice as fast.
    """
    height, width = x_BCHW.shape[2:]
    if x_BCHW.shape[1] > 1:
        return x_BCHW.contiguous(memory_format=torch.channels_last)
    return x_BCHW.contiguous().as_strided(x_BCHW.shape, (height * width, 1, width, 1))
