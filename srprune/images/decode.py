"""Decoding image files to uint8 pixels, with one written rule for each kind of file.

=====================  ====================================================================
file                   becomes
=====================  ====================================================================
RGB, 8 bit             itself
grey, 1 or 8 bit       one channel; three equal ones where RGB is asked for
palette                the colours of its palette
alpha (any)            the picture on white, as a viewer shows it; an opaque alpha is dropped
16 bit (grey, RGB)     the high byte of each value (v >> 8): exact where 8 bit were widened
CMYK                   RGB through the embedded ICC profile, else Pillow's plain conversion
EXIF orientation       turned upright
other depths, Lab      refused: 12 and 32 bit, signed, float
transparent colour     in 16-bit RGB refused: Pillow does not compare all 16 bit
16-bit TIFF in planes  refused, as is white-is-zero: Pillow reads both wrongly
several frames         refused: which frame is meant is not known
=====================  ====================================================================

ICC profiles of RGB and grey files are ignored, as by every SR trainer we know of. PNG, JPEG,
WebP, BMP and TIFF are read; nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin

from srprune.core.errors import ImageError, InputError, StorageError
from srprune.core.out_of_memory import is_out_of_memory
from srprune.images.png import ORIENTATION, decode_plain, has_late_chunks

SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
MAX_PIXELS = 178_956_970  # Pillow's own limit for a decompression bomb (twice its warning)

_OTHER_IMAGES = {
    ".gif",
    ".jp2",
    ".j2k",
    ".avif",
    ".heic",
    ".heif",
    ".jxl",
    ".exr",
    ".hdr",
    ".ppm",
    ".pgm",
    ".tga",
    ".psd",
    ".dng",
    ".cr2",
    ".nef",
    ".svg",
    ".ico",
}

_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_GREY_STEP = {"L;2": 85, "L;4": 17}  # of 2 and 4 bit spread over 0 to 255
_opening = threading.Lock()  # the filters of warnings are shared by all threads


def list_images(folder: Path) -> list[str]:
    """Paths of all images below a folder, relative, with forward slashes, sorted by name.

    Hidden files and folders are passed over, as are links back to a folder that one is in; other
    kinds of image files are refused, so that none is dropped in silence.

    Raises:
        InputError: no such folder, no image in it, image files of kinds that are not read, or
            names that are not a file's or not UTF-8.
        StorageError: a folder that may not be listed.
    """
    if not folder.exists():
        raise InputError(f"there is no folder {folder}.")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; a folder of images was expected.")
    found: list[str] = []
    refused: list[str] = []
    unusable: list[str] = []

    def cannot_list(error: OSError) -> None:
        raise StorageError(f"no permission to list the folder {error.filename}.") from error

    for parent, folders, files in os.walk(folder, onerror=cannot_list, followlinks=True):
        here = Path(parent).resolve()
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not here.is_relative_to(Path(parent, name).resolve())
        ]
        for name in files:
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            path = Path(parent, name).relative_to(folder).as_posix()
            if suffix in SUFFIXES:
                sound = _is_utf8(path) and Path(parent, name).is_file()
                (found if sound else unusable).append(path)
            elif suffix in _OTHER_IMAGES:
                refused.append(path)
    if refused:
        raise InputError(
            f"{folder} holds {len(refused)} image files of kinds that are not read, such as "
            f"{min(refused)}. Convert them to PNG, or move them away."
        )
    if unusable:
        raise InputError(
            f"{len(unusable)} names in {folder} are broken links or not UTF-8, such as "
            f"{min(unusable)!r}. Rename or remove them."
        )
    if not found:
        raise InputError(
            f"there is no image in {folder}; files ending in {', '.join(SUFFIXES)} are read."
        )
    return sorted(found)


def read_shape(path: Path) -> tuple[int, int]:
    """Height and width in px of an image as it will be decoded, from its header alone.

    Raises:
        ImageError: the file cannot be used; the message says why, without the path.
    """
    with _opened(path) as image, _damage():
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # its size is turned already
            width, height = image.tag_v2[256], image.tag_v2[257]
        if isinstance(image, PngImagePlugin.PngImageFile) and not has_late_chunks(path):
            exif = Image.Image.getexif(image)  # the PNG's own would decode the pixels
        else:
            exif = image.getexif()
        return (width, height) if exif.get(ORIENTATION, 1) in _TURNED else (height, width)


def decode(path: Path) -> npt.NDArray[np.uint8]:
    """Pixels of an image: (H, W) uint8 for grey files, (H, W, 3) uint8 RGB for all others.

    Raises:
        ImageError: the file cannot be decoded; the message says why, without the path.
    """
    with _opened(path) as opened, _damage():
        plain = decode_plain(path, opened)
        if plain is not None:
            return plain
        layout = _png_layout(opened)
        opened.load()
        ImageOps.exif_transpose(opened, in_place=True)  # else it copies what stands upright
        return np.ascontiguousarray(_to_uint8(opened, layout))


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the path of an image before what is wrong with it, which is raised inside without it."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{path} {error}.") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def decode_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Pixels of an image as (H, W, 3) uint8 RGB; grey becomes three equal channels.

    Raises:
        ImageError: the file cannot be decoded; the message says why, without the path.
    """
    return as_rgb(decode(path))


def as_rgb(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W) or (H, W, 3) uint8 to (H, W, 3) uint8."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def content_of(pixels: npt.NDArray[np.uint8]) -> str:
    """32 hex digits over shape and pixels of an (H, W, 3) uint8 image."""
    h = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    h.update(np.ascontiguousarray(pixels).data)
    return h.hexdigest()


def _opened(path: Path) -> ImageFile.ImageFile:
    """Open a file of one of the kinds that are read, and refuse what has no clear reading."""
    kind = SUFFIXES[path.suffix.lower()]
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # size is checked below, by our own limit
            image = Image.open(path, formats=list(dict.fromkeys(SUFFIXES.values())))
    except Image.DecompressionBombError:
        raise ImageError(
            f"claims more than {MAX_PIXELS:,} pixels (a decompression bomb?)"
        ) from None
    except PermissionError:
        raise ImageError("may not be read (permission denied)") from None
    except FileNotFoundError:
        raise ImageError("is not there") from None
    except Exception as error:
        _not_of_the_image(error)
        if path.stat().st_size == 0:
            raise ImageError("is empty (0 bytes)") from error
        if _begins_as_webp(path):  # Pillow opens no part of one, so it would be no image at all
            raise ImageError("is cut off or damaged") from error
        raise ImageError(f"is not a {kind} image") from error
    try:
        with _damage():
            _refuse(image)
    except Exception:
        image.close()
        raise
    return image


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """What Pillow raises on damaged data, which is nearly anything, becomes an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        _not_of_the_image(error)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImageError(f"is damaged or truncated ({reason})") from error


def _not_of_the_image(error: Exception) -> None:
    """Raise what says nothing about the file's bytes: a sound image is neither damaged nor skipped.

    Raises:
        ImageError: the disk, or the way to it, does not give them.
        Exception: ``error`` itself: memory has run out, or too many files are open.
    """
    number = getattr(error, "errno", None)
    if is_out_of_memory(error) or number in (errno.EMFILE, errno.ENFILE):
        raise error
    if number in (errno.EIO, errno.ESTALE):
        raise ImageError(f"cannot be read ({os.strerror(number)})") from error


def _begins_as_webp(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"RIFF" and head[8:] == b"WEBP"


def _refuse(image: ImageFile.ImageFile) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"claims {image.width}x{image.height} px, over the limit of {MAX_PIXELS:,} pixels "
            "(a decompression bomb?)"
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"holds {frames} frames; a still image was expected")
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # Pillow reads some of them wrongly
        tags = image.tag_v2
        bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
        if bits not in (1, 2, 4, 8, 16):
            raise ImageError(f"has {bits}-bit values; 8 or 16 bit were expected")
        if set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))) - {1, 4}:
            raise ImageError("has signed or floating-point values; unsigned ones were expected")
        white_is_zero = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
        planes = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2
        if bits == 16 and (white_is_zero or planes):
            raise ImageError("has 16-bit values in planes or with white as zero; save it plainly")


def _png_layout(image: ImageFile.ImageFile) -> str:
    """How a PNG that is not loaded yet stores its pixels, such as ``L;2``; else nothing."""
    return str(image.tile[0][3]) if image.format == "PNG" and image.tile else ""


def _to_uint8(image: Image.Image, layout: str) -> npt.NDArray[np.uint8]:
    clear = image.info.get("transparency")  # of a PNG: a value as it is stored, not as read
    if image.mode.startswith("I"):  # 16 bit; TIFF of 32 bit was refused
        values = np.asarray(image).astype(np.uint16)
        pixels = (values >> 8).astype(np.uint8)
        if clear is not None:
            pixels[values == clear] = 255
        return pixels
    if layout == "RGB;16B" and clear is not None:
        raise ImageError("has a transparent colour in 16 bit; an alpha channel was expected")
    if layout in _GREY_STEP and clear is not None:
        step = _GREY_STEP[layout]
        image.info["transparency"] = clear % (255 // step + 1) * step
    grey = image.mode in ("1", "L", "LA", "La") or layout == "LA;16B"
    if image.mode in ("F", "LAB", "HSV"):
        raise ImageError(f"has pixels of mode {image.mode}; RGB, grey or CMYK were expected")
    if image.mode == "CMYK":
        return np.asarray(_from_cmyk(image))
    if image.has_transparency_data:
        flat = _on_white(image)
        return np.asarray(flat.getchannel(0) if grey else flat)
    mode = "L" if grey else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode))  # convert copies


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() != (255, 255):
        rgba = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return rgba.convert("RGB")


def _from_cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a damaged profile: fall back on the plain conversion
    return image.convert("RGB")


def _is_utf8(text: str) -> bool:
    return text.isascii() or text == text.encode("utf-8", "ignore").decode("utf-8")
