"""extract: a folder of HR images becomes a patch index over a store of decoded pixels."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from srprune.core.artifact import atomic_path, digest, write_text
from srprune.core.errors import ImageError, InputError, MissingArtifact, UserError
from srprune.core.leftovers import sweep
from srprune.core.lock import exclusive
from srprune.core.parallel import in_threads
from srprune.core.patches import ALIGNMENT, ImageRecord, PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.workspace import Workspace
from srprune.images.benchmarks import PHOTOS, PHOTOS_TRAIN, photos_folder
from srprune.images.bicubic import modcrop
from srprune.images.decode import as_rgb, content_of, decode, list_images, read_shape
from srprune.images.grid import aligned, check_grid, grid
from srprune.images.packed_store import PackedStore
from srprune.images.pixels import (
    build_pixels,
    discard_part,
    finish_pixels,
    open_pixels,
    remove_pixels,
)
from srprune.images.store import PixelStore, Shape

if TYPE_CHECKING:  # pydantic takes as long to load as all of select
    from srprune.core.config import ExtractConfig


@dataclass(frozen=True)
class ImageSource:
    """HR images of a pool.

    Attributes:
        folder: where they are.
        names: paths relative to ``folder``, in the order of the index; sorted as a rule.
        files: the paths of the files, where those are called otherwise than their images.
    """

    folder: Path
    names: Sequence[str]
    files: Sequence[str] | None = None

    @classmethod
    def find(cls, images: str) -> ImageSource:
        """A folder, or ``photos`` for the training photographs inside scikit-image.

        Raises:
            InputError: no such folder, or no image in it.
        """
        if images == PHOTOS:
            return cls(photos_folder(), PHOTOS_TRAIN)
        return cls(Path(images), list_images(Path(images)))

    def path(self, i: int) -> Path:
        """The file of image i."""
        return self.folder / (self.names if self.files is None else self.files)[i]

    def fingerprint(self) -> str:
        """Over names, sizes and dates of the files: cheap, and enough to see a change."""
        stats = [self.path(i).stat() for i in range(len(self.names))]
        return digest(
            *(f"{n}\0{s.st_size}\0{s.st_mtime_ns}" for n, s in zip(self.names, stats, strict=True))
        )


def extract(
    source: ImageSource,
    config: ExtractConfig,
    workspace: Workspace,
    *,
    skip_bad: bool = False,
    write_patches: bool = False,
    compress: bool = False,
    workers: int = 1,
    progress: Progress = silent,
) -> PatchIndex:
    """Decode every image once, lay the grid, write ``patches.parquet``.

    A second call on unchanged images returns what is there; a killed one goes on. Whether the
    pixels are compressed changes no artifact, so they stay as they are unless ``compress`` is
    asked for.

    Args:
        source: the images.
        config: patch size and stride.
        workspace: gets the index and the pixels.
        skip_bad: go on without images that cannot be used, and record them in the index.
        write_patches: also write every patch as a PNG file, into ``sub_images/HR``.
        compress: keep the pixels compressed; those that are there are compressed without a look
            at the images. LR made from them will be, too.
        workers: threads.
        progress: told after each image.

    Raises:
        InputError: a size or stride that does not fit.
        ImageError: images that cannot be used; the message lists all of them.
        StorageError: the disk is full or may not be written.
    """
    check_grid(config.size, config.stride)
    with exclusive(workspace.root / "pixels"):
        index = _extract(source, config, workspace, skip_bad, compress, workers, progress)
        hr = open_hr(workspace, index)
        if compress and not isinstance(hr, PackedStore):
            hr = _compress(index, hr, workspace, workers, progress)
        if write_patches:
            _write_sub_images(index, hr, workspace, workers, progress)
        return index


def _extract(
    source: ImageSource,
    config: ExtractConfig,
    workspace: Workspace,
    skip_bad: bool,
    compress: bool,
    workers: int,
    progress: Progress,
) -> PatchIndex:
    watch = Stopwatch()
    plan = digest(source.fingerprint(), str(config.size), str(config.stride), str(skip_bad))
    index = _already_there(workspace, plan)
    if index is None:
        shapes, bad = _read_shapes(source, config.size, workers, progress)
        good = [i for i in range(len(source.names)) if i not in bad]
        contents: dict[int, str] = {}
        if good:
            done, failed = build_pixels(
                workspace.hr_pixels,
                plan,
                [shapes[i] for i in good],
                lambda k: stored(decode(source.path(good[k]))),
                compress=compress,
                label="decode",
                workers=workers,
                progress=progress,
            )
            contents = {good[k]: content for k, content in done.items()}
            bad |= {good[k]: error for k, error in failed.items()}
        if bad and (not skip_bad or not contents):
            discard_part(workspace.hr_pixels)  # of no use: mended images make another plan
            raise _all_bad(source, bad)
        index = _write_index(source, shapes, contents, bad, config, workspace, plan, watch)
        kept = [k for k, i in enumerate(good) if i in contents]
        finish_pixels(
            workspace.hr_pixels,
            index.pixels,
            [shapes[i] for i in good],
            kept,
            compress=compress,
        )
    return index


def check_kept(source: ImageSource, config: ExtractConfig, workspace: Workspace) -> None:
    """Refuse to put other patches in the place of those that finished runs were trained on.

    Told by names, size and stride: images whose pixels alone have changed are found by their
    contents, wherever runs are looked at.

    Raises:
        InputError: the workspace has runs of other patches.
    """
    try:
        index = PatchIndex.read(workspace.patches)
    except UserError:  # missing or damaged: there is nothing to keep
        return
    skipped = index.header.info.get("skipped", {}) if index.header else {}
    names = {*skipped, *(image.path for image in index.images)}
    there, now = (index.size, index.stride, names), (config.size, config.stride, {*source.names})
    if there != now and workspace.runs():
        raise InputError(
            f"{workspace.root} holds runs of {len(index):,} patches of {index.size}/{index.stride} "
            f"px from {len(index.images):,} images, and patches of {config.size}/{config.stride} "
            f"px from the {len(source.names):,} images of {source.folder} are wanted now. Choose "
            "another --workspace."
        )


def open_hr(workspace: Workspace, index: PatchIndex) -> PixelStore:
    """The HR pixels of an index.

    Raises:
        MissingArtifact: they are not there, or are those of other images.
    """
    shapes = [(image.height, image.width) for image in index.images]
    names = [image.path for image in index.images]
    return open_pixels(workspace.hr_pixels, index.pixels, shapes, names)


def _compress(
    index: PatchIndex, hr: PixelStore, workspace: Workspace, workers: int, progress: Progress
) -> PixelStore:
    """Put a compressed store in the place of a plain one; LR is made again when it is needed."""
    build_pixels(
        workspace.hr_pixels,
        index.pixels,
        hr.shapes,
        lambda i: (hr.image(i), ""),
        compress=True,
        label="compress",
        workers=workers,
        progress=progress,
    )
    finish_pixels(workspace.hr_pixels, index.pixels, hr.shapes, compress=True)
    for lr in workspace.hr_pixels.parent.glob("lr_x*.u8"):
        remove_pixels(lr)
    return open_hr(workspace, index)


def _already_there(workspace: Workspace, plan: str) -> PatchIndex | None:
    try:
        index = PatchIndex.read(workspace.patches)
        open_hr(workspace, index)
    except UserError:  # missing, damaged or of other images: made again
        return None
    return index if index.header and index.header.info.get("plan") == plan else None


def _read_shapes(
    source: ImageSource, size: int, workers: int, progress: Progress
) -> tuple[dict[int, Shape], dict[int, ImageError]]:
    """Stored height and width of each image, from its header; and who cannot be used."""

    def shape_of(i: int) -> Shape:
        height, width = read_shape(source.path(i))
        if min(aligned(height), aligned(width)) < size:
            raise ImageError(f"has {width}x{height} px, too small for a patch of {size} px")
        return aligned(height), aligned(width)

    shapes: dict[int, Shape] = {}
    bad: dict[int, ImageError] = {}
    for i, future in in_threads(shape_of, range(len(source.names)), workers):
        try:
            shapes[i] = future.result()
        except ImageError as error:
            bad[i] = error
        progress("look at images", len(shapes) + len(bad), len(source.names))
    return shapes, bad


def stored(image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], str]:
    """A decoded image as the store holds it, RGB and cut to multiples of 12 px; its content."""
    pixels = np.ascontiguousarray(modcrop(as_rgb(image), ALIGNMENT))
    return pixels, content_of(pixels)


def _all_bad(source: ImageSource, bad: dict[int, ImageError]) -> ImageError:
    lines = [f"  {source.path(i)} {bad[i]}" for i in sorted(bad)]
    some = "1 image" if len(bad) == 1 else f"{len(bad)} images"
    return ImageError(
        f"{some} of {len(source.names)} cannot be used:\n"
        + "\n".join(lines)
        + "\n  Mend or remove them, or pass --skip-bad to go on without them."
    )


def _write_index(
    source: ImageSource,
    shapes: dict[int, Shape],
    contents: dict[int, str],
    bad: dict[int, ImageError],
    config: ExtractConfig,
    workspace: Workspace,
    plan: str,
    watch: Stopwatch,
) -> PatchIndex:
    images = tuple(ImageRecord(source.names[i], *shapes[i], contents[i]) for i in sorted(contents))
    image_N, top_N, left_N = grid(
        [(image.height, image.width) for image in images], config.size, config.stride
    )
    index = PatchIndex(config.size, config.stride, images, image_N, top_N, left_N)
    info = {
        "folder": str(source.folder.resolve()),
        "plan": plan,
        "skipped": {source.names[i]: str(bad[i]) for i in sorted(bad)},
        "same_content": _same_content(images),
    }
    return index.write(workspace.patches, made=watch.made(), info=info)


def _same_content(images: Sequence[ImageRecord]) -> list[list[str]]:
    """Groups of images with equal pixels: harmless, but whoever made the folder should know."""
    paths: dict[str, list[str]] = {}
    for image in images:
        paths.setdefault(image.content, []).append(image.path)
    return [group for group in paths.values() if len(group) > 1]


def _write_sub_images(
    index: PatchIndex, hr: PixelStore, workspace: Workspace, workers: int, progress: Progress
) -> None:
    """Write what is not there yet; patches of another index are removed first."""
    names = sub_image_names(index)
    folder = workspace.root / "sub_images" / "HR"
    stamp = folder.parent / "patches.txt"  # whose patches these are
    if not stamp.exists() or stamp.read_text() != index.fingerprint:
        shutil.rmtree(folder, ignore_errors=True)
        write_text(stamp, index.fingerprint)

    sweep(folder)

    def write(patch: int) -> None:
        pixels = hr.crop(
            int(index.image_N[patch]),
            int(index.top_N[patch]),
            int(index.left_N[patch]),
            index.size,
        )
        with atomic_path(folder / names[patch], swept=True) as temporary:
            Image.fromarray(pixels).save(temporary, format="PNG", compress_level=3)

    todo = [i for i in range(len(index)) if not (folder / names[i]).exists()]
    for count, (_, future) in enumerate(in_threads(write, todo, workers), start=1):
        future.result()
        progress("write patches", count, len(todo))


def sub_image_names(index: PatchIndex) -> list[str]:
    """File name of each patch: ``0001_s001.png``, as BasicSR names DIV2K's sub-images.

    Only letters, digits, ``_`` and ``-``, so that every trainer's reader takes them; images whose
    names become equal by that get eight digits of their path's hash. Where every image is one
    patch, cut by somebody else, its own name is kept: no number is added.
    """
    stems = [
        re.sub(r"[^A-Za-z0-9_-]+", "_", Path(image.path).with_suffix("").as_posix())
        for image in index.images
    ]
    counts = Counter(stem.lower() for stem in stems)
    unique = [
        stem if counts[stem.lower()] == 1 else f"{stem}_{digest(image.path)[:8]}"
        for stem, image in zip(stems, index.images, strict=True)
    ]
    if all(image.height == image.width == index.size for image in index.images):
        return [f"{stem}.png" for stem in unique]
    digits = max(3, len(str(int(index.patches_per_image.max()))))
    return [
        f"{stem}_s{number:0{digits}d}.png"
        for stem, count in zip(unique, index.patches_per_image, strict=True)
        for number in range(1, int(count) + 1)
    ]


def read_index(workspace: Workspace) -> PatchIndex:
    """The workspace's patch index.

    Raises:
        MissingArtifact: there is none; the message names the command that makes it.
    """
    if not workspace.patches.exists():
        raise MissingArtifact(
            f"there is no patch index in {workspace.root}. Run 'srprune extract IMAGES' first."
        )
    return PatchIndex.read(workspace.patches)
