"""Held-out images of the pool: trained on by nobody, and measured in place of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from srprune.core.errors import InputError
from srprune.core.patches import PatchIndex
from srprune.core.restorer import Restorer
from srprune.core.seeding import generator
from srprune.data.patches import PatchPool
from srprune.evaluation.metrics import PEAK
from srprune.evaluation.protocol import SMALLEST, measure_rgb8

SHARE = 0.1  # of the patches
LEAST = 2  # images: one says nothing of others
MEASURED = 32  # patches that are measured, spread over the images; at least one of each
PROTOCOL = "rgb8@1"
_FLOOR = PEAK**2 * 1e-10  # 100 dB: an image that is restored without a fault has no finite PSNR


@dataclass(frozen=True)
class Split:
    """A pool in two parts that share no image.

    Attributes:
        train_ids: sorted patch ids that core-sets are chosen from.
        images: held-out images, positions in the index, each content once.
        num_held: patches of the held-out images and of their copies.
        measured: image to the patch ids that are measured.
    """

    train_ids: npt.NDArray[np.int64]
    images: tuple[int, ...]
    num_held: int
    measured: Mapping[int, npt.NDArray[np.int64]]


def split(index: PatchIndex, seed: int) -> Split:
    """Hold out whole images with about a tenth of the patches, at least two.

    They are drawn at random as long as they fit; images of equal content stay together. Where two
    images are more than a third of the patches, those with the fewest patches are taken.

    Args:
        index: of the pool.
        seed: of the draw.

    Raises:
        InputError: fewer than three different images.
    """
    contents: dict[str, list[int]] = {}
    for position, record in enumerate(index.images):
        contents.setdefault(record.content, []).append(position)
    groups = list(contents.values())
    if len(groups) <= LEAST:
        different = "one image" if len(groups) == 1 else f"{len(groups)} different images"
        raise InputError(
            f"the pool has {different}; advise holds out {LEAST} and trains on the others. "
            f"Extract patches of at least {LEAST + 1} images; ten or more say something."
        )
    sizes = [int(index.patches_per_image[group].sum()) for group in groups]
    order = generator(seed, "advise.held_out").permutation(len(groups)).tolist()
    if sum(sizes[group] for group in order[:LEAST]) > len(index) / 3:
        order.sort(key=lambda group: sizes[group])
        order = order[:LEAST]
    chosen: list[int] = []
    left = SHARE * len(index)
    for group in order:
        if sizes[group] <= left or len(chosen) < LEAST:
            chosen.append(group)
            left -= sizes[group]
    held = [position for group in chosen for position in groups[group]]
    images = tuple(sorted(groups[group][0] for group in chosen))
    each = max(1, MEASURED // len(images))
    measured = {}
    for image in images:
        ids = np.flatnonzero(index.image_N == image)
        places = np.linspace(0, len(ids) - 1, min(each, len(ids))).round().astype(np.int64)
        measured[image] = ids[places]
    train_ids = np.flatnonzero(~np.isin(index.image_N, held)).astype(np.int64)
    return Split(train_ids, images, len(index) - len(train_ids), measured)


def check_measurable(index: PatchIndex, scale: int) -> None:
    """Refuse patches that are too small for the protocol.

    Raises:
        InputError: they are.
    """
    least = SMALLEST + 2 * scale
    if index.size < least:
        raise InputError(
            f"patches have {index.size} px, but PSNR-Y and SSIM-Y of x{scale} ({PROTOCOL}) take at "
            f"least {least} px a side. Extract larger patches."
        )


def measure(
    restorer: Restorer,
    pool: PatchPool,
    held: Split,
    device: torch.device,
) -> dict[str, float]:
    """PSNR-Y of a restorer on the held-out images.

    Every measured patch is an image of its own under ``rgb8@1``; the figure of an image is that of
    the mean squared error over its measured patches, at most 100 dB.

    Args:
        restorer: the network.
        pool: the patches.
        held: what is held out.
        device: where the restorer is.

    Returns:
        dB by path of the image.
    """
    figures = {}
    for image, ids in held.measured.items():
        errors = []
        for hr_HWC in pool.hr_patches(ids):
            psnr = measure_rgb8(restorer, hr_HWC, device).psnr_y
            errors.append(PEAK**2 * 10 ** (-psnr / 10))
        mse = max(float(np.mean(errors)), _FLOOR)
        figures[pool.index.images[image].path] = 10 * math.log10(PEAK**2 / mse)
    return figures
