"""'srprune extract' against BasicSR's sub-images, each as a whole process: time and bytes.

    python scripts/bench_extract.py IMAGES [--images 12] [--rounds 3] [--workers 2] [--crops FOLDER]

BasicSR's ``extract_subimages.py`` is written out here: a pool of processes, windows of 480 px each
240 px, PNG at level 3, by OpenCV where it is installed, else by Pillow. IMAGES that are no PNG are
stored as PNG first, as DIV2K comes. The ways take turns; each starts a new interpreter, writes into
a new folder, and reads images from the page cache. CPU time is that of the process and its
children. Ratios are paired round by round, median [least..most]. ``compressed`` is
``extract --compress``; at the end, what reading either form costs, in this process.

``--crops`` tells instead what BasicSR's sub-images of all of DIV2K take, of which only the smooth
half can be had whole: FOLDER holds the centre crop of every image, in native resolution. A crop's
bytes a pixel, times the ratio of whole images' sub-images to their own centre crops (borders, file
headers and the centre's being richer are in it), are those of the sub-images. The interval is a
bootstrap over crops and images. The store takes 3 bytes for each pixel of an image, once.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

SIZE, STRIDE, LEVEL = 480, 240, 3
PATCHES = 32_592  # of DIV2K's 800 training images
BATCHES = 40  # of 16 crops of 48 px LR at x2
EVERY = 4  # sub-images of an image that are measured: every fourth
HAS_CV2 = importlib.util.find_spec("cv2") is not None

# Imports no more than BasicSR's script does.
BASICSR = """
import os, sys
from multiprocessing import Pool
import numpy as np
try:
    import cv2
except ImportError:
    from PIL import Image

def worker(path, folder, size, step, level):
    name, extension = os.path.splitext(os.path.basename(path))
    for scale in ("x2", "x3", "x4", "x8"):
        name = name.replace(scale, "")
    if "cv2" in globals():
        img = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    else:
        img = np.asarray(Image.open(path))
    h, w = img.shape[:2]
    h_space = np.arange(0, h - size + 1, step)
    if h - (h_space[-1] + size) > 0:
        h_space = np.append(h_space, h - size)
    w_space = np.arange(0, w - size + 1, step)
    if w - (w_space[-1] + size) > 0:
        w_space = np.append(w_space, w - size)
    index = 0
    for x in h_space:
        for y in w_space:
            index += 1
            crop = np.ascontiguousarray(img[x : x + size, y : y + size, ...])
            file = os.path.join(folder, f"{name}_s{index:03d}{extension}")
            if "cv2" in globals():
                cv2.imwrite(file, crop, [cv2.IMWRITE_PNG_COMPRESSION, level])
            else:
                Image.fromarray(crop).save(file, compress_level=level)

if __name__ == "__main__":
    source, folder, processes, size, step, level = sys.argv[1:]
    os.makedirs(folder)
    pool = Pool(int(processes))
    jobs = [
        pool.apply_async(worker, (entry.path, folder, int(size), int(step), int(level)))
        for entry in os.scandir(source)
    ]
    pool.close()
    pool.join()
    for job in jobs:
        job.get()
"""


def png_copies(images: Path, folder: Path, count: int) -> None:
    """The first images of a folder as PNG files."""
    from PIL import Image

    from srprune.images.decode import decode, list_images

    folder.mkdir()
    for name in list_images(images)[:count]:
        target = folder / f"{Path(name).stem}.png"
        if name.lower().endswith(".png"):
            target.write_bytes((images / name).read_bytes())
        else:
            Image.fromarray(decode(images / name)).save(target)


def png_bytes(pixels: npt.NDArray[np.uint8]) -> int:
    """Size of a PNG as BasicSR writes it."""
    if HAS_CV2:
        import cv2

        bgr = np.ascontiguousarray(pixels[:, :, ::-1])
        return len(cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, LEVEL])[1])
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=LEVEL)
    return file.tell()


def estimate(images: Path, crops: Path, count: int) -> None:
    """Bytes of DIV2K's sub-images from a crop of each image; see above."""
    from srprune.images.decode import decode_rgb, list_images
    from srprune.images.grid import windows

    crops_C = np.array([_of_crop(decode_rgb(crops / name)) for name in list_images(crops)])
    side = decode_rgb(crops / list_images(crops)[0]).shape[0]
    rows = []  # of each whole image: sub-images, their bytes a pixel, the crop's, stored pixels
    for name in list_images(images)[:count]:
        pixels = decode_rgb(images / name)
        height, width = (length - length % 12 for length in pixels.shape[:2])
        grid = windows(height, width, SIZE, STRIDE)
        some = [png_bytes(pixels[y : y + SIZE, x : x + SIZE]) for y, x in grid[::EVERY]]
        y, x = ((length - side) // 2 for length in pixels.shape[:2])
        crop = _of_crop(pixels[y : y + side, x : x + side])
        rows.append((len(grid), np.mean(some) / SIZE**2, crop, height * width))
    whole_I4 = np.array(rows)

    def of(crops_C: Numbers, whole_I4: Numbers) -> tuple[float, float, float]:
        patches_I, own_I, crop_I, stored_I = whole_I4.T
        ratio = np.average(own_I, weights=patches_I) / np.average(crop_I, weights=patches_I)
        basicsr = crops_C.mean() * ratio * SIZE**2 * PATCHES
        return ratio, basicsr, basicsr / (3 * stored_I.sum() / patches_I.sum() * PATCHES)

    rng = np.random.default_rng(0)
    drawn = np.array(
        [
            of(*(each[rng.integers(len(each), size=len(each))] for each in (crops_C, whole_I4)))
            for _ in range(2000)
        ]
    )
    print(f"{len(crops_C)} crops of {side} px: {crops_C.mean():.3f} bytes a pixel at level {LEVEL}")
    print(
        f"{len(rows)} whole images: crops {whole_I4[:, 2].mean():.3f}, sub-images "
        f"{whole_I4[:, 1].mean():.3f} bytes a pixel"
    )
    least, most = np.percentile(drawn, (2.5, 97.5), axis=0)
    words = ("sub-images to crops", "GB in BasicSR's sub-images", "times the bytes of the store")
    for what, value, low, high in zip(words, of(crops_C, whole_I4), least, most, strict=True):
        unit = 1e9 if what.startswith("GB") else 1
        print(f"{what:30} {value / unit:6.2f} [{low / unit:.2f}..{high / unit:.2f}]")


def _of_crop(pixels: npt.NDArray[np.uint8]) -> float:
    """Bytes a pixel."""
    return png_bytes(pixels) / (pixels.shape[0] * pixels.shape[1])


def run(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a process with its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def written(folder: Path) -> tuple[int, int]:
    """Bytes and number of files."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(sizes), len(sizes)


def reading(source: Path, folder: Path) -> None:
    """CPU time of reading images, of a training's start, and of batches, in both forms."""
    import torch

    from srprune.core.config import ExtractConfig
    from srprune.core.workspace import Workspace
    from srprune.data.batches import Batches
    from srprune.data.sampler import CropSampler
    from srprune.images.decode import decode_rgb
    from srprune.stages.extract import ImageSource, extract
    from srprune.stages.pool import open_pool

    images = ImageSource.find(str(source))
    milliseconds: dict[tuple[str, str], float] = {}
    started = time.process_time()

    def took(way: str, what: str, times: int = 1) -> None:
        nonlocal started
        milliseconds[way, what] = (time.process_time() - started) * 1e3 / times
        started = time.process_time()

    for number in range(len(images.names)):
        decode_rgb(images.path(number))
    took("PNG", "image", len(images.names))
    for way in ("plain", "compressed"):
        workspace = Workspace(folder / way)
        config = ExtractConfig(size=SIZE, stride=STRIDE)
        index = extract(images, config, workspace, compress=way == "compressed")
        pool, ids = open_pool(workspace, 2), np.arange(len(index))
        sampler = CropSampler(ids, seed=0, batch=16, lr_patch=SIZE // 2, lr_crop=48, augment=True)
        started = time.process_time()
        for number in range(len(index.images)):
            pool.hr_store.image(number).sum(dtype=np.int64)  # a map is read when it is used
        took(way, "image", len(index.images))
        for place in ("host", "disk"):
            cpu = torch.device("cpu")
            batches = Batches(pool, ids, sampler, 48, cpu, residency=place)
            took(way, f"start, {place}")
            for step in range(BATCHES):
                list(batches.at(step))
            took(way, f"batch, {place}", BATCHES)
    for (way, what), value in milliseconds.items():
        print(f"{way:10} {what:12} {value:9.2f} ms CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--images", dest="count", type=int, default=12, help="how many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="processes, and threads of ours")
    parser.add_argument("--crops", type=Path, metavar="FOLDER", help="estimate bytes instead")
    arguments = parser.parse_args()
    if arguments.crops:
        estimate(arguments.images, arguments.crops, arguments.count)
        return
    grid = [str(number) for number in (SIZE, STRIDE)]
    workers = str(arguments.workers)
    environment = {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}
    os.environ |= environment  # one thread in each process, so that workers are what counts
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        source, program = base / "images", base / "basicsr.py"
        png_copies(arguments.images, source, arguments.count)
        program.write_text(BASICSR)
        ways = {
            "BasicSR": lambda out: [
                sys.executable, str(program), str(source), str(out), workers, *grid, str(LEVEL)
            ],
            "srprune": lambda out: [
                sys.executable, "-m", "srprune", "extract", str(source), "-w", str(out),
                "--size", grid[0], "--stride", grid[1], "--workers", workers,
            ],
        }  # fmt: skip
        ways["compressed"] = lambda out: [*ways["srprune"](out), "--compress"]
        seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        stored: dict[str, tuple[int, int]] = {}
        for number in range(arguments.rounds):
            for way in list(ways) if number % 2 else list(reversed(ways)):
                out = base / f"{way}{number}"
                seconds[way].append(run(ways[way](out)))
                stored[way] = written(out)
                subprocess.run(["rm", "-r", str(out)], check=True)
        count, size = len(list(source.iterdir())), written(source)[0]
        print(f"{count} images, {size / 1e6:.1f} MB of PNG; {workers} workers")
        print(f"BasicSR's PNG by {'OpenCV' if HAS_CV2 else 'Pillow'} at level {LEVEL}")
        for way, times in seconds.items():
            wall, cpu = (sorted(each)[len(times) // 2] for each in zip(*times, strict=True))
            print(
                f"{way:10} {wall:7.2f} s wall {cpu:7.2f} s CPU   {stored[way][0] / 1e6:8.1f} MB in "
                f"{stored[way][1]:,} files"
            )
        for way in ("srprune", "compressed"):
            for place, what in enumerate(("wall", "CPU")):
                ratios = sorted(
                    theirs[place] / ours[place]
                    for theirs, ours in zip(seconds["BasicSR"], seconds[way], strict=True)
                )
                print(
                    f"{what}: {way} takes 1/{ratios[len(ratios) // 2]:.1f} "
                    f"[{ratios[0]:.1f}..{ratios[-1]:.1f}] of BasicSR's time"
                )
            print(f"bytes: {way} 1/{stored['BasicSR'][0] / stored[way][0]:.2f} of BasicSR's")
        reading(source, base / "read")


if __name__ == "__main__":
    main()
