"""Features of a network of ours: what it has found in LR just before it draws SR.

The input of the network's last layer, pooled over the patch: mean and standard deviation of each
map. Ours, for those who have no weights of CLIP: a scoring model will do.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from srprune.core.errors import InputError
from srprune.core.features import Features
from srprune.data.patches import Ids, PatchPool
from srprune.images.tensor import from_uint8
from srprune.models.network import Network
from srprune.models.restorer import NetworkRestorer


class NetworkFeatures:
    """Mean and standard deviation of the maps before a network's last layer.

    Attributes:
        names: ``mean_0`` and so on, then ``std_0`` and so on.
        parents: fingerprint of the network.
        divided: maps have scales of their own, so k-means divides features by their spread.
        batch: patches at a time.
    """

    divided = True
    batch = 4  # on CPUs small batches stay in the cache and win

    def __init__(self, restorer: NetworkRestorer, device: torch.device) -> None:
        """Look into a network.

        Args:
            restorer: the network, on ``device``.
            device: that it works on.

        Raises:
            InputError: it is none of ours, so that nobody knows its last layer.
        """
        if not isinstance(restorer.network, Network):
            raise InputError(
                f"{restorer.name} is no network of srprune, so its last layer is not known. "
                "Give --weights a run or a scoring model, or --features descriptor."
            )
        self._restorer, self._network, self._device = restorer, restorer.network, device
        self.parents = {"network": restorer.fingerprint}
        side = restorer.minimum
        maps = self._pooled(torch.zeros(1, 3, side, side, device=device)).shape[1] // 2
        self.names = tuple(f"{what}_{number}" for what in ("mean", "std") for number in range(maps))

    def __call__(self, ids: Ids, pool: PatchPool) -> Features:
        """(B, D) float32, of LR at the network's scale."""
        lr_BhwC = np.ascontiguousarray(pool.lr_patches(ids))
        found: Features = self._pooled(from_uint8(lr_BhwC, self._device)).cpu().numpy()
        return found

    def _pooled(self, lr_BChw: Tensor) -> Tensor:
        """(B, 2 C) of an RGB batch."""
        seen: list[Tensor] = []

        def look(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            seen.append(given[0])

        last = self._network.get_submodule(self._network.last_layer)
        hook = last.register_forward_pre_hook(look)
        try:
            self._restorer(lr_BChw)
        finally:
            hook.remove()
        (maps_BChw,) = seen
        mean_BC, std_BC = maps_BChw.mean(dim=(2, 3)), maps_BChw.std(dim=(2, 3), correction=0)
        return torch.cat([mean_BC, std_BC], dim=1)


network_features = NetworkFeatures
