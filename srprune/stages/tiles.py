"""Tiles that a router is fitted on: LR of the side that inference cuts, and the HR that belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from srprune.core.artifact import Header
from srprune.core.errors import ImageError, InputError, LeakError
from srprune.core.seeding import hashed
from srprune.data.patches import Ids, PatchPool, Pixels
from srprune.images.benchmarks import Benchmark
from srprune.images.bicubic import downscale
from srprune.images.decode import decode, naming
from srprune.stages.extract import stored

BATCH = 64  # tiles at a time


@dataclass(frozen=True)
class Tiles:
    """Tiles to fit a router on.

    Attributes:
        num: how many.
        facts: where they come from, as plain values.
        batches: reads LR (B, h, w, 3) and HR (B, H, W, 3) uint8, some at a time.
    """

    num: int
    facts: Mapping[str, Any]
    batches: Callable[[], Iterator[tuple[Pixels, Pixels]]] = field(repr=False)


def pool_tiles(
    pool: PatchPool, patch_ids: Ids, tile: int, count: int, seed: int, origin: str = ""
) -> Tiles:
    """Tiles of patches, spread evenly over them, each at a place of its own.

    Args:
        pool: the patches.
        patch_ids: (P,) those to take them from, sorted.
        tile: side, LR px.
        count: how many at most; no more than patches hold side by side.
        seed: of the places.
        origin: what the patches are, for people.

    Raises:
        InputError: tiles larger than patches.
    """
    lr_patch, scale = pool.index.size // pool.scale, pool.scale
    if tile > lr_patch:
        raise InputError(
            f"the tile has {tile} px, but patches have {lr_patch} px at LR. Give --tile {lr_patch} "
            "or less, or extract larger patches."
        )
    num = min(count, len(patch_ids) * (lr_patch // tile) ** 2)
    draw_T = np.arange(num)
    patch_T = patch_ids[draw_T * len(patch_ids) // num]
    bits_T = hashed(seed, "wbsr.tiles", draw_T, patch_T)
    places = np.uint64(lr_patch - tile + 1)
    top_T, left_T = (
        ((bits_T >> np.uint64(shift) & np.uint64(0xFFFFFF)) * places >> np.uint64(24)).astype(int)
        for shift in (0, 24)
    )

    def batches() -> Iterator[tuple[Pixels, Pixels]]:
        for first in range(0, num, BATCH):
            corners = [
                (int(patch_T[i]), int(top_T[i]), int(left_T[i]))
                for i in range(first, min(first + BATCH, num))
            ]
            yield (
                np.stack([pool.lr_crop(*corner, tile) for corner in corners]),
                np.stack(
                    [
                        pool.hr_crop(patch, top * scale, left * scale, tile * scale)
                        for patch, top, left in corners
                    ]
                ),
            )

    return Tiles(num, {"tile": tile, "num_tiles": num, "set": origin or "patches"}, batches)


def folder_tiles(
    images: Benchmark,
    scale: int,
    tile: int,
    count: int,
    seed: int = 0,
    trained: Header | None = None,
) -> Tiles:
    """Tiles of images that nobody trained on, spread evenly over them; LR is made by bicubic.

    Args:
        images: HR images.
        scale: 2, 3 or 4.
        tile: side, LR px.
        count: how many at most; no more than the images hold side by side.
        seed: of the places, and of the images, where there are fewer tiles.
        trained: header of weights that must not know the images.

    Raises:
        ImageError: one cannot be decoded, or is smaller than a tile.
        LeakError: the weights were trained on one.
    """
    known = trained.info.get("training_images", {}) if trained else {}
    each, more = divmod(count, len(images.images))
    shuffled = np.argsort(hashed(seed, "wbsr.images", np.arange(len(images.images))))
    contents: dict[str, str] = {}
    tiles: list[tuple[Pixels, Pixels]] = []
    for number in sorted(shuffled[: None if each else more].tolist()):
        name = images.images[number]
        path = images.folder / name
        with naming(path):
            hr_HWC, content = stored(decode(path))
        if content in known:
            raise LeakError(
                f"{path} is also a training image ({known[content]}, the same pixels). Give other "
                "images, or leave --validation out."
            )
        contents[content] = name
        lr_hwC = downscale(hr_HWC, scale)
        rows, columns = lr_hwC.shape[0] // tile, lr_hwC.shape[1] // tile
        if not rows * columns:
            raise ImageError(
                f"{path} has {lr_hwC.shape[1]}x{lr_hwC.shape[0]} px at LR, less than a tile of "
                f"{tile} px. Give larger images, or a smaller --tile."
            )
        places = np.argsort(hashed(seed, "wbsr.tiles", number, np.arange(rows * columns)))
        for place in sorted(places[: each + (number in shuffled[:more])].tolist()):
            top, left = (corner * tile for corner in divmod(place, columns))
            end = (
                slice(top * scale, (top + tile) * scale),
                slice(left * scale, (left + tile) * scale),
            )
            # copies: a view would keep the whole image
            tiles.append((lr_hwC[top : top + tile, left : left + tile].copy(), hr_HWC[end].copy()))

    def batches() -> Iterator[tuple[Pixels, Pixels]]:
        for first in range(0, len(tiles), BATCH):
            lr, hr = zip(*tiles[first : first + BATCH], strict=True)
            yield np.stack(lr), np.stack(hr)

    facts = {"tile": tile, "num_tiles": len(tiles), "set": images.title, "images": contents}
    return Tiles(len(tiles), facts, batches)
