"""Job: what an export is given to write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.parallel import in_threads
from srprune.core.progress import Progress
from srprune.exports.blocks import blocks_of
from srprune.exports.patch_files import HR, PatchFiles


@dataclass(frozen=True)
class Job:
    """One core-set on its way into one folder.

    Attributes:
        name: of the core-set.
        ids: (kept,) patch ids, rising.
        columns: facts of the kept patches, (kept,) each, such as ``score``.
        files: the patches as PNG files.
        folder: the empty folder to write into.
        place: the absolute path under which that folder will stand.
        link: whether files that are there already are hard links, where possible.
        workers: threads.
        progress: told after each file or patch.
    """

    name: str
    ids: npt.NDArray[np.int64]
    columns: Mapping[str, npt.NDArray[np.float64]]
    files: PatchFiles
    folder: Path
    place: Path
    link: bool
    workers: int
    progress: Progress

    def facts(self, position: int) -> dict[str, Any]:
        """What is known of one kept patch, as plain values."""
        index, patch = self.files.index, int(self.ids[position])
        return {
            "patch_id": patch,
            "image": index.images[int(index.image_N[patch])].path,
            "top": int(index.top_N[patch]),
            "left": int(index.left_N[patch]),
            **{name: float(column[position]) for name, column in self.columns.items()},
        }

    def lr_names(self) -> dict[int, str]:
        """A word for the LR of each scale: ``lr`` where there is one, else ``lr_x2`` and so on."""
        scales = self.files.scales
        return {s: "lr" if len(scales) == 1 else f"lr_x{s}" for s in scales}

    def write_pngs(self, folders: Mapping[int, str]) -> None:
        """Write the PNG files of all kept patches, HR (scale 1) and LR, into flat folders."""
        for relative in folders.values():
            (self.folder / relative).mkdir(parents=True)
        todo = [(int(patch), scale) for patch in self.ids for scale in folders]

        def write(item: tuple[int, int]) -> None:
            patch, scale = item
            target = self.folder / folders[scale] / self.files.names[patch]
            self.files.place(patch, scale, target, self.link)

        for count, (_, future) in enumerate(in_threads(write, todo, self.workers), start=1):
            future.result()
            self.progress("write patches", count, len(todo))

    def write_blocks(self, form: str) -> None:
        """Write the dataset blocks of a form, such as ``basicsr_x2.yml``."""
        size, scales = self.files.index.size, self.files.scales
        blocks = blocks_of(form, self.place, name=self.name, size=size, scales=scales)
        for file, text in blocks.items():
            (self.folder / file).write_text(text, encoding="utf-8")

    def meta_info(self, scale: int = HR) -> list[str]:
        """Lines of BasicSR's meta_info files: ``0001_s001.png (480,480,3)``, in order of the ids.

        The form is that of ``basicsr/data/meta_info/meta_info_DIV2K800sub_GT.txt``.
        """
        side = self.files.side(scale)
        return [f"{self.files.names[int(patch)]} ({side},{side},3)" for patch in self.ids]
