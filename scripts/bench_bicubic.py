"""Shrink one 2040x1356 image: srprune's exact bicubic against BasicSR's, Pillow's and torch's.

    python scripts/bench_bicubic.py [--rounds 7]

The variants take turns in one process; ratios are paired round by round, median [least..most].
The others do not give MATLAB's values (the last column: share of values that differ).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from peers_bicubic import peer_imresize
from PIL import Image
from torch.nn import functional as F

from srprune.images import bicubic


def pillow(image: np.ndarray, scale: int) -> np.ndarray:
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize(
        (width // scale, height // scale), Image.Resampling.BICUBIC
    )
    return np.asarray(small)


def torch_float(image: np.ndarray, scale: int) -> np.ndarray:
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    small = F.interpolate(x, scale_factor=1 / scale, mode="bicubic", antialias=True)
    return small.add_(0.5).clamp_(0, 255).to(torch.uint8)[0].permute(1, 2, 0).numpy()


def basicsr(image: np.ndarray, scale: int) -> np.ndarray:
    small = peer_imresize(image.astype(np.float32) / 255, 1 / scale)
    return (small * 255).round().clip(0, 255).astype(np.uint8)


VARIANTS = {
    "srprune": bicubic.downscale,
    "BasicSR": basicsr,
    "Pillow": pillow,
    "torch antialias": torch_float,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    noise = rng.normal(128, 60, (339, 510, 3)).clip(0, 255).astype(np.uint8)
    image = np.asarray(Image.fromarray(noise).resize((2040, 1356), Image.Resampling.BICUBIC))
    print("scale  variant           ms   ratio to BasicSR      ratio to Pillow       not MATLAB's")
    for scale in (2, 3, 4):
        exact = bicubic.downscale(image, scale)
        seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for number in range(rounds + 1):
            names = list(VARIANTS) if number % 2 else list(reversed(VARIANTS))
            for name in names:
                started = time.perf_counter()
                VARIANTS[name](image, scale)
                if number:  # the first round warms up
                    seconds[name].append(time.perf_counter() - started)
        for name, times in seconds.items():
            both = [np.divide(seconds[other], times) for other in ("BasicSR", "Pillow")]
            shown = "   ".join(f"{np.median(r):5.2f} [{r.min():.2f}..{r.max():.2f}]" for r in both)
            wrong = (VARIANTS[name](image, scale) != exact).mean()
            print(f"x{scale}     {name:15} {1e3 * np.median(times):6.1f}   {shown}   {wrong:8.1%}")


if __name__ == "__main__":
    main()
