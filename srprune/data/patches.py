"""PatchPool: the HR and LR pixels of patches, by patch id."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srprune.core.patches import PatchIndex
from srprune.images.store import PixelStore

Ids = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


class PatchPool:
    """Patches of one index with their LR twins at one scale.

    LR patches are cut from the LR of the whole image, on the same grid divided by the scale.
    """

    def __init__(
        self, index: PatchIndex, hr: PixelStore, lr: PixelStore | None, scale: int
    ) -> None:
        """Join an index with its pixels; without ``lr`` there are HR patches only."""
        self.index = index
        self.scale = scale
        self._hr, self._lr = hr, lr

    @property
    def hr_store(self) -> PixelStore:
        """HR images of the index."""
        return self._hr

    @property
    def lr_store(self) -> PixelStore:
        """LR images of the index."""
        assert self._lr is not None, "this pool was opened without LR"
        return self._lr

    def __len__(self) -> int:
        return len(self.index)

    def hr_patches(self, ids: Ids) -> Pixels:
        """(B, size, size, 3) uint8 HR patches."""
        return np.stack([self.hr_crop(int(i), 0, 0, self.index.size) for i in ids])

    def lr_patches(self, ids: Ids) -> Pixels:
        """(B, size/scale, size/scale, 3) uint8 LR patches."""
        side = self.index.size // self.scale
        return np.stack([self.lr_crop(int(i), 0, 0, side) for i in ids])

    def hr_crop(self, patch: int, top: int, left: int, size: int) -> Pixels:
        """(size, size, 3) view of a patch; ``top`` and ``left`` in HR px of the patch."""
        index = self.index
        return self._hr.crop(
            int(index.image_N[patch]),
            int(index.top_N[patch]) + top,
            int(index.left_N[patch]) + left,
            size,
        )

    def lr_crop(self, patch: int, top: int, left: int, size: int) -> Pixels:
        """(size, size, 3) view of a patch's LR; ``top`` and ``left`` in LR px of the patch."""
        index = self.index
        return self.lr_store.crop(
            int(index.image_N[patch]),
            int(index.top_N[patch]) // self.scale + top,
            int(index.left_N[patch]) // self.scale + left,
            size,
        )
