"""DistilledSet: the images that were synthesised, and where each comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import Header, read_table, write_table
from srprune.core.errors import (
    ArtifactError,
    ArtifactMismatch,
    ImageError,
    MissingArtifact,
    UserError,
)
from srprune.core.patches import PatchIndex
from srprune.core.workspace import Workspace
from srprune.images.decode import SUFFIXES, as_rgb, content_of, decode, list_images
from srprune.images.pixels import open_pixels

KIND = "DistilledSet"
IMAGES = "images"  # folder of the images
OWN = re.compile(r"\d{5,}_c\d+\.png")  # names of its images
TABLE = "images.parquet"
AGAIN = "Run 'srprune distill synthesise' with --restart to make the set again."
FROM_IMAGES = (
    "Give the command that synthesised the set again: it keeps the images and makes both from them."
)
REPLACE = (  # of a folder that a run, a study or a command of its own may have made
    "Choose another --workspace, or delete the folder; or, with distill finetune and synthesise, "
    "another --name, or --restart to replace it; or, with study, --edited."
)


class Sample(NamedTuple):
    """A synthesised image.

    Attributes:
        image: its file, below ``images/``.
        category: that was asked for.
        number: which image of its category, counted from 0 with those that were rejected; seed,
            category and number decide the noise that it was made from.
        content: 32 hex digits over its pixels, as in a patch index.
        patch_id: the training patch of the best PSNR, a near-copy before others, among those whose
            thumbnails are most like the image's.
        mirrored: whether that patch was mirrored for it.
        correlation: of the thumbnails of these two.
        psnr_db: of one against the other, RGB; infinite for a true copy.
        near_copy: whether that is a near-copy.
        thumb_id: the training patch of the highest correlation of thumbnails; None, as the next
            two, in a table that was written before it was kept.
        thumb_mirrored: whether that patch was mirrored for it.
        thumb_correlation: the highest correlation.
    """

    image: str
    category: int
    number: int
    content: str
    patch_id: int
    mirrored: bool
    correlation: float
    psnr_db: float
    near_copy: bool
    thumb_id: int | None = None
    thumb_mirrored: bool | None = None
    thumb_correlation: float | None = None

    @property
    def highest_correlation(self) -> float:
        """With any training patch; of an older table, with the one of the best PSNR."""
        return self.correlation if self.thumb_correlation is None else self.thumb_correlation


_DTYPES: dict[str, str] = {
    "image": "O",
    "category": "int32",
    "number": "int64",
    "content": "O",
    "patch_id": "int64",
    "mirrored": "bool",
    "correlation": "float64",
    "psnr_db": "float64",
    "near_copy": "bool",
    "thumb_id": "int64",
    "thumb_mirrored": "bool",
    "thumb_correlation": "float64",
}
_LATER = ("thumb_id", "thumb_mirrored", "thumb_correlation")  # older tables have none of them


@dataclass(frozen=True)
class DistilledSet:
    """All images of a synthesised set.

    Attributes:
        folder: where they are, a workspace of its own.
        samples: sorted by file name.
        header: ``params`` hold the settings of the synthesis, the side of the images (``size``),
            how many each category was asked for (``counts``) and what was ``rejected``;
            ``parents`` the patch index (``patches``), the ``generator`` and what else it was made
            from; ``info`` the ``seconds`` that drawing took, those of all calls.
    """

    folder: Path
    samples: tuple[Sample, ...]
    header: Header

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the table."""
        return self.header.fingerprint

    @property
    def categories(self) -> npt.NDArray[np.int32]:
        """(N,) category of each image."""
        return np.array([sample.category for sample in self.samples], dtype=np.int32)

    @property
    def near_copies(self) -> list[Sample]:
        """The images that are near-copies of a training patch."""
        return [sample for sample in self.samples if sample.near_copy]

    @classmethod
    def write(
        cls,
        folder: Path,
        samples: Sequence[Sample],
        *,
        parents: Mapping[str, str],
        params: Mapping[str, Any],
        made: Mapping[str, Any],
        info: Mapping[str, Any] | None = None,
    ) -> DistilledSet:
        """Write the table of a folder atomically."""
        ordered = tuple(sorted(samples))
        columns = {
            name: np.array([getattr(sample, name) for sample in ordered], dtype=dtype)
            for name, dtype in _DTYPES.items()
        }
        header = write_table(
            folder / TABLE, KIND, columns, parents=parents, params=params, made=made, info=info
        )
        return cls(folder, ordered, header)

    @classmethod
    def read(cls, folder: Path) -> DistilledSet:
        """Read the table of a folder; the images are not looked at.

        Raises:
            MissingArtifact: there is none.
            ArtifactError: it is damaged or of another kind.
        """
        path = folder / TABLE
        try:
            header, columns = read_table(path, KIND)
        except ArtifactError as error:
            raise ArtifactError(f"{error} {AGAIN}") from None
        names = list(_DTYPES)
        if not any(name in columns for name in _LATER):
            names = names[: -len(_LATER)]
        if not all(name in columns and _fits(columns[name], name) for name in names):
            raise ArtifactError(f"{path} must have the columns {', '.join(_DTYPES)}. {AGAIN}")
        rows = zip(*(columns[name].tolist() for name in names), strict=True)
        samples = tuple(Sample(*row) for row in rows)
        images = [sample.image for sample in samples]
        if not images or images != sorted(set(images)):
            raise ArtifactError(
                f"{path} must name each image once, sorted, and at least one. {AGAIN}"
            )
        return cls(folder, samples, header)


def _fits(column: npt.NDArray[Any], name: str) -> bool:
    """Whether a column that was read is of the kind that was written."""
    dtype = np.dtype(_DTYPES[name])
    return column.dtype.kind in "OU" if dtype.kind == "O" else column.dtype == dtype


def check_folder(folder: Path) -> DistilledSet:
    """Read a synthesised set that shall be trained on, and compare all of it with what was made.

    Raises:
        MissingArtifact: there is no such set; or no whole patch index of it, or no pixels.
        ArtifactError: an image is missing, was added or changed; the message names it.
        ArtifactMismatch: the patch index is of other images.
    """
    distilled = check_made(folder)
    place = Workspace(folder)
    try:
        index = PatchIndex.read(place.patches)
        shapes = [(image.height, image.width) for image in index.images]
        open_pixels(place.hr_pixels, index.pixels, shapes, [image.path for image in index.images])
    except (MissingArtifact, ArtifactError) as error:
        raise MissingArtifact(
            f"the patch index or the pixels of the synthesised set {folder} are not there, or "
            f"damaged. {FROM_IMAGES}"
        ) from error
    if {image.path: image.content for image in index.images} != {
        sample.image: sample.content for sample in distilled.samples
    }:
        raise ArtifactMismatch(
            f"{place.patches} is not the index of the images beside it. {FROM_IMAGES}"
        )
    return distilled


def check_made(folder: Path) -> DistilledSet:
    """Read a synthesised set and compare every image with what was made.

    Raises:
        MissingArtifact: there is no such set.
        ArtifactError: an image is missing, was added or changed; the message names it.
    """
    distilled = DistilledSet.read(folder)
    check_images(folder, distilled.samples)
    check_added(folder, distilled.samples)
    return distilled


def check_images(folder: Path, samples: Sequence[Sample]) -> None:
    """Compare the pixels of images with what was written.

    Args:
        folder: of the set.
        samples: those that must be there.

    Raises:
        ArtifactError: an image is missing or was changed; the message names it.
    """
    for sample in samples:
        path = folder / IMAGES / sample.image
        try:
            found = content_of(as_rgb(decode(path)))
        except ImageError as error:
            raise ArtifactError(f"the synthesised image {path} {error}. {AGAIN}") from None
        if found != sample.content:
            raise ArtifactError(
                f"the synthesised image {path} was changed after it was made. {AGAIN}"
            )


def check_added(folder: Path, samples: Sequence[Sample]) -> None:
    """Refuse images that nobody synthesised.

    Args:
        folder: of the set.
        samples: all that may be there.

    Raises:
        ArtifactError: there is another one; the message names it.
    """
    images = folder / IMAGES
    try:
        there = list_images(images)
    except UserError as error:
        raise ArtifactError(f"{images} is not as it was synthesised: {error} {AGAIN}") from None
    _refuse(images, sorted(set(there) - {sample.image for sample in samples}))


def check_others(folder: Path) -> None:
    """Refuse images that no synthesis can have written, as their names tell.

    Args:
        folder: of a set that is not whole, or is to be thrown away.

    Raises:
        ArtifactError: there is one; the message names it.
    """
    images = folder / IMAGES
    there = (path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES)
    names = sorted(path.relative_to(images).as_posix() for path in there)
    _refuse(images, [name for name in names if not OWN.fullmatch(name) and name[0] != "."])


def _refuse(images: Path, added: Sequence[str]) -> None:
    if added:
        raise ArtifactError(
            f"{images / added[0]} was not synthesised; of such images there "
            f"{'is 1' if len(added) == 1 else f'are {len(added)}'}. Keep them in a folder of their "
            "own."
        )
