"""Whether the rim that a network states is what the padding at an image's sides spoils."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def check_rim(
    network: Any,
    scale: int,
    image_NCHW: Tensor,
    tile: tuple[int, int, int, int],
    *,
    same: float,
    spoiled: float,
) -> None:
    """Restore a tile alone and within its image: they agree inside the rim, and not one LR px out.

    Args:
        network: a network of one channel in double precision.
        scale: 2, 3 or 4.
        image_NCHW: (1, 1, H, W), larger than the tile by more than the rim on each side.
        tile: top, left, height and width, LR px.
        same: inside the rim no value differs by more.
        spoiled: within a rim that is smaller by one LR px some value differs by more.
    """
    rim = network.rim
    top, left, height, width = tile
    with torch.inference_mode():
        alone = network(image_NCHW[:, :, top : top + height, left : left + width])
        within = network(image_NCHW)[
            :, :, top * scale : (top + height) * scale, left * scale : (left + width) * scale
        ]
    apart = (alone - within).abs()[0, 0]
    assert 2 * rim < min(apart.shape)
    assert apart[rim:-rim, rim:-rim].max() < same
    less = rim - scale
    assert apart[less:-less, less:-less].max() > spoiled
