"""BasicSR's ``imresize``, written out after its ``matlab_functions.py``, for comparisons."""

from __future__ import annotations

import math

import numpy as np
import torch


def cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return near * (x <= 1) + far * ((x > 1) & (x <= 2))


def peer_taps(length: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """First input and weights of each output along one side, as BasicSR (and MATLAB) has them."""
    narrow = min(scale, 1.0)
    width = 4 / narrow
    out = np.arange(1, math.ceil(length * scale) + 1)
    centre = out / scale + 0.5 * (1 - 1 / scale)
    taps = math.ceil(width) + 2
    index = np.floor(centre - width / 2)[:, None] + np.arange(taps)
    weights = cubic((centre[:, None] - index) * narrow)
    weights /= weights.sum(1, keepdims=True)
    return index[:, 0].astype(int) - 1, weights.astype(np.float32)


def peer_imresize(image: np.ndarray, scale: float) -> np.ndarray:
    """BasicSR's imresize of (H, W, C) float: a product of matrix and vector a line and plane."""
    planes = image.transpose(2, 0, 1).astype(np.float32)
    for axis in (1, 2):
        first, weights = peer_taps(planes.shape[axis], scale)
        taps = weights.shape[1]
        margins = [(taps, taps) if each == axis else (0, 0) for each in range(3)]
        wide = torch.from_numpy(np.pad(planes, margins, mode="symmetric"))
        lines = torch.from_numpy(weights)
        sides = list(planes.shape)
        sides[axis] = len(first)
        out = torch.empty(sides)
        for i, start in enumerate((first + taps).tolist()):
            for plane in range(sides[0]):
                if axis == 1:
                    out[plane, i] = wide[plane, start : start + taps].T.mv(lines[i])
                else:
                    out[plane, :, i] = wide[plane, :, start : start + taps].mv(lines[i])
        planes = out.numpy()
    return planes.transpose(1, 2, 0)
