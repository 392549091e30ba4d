"""PatchFiles: each patch as a PNG file, taken from where it is already, else encoded."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from srprune.core.patches import PatchIndex
from srprune.data.patches import PatchPool

Pixels = npt.NDArray[np.uint8]

HR = 1  # the HR patches, where others are named by their scale
LEVEL = 3  # of PNG compression, as BasicSR's extract_subimages.py writes


@dataclass(frozen=True)
class PatchFiles:
    """The patches of an index as PNG files.

    Attributes:
        index: the patches.
        names: (N,) file name of each patch, the same for HR and LR.
        pools: pixels by scale; HR is in all of them.
        there: folders by scale in which some of the files may be already.
    """

    index: PatchIndex
    names: Sequence[str]
    pools: Mapping[int, PatchPool]
    there: Mapping[int, Sequence[Path]]

    @property
    def scales(self) -> list[int]:
        """Scales of the LR patches, rising."""
        return sorted(self.pools)

    def side(self, scale: int) -> int:
        """Side of a patch at a scale (1 for HR), px."""
        return self.index.size // scale

    def pixels(self, patch: int, scale: int) -> Pixels:
        """(side, side, 3) uint8 view of a patch; scale 1 for HR."""
        if scale == HR:
            return next(iter(self.pools.values())).hr_crop(patch, 0, 0, self.side(HR))
        return self.pools[scale].lr_crop(patch, 0, 0, self.side(scale))

    def png(self, patch: int, scale: int) -> bytes:
        """The PNG file of a patch."""
        found = self._found(patch, scale)
        if found is not None:
            return found.read_bytes()
        # a real file, since Pillow holds the interpreter lock while it writes to memory
        with tempfile.TemporaryFile() as file:
            Image.fromarray(self.pixels(patch, scale)).save(
                file, format="PNG", compress_level=LEVEL
            )
            file.seek(0)
            return file.read()

    def place(self, patch: int, scale: int, target: Path, link: bool) -> None:
        """Make the PNG file of a patch at ``target``; with ``link``, by a hard link if possible."""
        found = self._found(patch, scale)
        if found is None:
            Image.fromarray(self.pixels(patch, scale)).save(
                target, format="PNG", compress_level=LEVEL
            )
            return
        if link:
            # another file system, or too many links to one file: then it is copied
            with contextlib.suppress(OSError):
                os.link(found, target)
                return
        shutil.copyfile(found, target)

    def is_there(self, patch: int, scale: int) -> bool:
        """Whether a file of this name is there; its pixels are not looked at."""
        return any(path.is_file() for path in self._candidates(patch, scale))

    def num_bytes(self, patch: int, scale: int) -> int:
        """Size of the PNG file of a patch; encoded for that where there is none."""
        for path in self._candidates(patch, scale):
            with contextlib.suppress(OSError):
                return path.stat().st_size
        return len(self.png(patch, scale))

    def _candidates(self, patch: int, scale: int) -> list[Path]:
        return [folder / self.names[patch] for folder in self.there.get(scale, ())]

    def _found(self, patch: int, scale: int) -> Path | None:
        """A file that is there already and holds exactly this patch and nothing else."""
        candidates = [path for path in self._candidates(patch, scale) if path.is_file()]
        if not candidates:
            return None
        pixels = self.pixels(patch, scale)
        return next((path for path in candidates if _holds(path, pixels)), None)


def _holds(path: Path, pixels: Pixels) -> bool:
    """Whether a file is a plain PNG, without a colour profile or texts, of these pixels."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            plain = image.mode == "RGB" and not image.info
            return plain and np.array_equal(np.asarray(image), pixels)
    # Pillow's decoders raise nearly anything on damaged data
    except Exception:
        return False
