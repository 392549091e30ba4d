"""Sub-images that somebody else has cut: every file is one patch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from srprune.core.errors import ImageError, InputError, StorageError
from srprune.core.parallel import in_threads
from srprune.core.patches import ALIGNMENT
from srprune.core.progress import Progress, silent
from srprune.images.decode import SUFFIXES, list_images, read_shape

Shape = tuple[int, int]


@dataclass(frozen=True)
class SubImages:
    """Files of equal, square size.

    Attributes:
        names: paths relative to their folder, in the order of the patches.
        size: their side, px; a multiple of 12.
    """

    names: Sequence[str]
    size: int


def sub_images_of_folder(
    folder: Path, *, workers: int = 1, progress: Progress = silent
) -> SubImages:
    """All images below a folder, sorted by name.

    Raises:
        InputError: no folder, no images, or files that are not of one square size.
    """
    names = list_images(folder)
    return SubImages(names, _one_size(folder, _shapes(folder, names, workers, progress)))


def sub_images_of_meta_info(
    folder: Path, meta_info: Path, *, workers: int = 1, progress: Progress = silent
) -> SubImages:
    """The files that a meta_info file of BasicSR lists, in its order.

    A line is ``0001_s001.png (480,480,3)``. As in ``basicsr/data/data_util.py``, the name ends at
    the first space; a size that follows must be that of the file.

    Raises:
        InputError: no such file, a line that names no image of the folder, a name that comes
            twice, or files that are not of one square size.
        StorageError: the file may not be read.
    """
    there = set(list_images(folder))
    try:
        lines = meta_info.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"there is no file {meta_info}.") from None
    except IsADirectoryError:
        raise InputError(f"{meta_info} is a folder; a meta_info file was expected.") from None
    except PermissionError:
        raise StorageError(f"no permission to read {meta_info}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{meta_info} is no text file (UTF-8).") from None
    rows: dict[str, int] = {}
    said: dict[str, Shape] = {}
    for row, line in enumerate(lines, start=1):
        name, _, rest = line.partition(" ")
        if not name:
            raise InputError(f"{meta_info}, line {row}: there is no file name. Remove the line.")
        if name in rows:
            raise InputError(f"{meta_info}, line {row}: {name} is in line {rows[name]} already.")
        if name not in there:
            raise InputError(
                f"{meta_info}, line {row}: {name} is no image in {folder} "
                f"({', '.join(SUFFIXES)}; a name ends at the first space)."
            )
        rows[name] = row
        if size := re.match(r"\((\d+), ?(\d+)(?:, ?\d+)?\)", rest.strip()):
            said[name] = int(size[1]), int(size[2])
    if not rows:
        raise InputError(f"{meta_info} lists no file.")
    shapes = _shapes(folder, list(rows), workers, progress)
    for name, (height, width) in said.items():
        if name in shapes and shapes[name] != (height, width):
            found = shapes[name]
            raise InputError(
                f"{meta_info}, line {rows[name]}: {name} should have {width}x{height} px, but the "
                f"file has {found[1]}x{found[0]}. Name the folder that the list was made for."
            )
    return SubImages(list(rows), _one_size(folder, shapes))


def _shapes(
    folder: Path, names: Sequence[str], workers: int, progress: Progress
) -> dict[str, Shape]:
    """Height and width of each file that can be read; the others are for ``extract`` to name."""
    shapes: dict[str, Shape] = {}
    looked = in_threads(lambda name: read_shape(folder / name), names, workers)
    for count, (name, future) in enumerate(looked, start=1):
        error = future.exception()
        if error is None:
            shapes[name] = future.result()
        elif not isinstance(error, ImageError):
            raise error
        progress("look at sub-images", count, len(names))
    return {name: shapes[name] for name in names if name in shapes}


def _one_size(folder: Path, shapes: Mapping[str, Shape]) -> int:
    """The side of all files."""
    if not shapes:
        return ALIGNMENT  # none can be read: extract says so of each
    sizes = Counter(shapes.values())
    height, width = sizes.most_common(1)[0][0]
    if len(sizes) > 1:
        other = next(name for name, shape in shapes.items() if shape != (height, width))
        raise InputError(
            f"{folder} holds files of {len(sizes)} sizes: {sizes[height, width]} of "
            f"{width}x{height} px, but {other} has {shapes[other][1]}x{shapes[other][0]}. "
            "Sub-images are of one size; leave --from out to cut whole images."
        )
    if height != width or height % ALIGNMENT:
        raise InputError(
            f"the files in {folder} have {width}x{height} px; sub-images are square, with a side "
            f"that is a multiple of {ALIGNMENT}, so that they fit scales 2, 3 and 4 alike. Leave "
            "--from out to cut whole images."
        )
    return height
