"""A picture of what a trained network does: bicubic, SR and HR beside each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from srprune.core.artifact import atomic_path
from srprune.core.errors import MissingDependency
from srprune.core.restorer import Restorer
from srprune.evaluation.protocol import Pixels
from srprune.images import bicubic
from srprune.images.benchmarks import Benchmark
from srprune.images.decode import as_rgb, decode
from srprune.images.tensor import from_uint8
from srprune.models.restorer import BicubicRestorer

SIDE = 192  # HR px of a crop, a multiple of every scale
IMAGES = 4


def write_preview(
    restorer: Restorer, benchmark: Benchmark, path: Path, device: torch.device
) -> None:
    """Write a PNG with a row an image: the middle of bicubic, of SR and of HR.

    Args:
        restorer: the network.
        benchmark: its first four images are shown.
        path: the file.
        device: where the restorer is.

    Raises:
        MissingDependency: torchvision is not there, or was built for another torch.
    """
    try:
        from torchvision.utils import make_grid, save_image
    except Exception as error:  # a torchvision of another torch fails in many ways
        first = str(error).splitlines()[0]
        raise MissingDependency(
            f"the preview needs a torchvision that suits this torch ({first}). Install the pair: "
            "pip install --upgrade torch torchvision."
        ) from error
    cells = []
    plain = BicubicRestorer(restorer.scale)
    for name in benchmark.images[:IMAGES]:
        hr = _middle(as_rgb(decode(benchmark.folder / name)))
        lr_B3hw = from_uint8(bicubic.downscale(hr, restorer.scale)[None], device)
        with torch.inference_mode():
            images = [plain(lr_B3hw), restorer(lr_B3hw)]
        cells += [image[0].cpu().clamp(0, 1) for image in images]
        cells.append(from_uint8(hr[None])[0])
    with atomic_path(path) as temporary:
        save_image(make_grid(cells, nrow=3, padding=4, pad_value=1.0), temporary, format="png")


def _middle(hr: Pixels) -> Pixels:
    """The middle of an image, mirrored at its edges where it is smaller than a cell."""
    gaps = [max(0, SIDE - side) for side in hr.shape[:2]]
    hr = np.pad(hr, [(gap // 2, gap - gap // 2) for gap in gaps] + [(0, 0)], mode="symmetric")
    top, left = ((side - SIDE) // 2 for side in hr.shape[:2])
    return np.ascontiguousarray(hr[top : top + SIDE, left : left + SIDE])
