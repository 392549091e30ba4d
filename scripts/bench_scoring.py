"""Score the 40 patches of a 2K image: srprune against patch by patch from sub-image files.

    python scripts/bench_scoring.py [--image FILE] [--rounds 3] [--threads 2] [--fp32]

The peers' way decodes each 480x480 HR sub-image (PNG, level 3), shrinks and enlarges it with
BasicSR's ``imresize`` (its loops, written out here) and runs SRCNN 9-1-5 on Y in eager fp32, one
patch after the other, rim included. Ours is the whole of 'srprune extract' and 'srprune score',
from the PNG of the image to the score table. SRCNN is trained for some steps on the image first:
random weights hide what padding does. The variants take turns in one process; ratios are paired
round by round, median [least..most]. ``--fp32`` leaves out bf16, for CPUs without units for it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peers_bicubic import peer_imresize
from PIL import Image
from scipy import stats
from skimage import data
from torch import nn

from srprune.core.config import ExtractConfig
from srprune.core.workspace import Workspace
from srprune.images.grid import windows
from srprune.models.build import build, save_weights
from srprune.models.device import pick_device
from srprune.scoring.clock import Clock
from srprune.stages.extract import ImageSource, extract
from srprune.stages.pool import open_pool
from srprune.stages.score import Options, score

SIZE, STRIDE, SCALE = 480, 240, 2
LUMA = np.array([65.481, 128.553, 24.966])


def two_thousand() -> np.ndarray:
    """A 2040x1356 picture: a photograph of scikit-image, mirrored side by side."""
    return np.pad(data.astronaut(), ((0, 844), (0, 1528), (0, 0)), mode="symmetric")


@torch.inference_mode()
def peers(files: list[Path], network: nn.Module) -> np.ndarray:
    """MSE of each sub-image, rim included."""
    scores = []
    for file in files:
        hr = np.asarray(Image.open(file)).astype(np.float32) / 255
        lr = (peer_imresize(hr, 1 / SCALE).clip(0, 1) * 255).round() / 255
        y, lr_y = ((x @ LUMA + 16)[..., None] / 255 for x in (hr, lr))
        x = torch.from_numpy(peer_imresize(lr_y, SCALE).transpose(2, 0, 1)[None].copy())
        scores.append(float(np.mean((network(x)[0, 0].numpy() - y[..., 0]) ** 2)))
    return np.array(scores)


@dataclass
class Bench:
    """What all variants share."""

    folder: Path
    network: nn.Module
    files: list[Path]

    def ours(self, options: Options) -> tuple[np.ndarray, Clock]:
        """From the PNG of the image to the scores."""
        clock = Clock()
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            workspace = Workspace(Path(name))
            with clock.part("decode"):
                source = ImageSource.find(str(self.folder / "image"))
                extract(source, ExtractConfig(size=SIZE, stride=STRIDE), workspace, workers=1)
            with clock.part("LR"):
                open_pool(workspace, SCALE)
            weights = str(self.folder / "weights.safetensors")
            _, table = score(
                workspace, scorers=[weights], options=options, device="cpu", clock=clock
            )
        return table.scores_N, clock


def prepare(folder: Path, image: np.ndarray, steps: int) -> Bench:
    """Files of the image and of its sub-images, and an SRCNN that was trained on them."""
    (folder / "image").mkdir()
    (folder / "sub").mkdir()
    Image.fromarray(image).save(folder / "image" / "image.png")
    files = []
    for number, (top, left) in enumerate(windows(*image.shape[:2], SIZE, STRIDE).tolist()):
        files.append(folder / "sub" / f"{number:03d}.png")
        patch = Image.fromarray(image[top : top + SIZE, left : left + SIZE])
        patch.save(files[-1], compress_level=3)
    workspace = Workspace(folder / "workspace")
    extract(
        ImageSource.find(str(folder / "image")), ExtractConfig(size=SIZE, stride=STRIDE), workspace
    )
    pool = open_pool(workspace, SCALE)
    torch.manual_seed(0)
    network, domain = build("srcnn", SCALE, {"init": "he"})
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        ids, corners = rng.integers(len(pool), size=8), rng.integers(240 - 24, size=(8, 2))
        picks = [(int(i), int(y), int(x)) for i, (y, x) in zip(ids, corners, strict=True)]
        lr, hr = (
            torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 255
            for crops in (
                [pool.lr_crop(i, y, x, 24) for i, y, x in picks],
                [pool.hr_crop(i, 2 * y, 2 * x, 48) for i, y, x in picks],
            )
        )
        loss = (network(domain.input(lr)) - domain.target(hr))[..., 10:-10, 10:-10].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_weights(
        folder / "weights.safetensors",
        network,
        parents={},
        params={"model": "srcnn", "model_args": {"init": "he"}, "scale": SCALE},
        made={},
        info={},
    )
    return Bench(folder, network.eval(), files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, help="sides of at least 480 px")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=300, help="training of SRCNN")
    parser.add_argument("--fp32", action="store_true", help="leave out bf16")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pick_device("cpu")  # for both sides: the allocator keeps large blocks
    image = np.asarray(Image.open(args.image).convert("RGB")) if args.image else two_thousand()
    variants = {
        "patch, with rim": Options(include_rim=True),
        "image, with rim": Options(context="image", include_rim=True),
        "without rim": Options(),
    }
    if not args.fp32:
        variants |= {
            f"{name}, bf16": Options(options.context, options.include_rim, "bf16")
            for name, options in list(variants.items())
        }
    with tempfile.TemporaryDirectory() as name:
        bench = prepare(Path(name), image, args.steps)
        seconds: dict[str, list[float]] = {each: [] for each in ("peers", *variants)}
        found: dict[str, np.ndarray] = {}
        clocks: dict[str, Clock] = {}

        for number in range(args.rounds + 1):
            for variant in seconds if number % 2 else reversed(seconds):
                started = time.perf_counter()
                if variant == "peers":
                    found[variant] = peers(bench.files, bench.network)
                else:
                    found[variant], clocks[variant] = bench.ours(variants[variant])
                if number:  # the first round warms up
                    seconds[variant].append(time.perf_counter() - started)
    patches = len(found["peers"])
    print(f"{patches} patches of {image.shape[1]}x{image.shape[0]} px, {args.threads} threads")
    print("variant                  s   patches/s   ratio to peers        of which")
    for variant, times in seconds.items():
        ratios = np.divide(seconds["peers"], times)
        spent = clocks[variant].seconds if variant in clocks else {}
        print(
            f"{variant:22} {np.median(times):5.2f} {patches / np.median(times):8.1f}     "
            f"{np.median(ratios):5.2f} [{ratios.min():.2f}..{ratios.max():.2f}]   "
            + ", ".join(f"{part} {value:.2f}" for part, value in spent.items())
        )
    exact = np.abs(found["patch, with rim"] / found["peers"] - 1)
    print(f"patch, with rim, differs from peers by {np.median(exact):.2%} in the median")
    for name in variants:
        if name.endswith("bf16"):
            full, half = found[name.removesuffix(", bf16")], found[name]
            top = [
                set(np.argsort(-scores, kind="stable")[: patches // 2]) for scores in (full, half)
            ]
            rank = stats.spearmanr(full, half).statistic
            share = len(top[0] & top[1]) / len(top[0])
            print(f"{name}: top 50% shared with fp32 {share:.1%}, rank correlation {rank:.6f}")


if __name__ == "__main__":
    main()
