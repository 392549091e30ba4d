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
32 bit, float, Lab     refused
several frames         refused: which frame is meant is not known
=====================  ====================================================================

ICC profiles of RGB and grey files are ignored, as by every SR trainer we know of. PNG, JPEG,
WebP, BMP and TIFF are read; nothing else.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

from srprune.core.errors import ImageError, InputError, StorageError

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


def list_images(folder: Path) -> list[str]:
    """Paths of all images below a folder, relative, with forward slashes, sorted by name.

    Hidden files and folders are passed over; other kinds of image files are refused, so that
    none is dropped in silence.

    Raises:
        InputError: no such folder, no image in it, or image files of kinds that are not read.
        StorageError: a folder that may not be listed.
    """
    if not folder.exists():
        raise InputError(f"there is no folder {folder}.")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; a folder of images was expected.")
    found: list[str] = []
    refused: list[str] = []

    def cannot_list(error: OSError) -> None:
        raise StorageError(f"no permission to list the folder {error.filename}.") from error

    for parent, folders, files in os.walk(folder, onerror=cannot_list, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            suffix = Path(name).suffix.lower()
            if name.startswith("."):
                continue
            path = Path(parent, name).relative_to(folder).as_posix()
            if suffix in SUFFIXES:
                found.append(path)
            elif suffix in _OTHER_IMAGES:
                refused.append(path)
    if refused:
        raise InputError(
            f"{folder} holds {len(refused)} image files of kinds that are not read, such as "
            f"{min(refused)}. Convert them to PNG, or move them away."
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
    with _opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return (width, height) if turned else (height, width)


def decode(path: Path) -> npt.NDArray[np.uint8]:
    """Pixels of an image: (H, W) uint8 for grey files, (H, W, 3) uint8 RGB for all others.

    Raises:
        ImageError: the file cannot be decoded; the message says why, without the path.
    """
    with _opened(path) as opened:
        try:
            opened.load()
            image = ImageOps.exif_transpose(opened)
            pixels = _to_uint8(image)
        except ImageError:
            raise
        # Pillow's decoders raise nearly anything on damaged data
        except Exception as error:
            raise ImageError(f"is damaged or truncated ({_reason(error)})") from error
    return np.ascontiguousarray(pixels)


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


def _opened(path: Path) -> Image.Image:
    """Open a file with the decoder that its name promises."""
    kind = SUFFIXES[path.suffix.lower()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # size is checked below, by our own limit
            image = Image.open(path, formats=list(dict.fromkeys(SUFFIXES.values())))
    except Image.DecompressionBombError:
        raise ImageError(
            f"claims more than {MAX_PIXELS:,} pixels (a decompression bomb?)"
        ) from None
    except PermissionError:
        raise ImageError("may not be read (permission denied)") from None
    except Exception as error:
        if path.stat().st_size == 0:
            raise ImageError("is empty (0 bytes)") from error
        raise ImageError(f"is not a {kind} image") from error
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            f"claims {image.width}x{image.height} px, over the limit of {MAX_PIXELS:,} pixels "
            "(a decompression bomb?)"
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"holds {frames} frames; a still image was expected")
    return image


def _to_uint8(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        return (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ImageError("has 32-bit values; 8 or 16 bit were expected")
        return (values >> 8).astype(np.uint8)
    if image.mode in ("F", "LAB", "HSV"):
        raise ImageError(f"has pixels of mode {image.mode}; RGB, grey or CMYK were expected")
    if image.mode == "CMYK":
        return np.asarray(_from_cmyk(image))
    if image.has_transparency_data:
        return np.asarray(_on_white(image))
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    return np.asarray(image.convert("RGB"))


def _on_white(image: Image.Image) -> Image.Image:
    grey = image.mode in ("L", "LA", "La")
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() != (255, 255):
        rgba = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return rgba.convert("RGB").getchannel(0) if grey else rgba.convert("RGB")


def _from_cmyk(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            if converted is not None:
                return converted
        except ImageCms.PyCMSError:
            pass  # a damaged profile: fall back on the plain conversion
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
