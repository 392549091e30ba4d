"""Packing an RGB image without loss: differences of neighbouring pixels under zstd.

An image is cut into bands of rows, each packed alone, so that a crop is read without the rest of
its image. Of a band, green is taken from red and blue, the row above from each row, and the pixel
before from each pixel; the three planes of differences follow each other in one zstd frame. All
numbers are bytes that wrap around, so that running sums give back every pixel.

A packed image is one number after the other of ``NUMBERS``, for each band, then the frames.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from srprune.core.out_of_memory import is_out_of_memory

Pixels = npt.NDArray[np.uint8]

BAND = 64  # rows: few enough for a core's cache, many enough to pack well
CODING = f"green-row-pixel-zstd-{BAND}"  # its name in files; says all that is needed to read
LEVEL = 1  # of zstd; higher ones look for repeated runs, which differences do not have
NUMBERS = np.dtype([("size", "<u4"), ("crc32", "<u4")])  # of a frame


class DamagedPixels(Exception):
    """A packed image that is not as it was written."""


def pack(image: Pixels) -> bytes:
    """An (H, W, 3) uint8 image as bytes."""
    frames = [_pack_band(image[top : top + BAND]) for top in range(0, len(image), BAND)]
    head = np.array([(len(frame), zlib.crc32(frame)) for frame in frames], dtype=NUMBERS)
    return b"".join([head.tobytes(), *frames])


def unpack(packed: Pixels, height: int, width: int) -> Pixels:
    """The image that was packed.

    Args:
        packed: (bytes,) uint8, what :func:`pack` gave.
        height: of the image, px.
        width: of the image, px.

    Raises:
        DamagedPixels: the bytes are others.
    """
    image = np.empty((height, width, 3), dtype=np.uint8)
    for number in range(num_bands(height)):
        unpack_band(packed, number, image[number * BAND : (number + 1) * BAND], height)
    return image


def unpack_band(packed: Pixels, number: int, out: Pixels, height: int) -> None:
    """Read one band of a packed image.

    Args:
        packed: (bytes,) uint8, the whole packed image.
        number: of the band, from the top.
        out: (rows, W, 3) uint8, gets the pixels.
        height: of the image, px.

    Raises:
        DamagedPixels: the bytes are others than those that were written.
    """
    bands = num_bands(height)
    if len(packed) < bands * NUMBERS.itemsize:
        raise DamagedPixels
    head = packed[: bands * NUMBERS.itemsize].view(NUMBERS)
    start = bands * NUMBERS.itemsize + int(head["size"][:number].sum(dtype=np.int64))
    frame = packed[start : start + int(head["size"][number])]
    if len(frame) != head["size"][number] or zlib.crc32(frame.data) != head["crc32"][number]:
        raise DamagedPixels
    try:
        plain = pa.decompress(pa.py_buffer(frame), out.size, codec="zstd")
    except (pa.ArrowException, OSError) as error:
        if is_out_of_memory(error):
            raise
        raise DamagedPixels from error
    _sum_up(np.frombuffer(plain, dtype=np.uint8), out)


def num_bands(height: int) -> int:
    """How many bands an image of some rows has."""
    return -(-height // BAND)


def _pack_band(rows_RWC: Pixels) -> bytes:
    planes_CRW = rows_RWC.transpose(2, 0, 1).copy()
    planes_CRW[0] -= planes_CRW[1]
    planes_CRW[2] -= planes_CRW[1]
    down_CRW = planes_CRW.copy()
    down_CRW[:, 1:] -= planes_CRW[:, :-1]
    both_CRW = down_CRW.copy()
    both_CRW[:, :, 1:] -= down_CRW[:, :, :-1]
    frame: bytes = pa.Codec("zstd", LEVEL).compress(pa.py_buffer(both_CRW), asbytes=True)
    return frame


def _sum_up(differences: Pixels, out: Pixels) -> None:
    """Undo the differences, pixel by pixel last."""
    rows, width, _ = out.shape
    planes_CRW = differences.reshape(3, rows, width)
    other_CRW = np.empty_like(planes_CRW)
    step = 1  # sums over 2, 4, 8, ... rows: few passes over whole planes
    while step < rows:
        other_CRW[:, :step] = planes_CRW[:, :step]
        np.add(planes_CRW[:, step:], planes_CRW[:, :-step], out=other_CRW[:, step:])
        if step == 1:  # the first planes belong to the frame, which cannot be written
            planes_CRW = np.empty_like(other_CRW)
        planes_CRW, other_CRW, step = other_CRW, planes_CRW, 2 * step
    sums_RW = np.empty((rows, width), dtype=np.uint32)  # numpy sums these up faster than bytes
    np.cumsum(planes_CRW[1], axis=1, dtype=np.uint32, out=sums_RW)
    out[..., 1] = sums_RW
    for channel in (0, 2):
        np.cumsum(planes_CRW[channel], axis=1, dtype=np.uint32, out=sums_RW)
        np.add(sums_RW.astype(np.uint8), out[..., 1], out=out[..., channel])
