"""PatchIndex: which square of which HR image is patch number i."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import Header, digest, read_columns, write_table
from srprune.core.columns import BLOCK, Column, Text, run_starts
from srprune.core.errors import ArtifactError

ALIGNMENT = 12  # least common multiple of the scales 2, 3 and 4: one grid serves all three
_COLUMNS = ("image", "top", "left", "image_height", "image_width", "image_content")


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One HR image of the pool, as stored (RGB, sides cut to multiples of 12).

    Attributes:
        path: path relative to the image folder, with forward slashes.
        height: in px.
        width: in px.
        content: 32 hex digits over the decoded pixels; equal content means equal pixels.
    """

    path: str
    height: int
    width: int
    content: str


@dataclass(frozen=True)
class PatchIndex:
    """All patches of a pool; the row number is the patch id.

    Rows are sorted by image path, then by row, then by column of the window. The file has one
    row a patch: ``image, top, left`` and, equal for all patches of an image, ``image_height,
    image_width, image_content``.

    Attributes:
        size: side of a patch, HR px.
        stride: distance of neighbouring windows, HR px.
        images: the images, sorted by path.
        image_N: (N,) int32, position in ``images``.
        top_N: (N,) int32, HR px.
        left_N: (N,) int32, HR px.
        header: header of the file, once written or read.
    """

    size: int
    stride: int
    images: tuple[ImageRecord, ...]
    image_N: npt.NDArray[np.int32]
    top_N: npt.NDArray[np.int32]
    left_N: npt.NDArray[np.int32]
    header: Header | None = None

    def __len__(self) -> int:
        return len(self.image_N)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the written index."""
        assert self.header is not None, "the index has not been written yet"
        return self.header.fingerprint

    @cached_property
    def pixels(self) -> str:
        """Fingerprint of the pixels behind the index: names, sizes and contents."""
        return digest(*(f"{i.path}\0{i.height}\0{i.width}\0{i.content}" for i in self.images))

    @cached_property
    def patches_per_image(self) -> npt.NDArray[np.int64]:
        """(images,) number of patches of each image."""
        counts = np.zeros(len(self.images), dtype=np.int64)
        for start in range(0, len(self), BLOCK):  # bincount makes int64 of what it is given
            counts += np.bincount(self.image_N[start : start + BLOCK], minlength=len(counts))
        return counts

    @property
    def contents(self) -> dict[str, str]:
        """Content of each image, mapped to its path."""
        return {image.content: image.path for image in self.images}

    def write(
        self, path: Path, *, made: Mapping[str, Any], info: Mapping[str, Any] | None = None
    ) -> PatchIndex:
        """Write the index atomically; return it with its header."""
        starts = run_starts(self.image_N)
        own = [self.images[i] for i in self.image_N[starts].tolist()]  # image of each run
        counts_R = np.diff(np.r_[starts, len(self)])
        columns: dict[str, Column] = {
            "image": Text([image.path for image in own], counts_R),
            "top": self.top_N,
            "left": self.left_N,
            "image_height": np.repeat(np.array([i.height for i in own], np.int32), counts_R),
            "image_width": np.repeat(np.array([i.width for i in own], np.int32), counts_R),
            "image_content": Text([image.content for image in own], counts_R),
        }
        header = write_table(
            path,
            "PatchIndex",
            columns,
            parents={},
            params={"size": self.size, "stride": self.stride},
            made=made,
            info=info,
        )
        return PatchIndex(
            self.size, self.stride, self.images, self.image_N, self.top_N, self.left_N, header
        )

    @classmethod
    def read(cls, path: Path) -> PatchIndex:
        """Read an index.

        Raises:
            MissingArtifact: there is no such file.
            ArtifactError: it is damaged or of another kind.
        """
        header, columns = read_columns(path, "PatchIndex")
        names, contents = columns.get("image"), columns.get("image_content")
        numbers = {k: column for k, column in columns.items() if not isinstance(column, Text)}
        if (
            not isinstance(names, Text)
            or not isinstance(contents, Text)
            or not set(_COLUMNS) - {"image", "image_content"} <= set(numbers)
            or not len(names)
        ):
            raise ArtifactError(f"{path} must have the columns {', '.join(_COLUMNS)} and a row.")
        starts = names.starts
        one_of: dict[int, int] = {}  # a million images have few sides: one object for each
        heights, widths = (
            [one_of.setdefault(side, side) for side in numbers[k][starts].tolist()]
            for k in ("image_height", "image_width")
        )
        of_image = names.values, heights, widths, contents.at(starts)
        return cls(
            size=int(header.params["size"]),
            stride=int(header.params["stride"]),
            images=tuple(map(ImageRecord, *of_image)),
            image_N=np.repeat(np.arange(len(starts), dtype=np.int32), names.counts_R),
            top_N=numbers["top"],
            left_N=numbers["left"],
            header=header,
        )
