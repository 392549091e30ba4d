"""Fetch training crops: the memory-mapped store against decoding sub-image PNG files.

    python scripts/bench_crops.py [--rounds 5]

Both read the same random 96 px crops of the same patches, of the photographs inside scikit-image;
the PNG files are what 'srprune extract --write-patches' writes, read with Pillow as trainers do.
Everything is in the page cache. Ratios are paired round by round, median [least..most].
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from srprune.core.config import ExtractConfig
from srprune.core.workspace import Workspace
from srprune.stages.extract import ImageSource, extract, open_hr, sub_image_names

CROPS, SIDE, SIZE = 256, 96, 240


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        index = extract(
            ImageSource.find("photos"),
            ExtractConfig(size=SIZE, stride=120),
            workspace,
            write_patches=True,
        )
        hr, names = open_hr(workspace, index), sub_image_names(index)
        rng = np.random.default_rng(0)
        times: dict[str, list[float]] = {"PNG": [], "store": []}
        for number in range(rounds + 1):
            picks = rng.integers((len(index), SIZE - SIDE, SIZE - SIDE), size=(CROPS, 3))
            for way in ("PNG", "store") if number % 2 else ("store", "PNG"):
                started = time.perf_counter()
                for patch, top, left in picks:
                    if way == "PNG":
                        file = workspace.root / "sub_images" / "HR" / names[patch]
                        pixels = np.asarray(Image.open(file))[top : top + SIDE, left : left + SIDE]
                    else:
                        pixels = hr.crop(
                            int(index.image_N[patch]),
                            int(index.top_N[patch]) + top,
                            int(index.left_N[patch]) + left,
                            SIDE,
                        )
                    pixels.copy()
                if number:  # the first round warms up
                    times[way].append((time.perf_counter() - started) / CROPS)
    ratios = np.divide(times["PNG"], times["store"])
    for way, each in times.items():
        print(f"{way:6} {1e6 * np.median(each):8.1f} us a crop")
    print(
        f"store is {np.median(ratios):.0f} times as fast [{ratios.min():.0f}..{ratios.max():.0f}]"
    )


if __name__ == "__main__":
    main()
