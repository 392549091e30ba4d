"""Bicubic resizing as MATLAB's ``imresize``, for integer scales, in numpy alone.

The low-resolution images of the field are made by MATLAB: Keys' cubic kernel with a = -0.5
(doi:10.1109/TASSP.1981.1163711), widened by the scale when shrinking (antialiasing). Two habits
decide whether the pixels agree:

- The rows are resized first, then the columns, and a uint8 image is rounded (half up) and
  clipped to uint8 after *each* of the two passes.
- Pixels beyond the image are mirrored with the edge repeated (``"symmetric"``, MATLAB since
  2017 or so), or the edge pixel is repeated (``"replicate"``, MATLAB before).

At an integer scale all outputs of one phase share their weights, so that a pass is a short sum
of shifted slices (:class:`Taps`): the same bits everywhere, whatever the threads or the BLAS.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from srprune.core.errors import InputError

Border = Literal["symmetric", "replicate"]
Pixel = TypeVar("Pixel", np.uint8, np.float32, np.float64)

_BLOCK = 1 << 16  # values of output computed at a time: the working set stays in a core's cache


@dataclass(frozen=True, eq=False)
class Taps:
    """A pass over one dimension: the weights of each output phase.

    Output ``phases * i + p`` is ``sum_k weights[p, k] * input[stride * i + first + k]``.

    Attributes:
        first: offset of the first tap, zero or below.
        stride: inputs a step; the scale when shrinking, 1 when enlarging.
        weights: (phases, taps) float64, read-only, rows sum to 1; one phase when shrinking.
    """

    first: int
    stride: int
    weights: npt.NDArray[np.float64]

    @property
    def phases(self) -> int:
        """Outputs a step."""
        return int(self.weights.shape[0])

    def sources(self, length: int, border: Border) -> npt.NDArray[np.intp]:
        """Indices of all inputs that the pass reads, in order, for a dimension of ``length``.

        With ``x = input[sources]``, output ``phases * i + p`` begins at ``x[stride * i]``.
        Raises ValueError for an unknown border.
        """
        count = self.stride * (length // self.stride - 1) + self.weights.shape[1]
        index: npt.NDArray[np.intp] = np.arange(self.first, self.first + count)
        if border == "symmetric":
            index %= 2 * length  # 0 .. n-1, then n-1 .. 0, over and over
            np.minimum(index, 2 * length - 1 - index, out=index)
        elif border == "replicate":
            np.clip(index, 0, length - 1, out=index)
        else:
            raise ValueError(f'border must be "symmetric" or "replicate", not {border!r}')
        return index


@cache
def shrink_taps(scale: int) -> Taps:
    """The pass that shrinks by ``scale``, antialiased; raises InputError below 2."""
    _check_scale(scale)
    return _taps(np.array([(scale - 1) / 2]), widen=scale, stride=scale)


@cache
def enlarge_taps(scale: int) -> Taps:
    """The pass that enlarges by ``scale``; raises InputError below 2."""
    _check_scale(scale)
    return _taps((np.arange(scale) + 0.5) / scale - 0.5, widen=1, stride=1)


def downscale(
    image: npt.NDArray[Pixel], scale: int, border: Border = "symmetric"
) -> npt.NDArray[Pixel]:
    """Shrink an image by an integer scale, as ``imresize(image, 1 / scale, "bicubic")``.

    Args:
        image: (H, W[, C]) uint8, float32 or float64; H and W are multiples of ``scale``.
        scale: 2 or more.
        border: how the image goes on beyond its edge.

    Returns:
        (H / scale, W / scale[, C]) of the same dtype: uint8 rounded and clipped after each pass,
        floats neither rounded nor clipped.

    Raises:
        InputError: a scale below 2, no pixels, or sides that are no multiples of the scale.
        TypeError: another dtype.
    """
    check_divisible(image.shape[0], image.shape[1], scale)
    return _resize(image, shrink_taps(scale), border)


def upscale(
    image: npt.NDArray[Pixel], scale: int, border: Border = "symmetric"
) -> npt.NDArray[Pixel]:
    """Enlarge an image by an integer scale, as ``imresize(image, scale, "bicubic")``.

    As :func:`downscale`, but with sides of any length; returns (H * scale, W * scale[, C]).
    """
    return _resize(image, enlarge_taps(scale), border)


def modcrop(image: npt.NDArray[Pixel], multiple: int) -> npt.NDArray[Pixel]:
    """Cut the bottom and the right so that both sides are multiples; a view of (H, W[, C])."""
    height, width = (side - side % multiple for side in image.shape[:2])
    return image[:height, :width]


def check_divisible(height: int, width: int, scale: int) -> None:
    """Raise InputError unless both sides are multiples of a scale of 2 or more."""
    _check_scale(scale)
    if height % scale or width % scale:
        size = f"height {height} and width {width}"
        raise InputError(f"cannot shrink {size} by {scale}: crop both to multiples of it first")


def _check_scale(scale: int) -> None:
    if scale < 2:
        raise InputError(f"the scale must be an integer of 2 or more, not {scale}")


def _kernel(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Keys' cubic with a = -0.5: support -2 .. 2, and exactly zero at -2, -1, 1 and 2."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _taps(centres: npt.NDArray[np.float64], widen: int, stride: int) -> Taps:
    """Taps of phases whose centres lie at ``centres``, in input pixels, kernel widened."""
    offsets = np.arange(-2 * widen, 3 * widen)
    weights = _kernel((centres[:, None] - offsets) / widen)
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.flatnonzero(weights.any(axis=0))
    weights = weights[:, used[0] : used[-1] + 1].copy()
    weights.flags.writeable = False  # shared by all callers through the caches
    return Taps(int(offsets[used[0]]), stride, weights)


def _resize(image: npt.NDArray[Pixel], taps: Taps, border: Border) -> npt.NDArray[Pixel]:
    """Resize the rows, then the columns, of (H, W[, C])."""
    if image.dtype not in (np.uint8, np.float32, np.float64):
        raise TypeError(f"an image is uint8, float32 or float64, not {image.dtype}")
    if not image.size:
        raise InputError("cannot resize an image without pixels")
    height, width, channels = (*image.shape, 1)[:3]
    rows = _resize_first(image.reshape(height, width * channels), taps, border)
    # The columns go to the front, so that their pass too adds up long contiguous runs.
    front = rows.reshape(-1, width, channels).transpose(1, 2, 0).reshape(width, -1)
    columns = _resize_first(front, taps, border)
    back = columns.reshape(-1, channels, rows.shape[0]).transpose(2, 0, 1)
    return np.ascontiguousarray(back).reshape(*back.shape[: image.ndim])


def _resize_first(x: npt.NDArray[Pixel], taps: Taps, border: Border) -> npt.NDArray[Pixel]:
    """Resize the first dimension of (n, m) to (n / stride * phases, m), block by block."""
    # Eight-bit sums in float32 round as exact ones would. At scales 2 and 4 the weights are
    # multiples of 1/256 and 1/4096 (enlarging, 1/128 and 1/1024), and every sum is exact. At
    # scale 3 they are multiples of 1/81 (1/27), so that no sum is nearer than 1/162 to a tie,
    # while its error stays below 1e-3. Larger scales have finer weights and take float64.
    rounded = x.dtype == np.uint8
    small = max(taps.stride, taps.phases) <= 4
    work = x.dtype if not rounded else np.dtype(np.float32 if small else np.float64)
    weights = taps.weights.astype(work)
    sources = taps.sources(x.shape[0], border)
    steps, width = x.shape[0] // taps.stride, x.shape[1]
    out = np.empty((steps, taps.phases, width), x.dtype)
    height = max(1, _BLOCK // width)
    sums, terms = np.empty((2, height, width), work)
    for top in range(0, steps, height):
        count = min(height, steps - top)
        total, term = sums[:count], terms[:count]
        reach = taps.stride * (count - 1)  # from the first output's input to the last one's
        start = taps.stride * top
        block = x[sources[start : start + reach + weights.shape[1]]].astype(work, copy=False)
        for phase, row in enumerate(weights):
            total.fill(0.5 if rounded else 0.0)  # then cutting off the fraction rounds half up
            for tap in np.flatnonzero(row):
                shifted = block[tap : tap + reach + 1 : taps.stride]
                total += np.multiply(shifted, row[tap], out=term)
            if rounded:
                np.clip(total, 0, 255, out=total)
            out[top : top + count, phase] = total
    return out.reshape(-1, width)
