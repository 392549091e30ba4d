"""Pictures of equal size side by side, such as the samples of a diffusion model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from srprune.core.artifact import atomic_path

GAP = 4  # px between two pictures
PAPER = 255


def write_grid(path: Path, images_NHW3: npt.NDArray[np.uint8], columns: int) -> None:
    """Write a PNG, row by row, atomically.

    Args:
        path: of the PNG.
        images_NHW3: uint8 RGB, at least one.
        columns: pictures in a row.

    Raises:
        StorageError: the file cannot be written.
    """
    number, height, width, _ = images_NHW3.shape
    rows = -(-number // columns)
    sheet = np.full(
        (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), PAPER, dtype=np.uint8
    )
    for place, image in enumerate(images_NHW3):
        top, left = place // columns * (height + GAP), place % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    with atomic_path(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")
