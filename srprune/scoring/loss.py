"""The paper's score: the MSE of a restorer's reconstruction of a patch (Moser et al. 2024).

``l_i = MSE(M(x_i), y_i)`` with pixels in [0, 1], each patch alone: its LR is cut from the LR of the
image, enlarged and padded as if nothing were around it. A network on Y is scored on Y, one on RGB
on RGB; nothing is rounded or clipped.

By default the rim that zero padding and the bicubic border spoil is left out. With it the score
measures brightness: a white, flat patch meets black padding and becomes the "hardest" of all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from srprune.core.restorer import LumaRestorer, Restorer
from srprune.data.patches import Ids, PatchPool, Pixels
from srprune.images.tensor import rgb_to_y


class ReconstructionMse:
    """Scores patches by the MSE of a restorer."""

    def __init__(self, restorer: Restorer, device: torch.device, rim: int) -> None:
        """Score with ``restorer``, whose network is on ``device``, leaving out ``rim`` HR px."""
        self._restorer, self._device, self._rim = restorer, device, rim

    @torch.inference_mode()
    def __call__(self, ids: Ids, pool: PatchPool) -> npt.NDArray[np.float64]:
        """(B,) float64 MSE of each patch."""
        lr, hr = self._tensor(pool.lr_patches(ids)), self._tensor(pool.hr_patches(ids))
        if isinstance(self._restorer, LumaRestorer):
            sr, hr = self._restorer.luma(rgb_to_y(lr)), rgb_to_y(hr)
        else:
            sr = self._restorer(lr)
        inner = slice(self._rim, -self._rim or None)
        squares_BN = (sr - hr)[:, :, inner, inner].square().flatten(1)
        if self._device.type == "mps":  # has no float64
            squares_BN = squares_BN.cpu()
        # float64 sums do not depend on the order, so neither on batch nor on device
        return squares_BN.mean(dim=1, dtype=torch.float64).cpu().numpy()

    def _tensor(self, pixels_BHWC: Pixels) -> Tensor:
        pixels = torch.from_numpy(pixels_BHWC).to(self._device)
        return pixels.permute(0, 3, 1, 2).float().div_(255)
