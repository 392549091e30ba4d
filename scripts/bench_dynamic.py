"""Time dynamic inference: the full network untiled, in tiles, and subnets within FLOPs budgets.

    python scripts/bench_dynamic.py [--images FOLDER] [--threads 1] [--rounds 3] [--limit 4]
    python scripts/bench_dynamic.py --weights RUN__w36_d4/weights.safetensors ...

Without ``--weights``, the nine subnets of WBSR's SRResNet (widths 36, 52, 64, depths 4, 8, 16) get
random weights, which say nothing about dB; with them, every file is one subnet, as
``srprune subnet --all`` writes them. The router's classes come from tiles of the photographs of
scikit-image that no image here is one of.

The variants take turns in one process, forwards and backwards in alternate rounds. Ratios of the
time to the full network untiled are paired round by round, median [least..most]; below 1 is
faster. Beside them stand the FLOPs as a share of the same, and of the full network on the same
tiles, which is what a budget limits; and PSNR-Y under rgb8@1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from srprune.core.errors import UserError
from srprune.core.restorer import Restorer
from srprune.evaluation.protocol import measure_rgb8
from srprune.images import bicubic
from srprune.images.benchmarks import PHOTOS_TRAIN, find_benchmark, photos_folder
from srprune.images.decode import decode
from srprune.models.build import build, load_weights
from srprune.models.device import pick_device, processor
from srprune.models.inference import Inference
from srprune.models.restorer import NetworkRestorer, restorer_of
from srprune.wbsr.dynamic import OVERLAP, TILES, DynamicRestorer, check_overlap, check_tile
from srprune.wbsr.flops import count_flops
from srprune.wbsr.gradient_router import GradientRouter, gradient_vectors
from srprune.wbsr.merging import Grid

WIDTHS, DEPTHS = (36, 52, 64), (4, 8, 16)
SIDE = 64  # LR px, to order the subnets by their FLOPs

Clock = Callable[[], float]


def subnets(options: argparse.Namespace, device: torch.device) -> list[NetworkRestorer]:
    """The networks, the cheapest first."""
    made = []
    for path in options.weights:
        network, domain, header = load_weights(path)
        name = path.parent.name
        made.append(restorer_of(name, network.to(device), domain, header.fingerprint))
    for width, depth in [] if options.weights else [(w, d) for w in WIDTHS for d in DEPTHS]:
        torch.manual_seed(0)
        args = {"features": width, "blocks": depth}
        network, domain = build("msrresnet", options.scale, args)
        name = f"w{width}_d{depth}"
        made.append(restorer_of(name, network.to(device), domain, "random"))
    made.sort(key=lambda subnet: count_flops(subnet, SIDE, SIDE))
    return [subnet.at(options.precision) for subnet in made]


def lr_of(hr: np.ndarray, scale: int, device: torch.device) -> Tensor:
    """(1, 3, h, w) in [0, 1]."""
    lr = bicubic.downscale(bicubic.modcrop(hr, scale), scale)
    rgb = lr if lr.ndim == 3 else np.repeat(lr[:, :, None], 3, axis=2)
    return torch.from_numpy(rgb.transpose(2, 0, 1)[None].copy()).to(device).float() / 255


def fit(scale: int, tile: int, overlap: int) -> GradientRouter:
    """The router of the photographs that are no benchmark."""
    values = []
    for name in PHOTOS_TRAIN:
        lr = lr_of(decode(photos_folder() / name), scale, torch.device("cpu"))
        height, width = lr.shape[2:]
        grid = Grid.of(height, width, tile, overlap)
        values.append(gradient_vectors(grid.cut(lr)))
    return GradientRouter.fit(np.concatenate(values))


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(run: Callable[[], object], device: torch.device, clock: Clock) -> float:
    settle(device)
    started = clock()
    run()
    settle(device)
    return clock() - started


def bench(options: argparse.Namespace) -> None:
    device = pick_device(options.device)
    nets = subnets(options, device)
    full, scale = nets[-1], nets[-1].scale
    tile, overlap = options.tile or TILES[scale], options.overlap
    check_tile(nets, tile)
    check_overlap(overlap, tile)
    router = fit(scale, tile, overlap)
    benchmark = find_benchmark(str(options.images), [Path()])
    hr_images = [decode(benchmark.folder / name) for name in benchmark.images[: options.limit]]
    lr_images = [lr_of(hr, scale, device) for hr in hr_images]

    def dynamic(budget: float) -> DynamicRestorer:
        return DynamicRestorer(
            "dynamic", nets, router, tile=tile, overlap=overlap, budget=budget, fingerprint=""
        )

    inner = Inference(tile=tile, precision=options.precision)
    variants: dict[str, Restorer] = {"full, untiled": full, "full, tiles": dynamic(1.0)}
    variants |= {f"budget {budget:g}": dynamic(budget) for budget in options.budgets}
    variants["full, --tile"] = inner.wrap(full)  # context instead of blending

    print(f"torch {torch.__version__}, {processor(device)}, {options.precision}")
    print(
        f"{len(nets)} subnets at x{scale}, tile {tile}, overlap {overlap}; {len(hr_images)} images "
        f"of {benchmark.title}, {sum(lr[0, 0].numel() for lr in lr_images):,} LR px"
    )
    clock = time.process_time if options.cpu_time else time.perf_counter
    flops = {name: [0, 0, 0] for name in variants}  # as restored, on full tiles, untiled
    decibels, seconds = {}, {name: np.zeros(options.rounds) for name in variants}
    for name, restorer in variants.items():  # also warms up
        decibels[name] = [measure_rgb8(restorer, hr, device).psnr_y for hr in hr_images]
        for lr in lr_images:
            if isinstance(restorer, DynamicRestorer):
                restorer(lr)
                assert restorer.last is not None
                last = restorer.last
                counts = (last.flops, last.flops_full, last.flops_untiled)
                flops[name] = [a + b for a, b in zip(flops[name], counts, strict=True)]
    for number in range(options.rounds):
        for lr in lr_images:
            for name in reversed(variants) if number % 2 else variants:
                restorer = variants[name]
                seconds[name][number] += seconds_of(partial(restorer, lr), device, clock)
    print(f"  {'':16}{'s':>8}  {'time':22}{'FLOPs':>7}{'of tiles':>10}{'dB':>9}")
    for name, times in seconds.items():
        ratios = times / seconds["full, untiled"]
        spread = f"{np.median(ratios):.3f} [{ratios.min():.3f}..{ratios.max():.3f}]"
        used, tiled, whole = flops[name]
        shares = f"{used / whole:7.3f}{used / tiled:10.3f}" if whole else f"{'':17}"
        print(
            f"  {name:16}{np.median(times):8.3f}  {spread:22}{shares}{np.mean(decibels[name]):9.3f}"
        )


def number(text: str) -> int:
    """Above 0."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"it is {value}; it must be 1 or more")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", default="photos", help="a benchmark, or a folder of HR images")
    parser.add_argument("--limit", type=number, help="as many images at most")
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="a file a subnet")
    parser.add_argument("--scale", type=int, choices=[2, 3, 4], default=2, help="of random weights")
    parser.add_argument("--tile", type=number, help="LR px; 64 at x2, 48 at x3 and x4")
    parser.add_argument("--overlap", type=int, default=OVERLAP, help="LR px")
    parser.add_argument("--budgets", type=float, nargs="*", default=[0.8, 0.66, 0.5])
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=number, help="of torch on the CPU")
    parser.add_argument("--rounds", type=number, default=3)
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="seconds of this process in place of the clock's, where others use the machine too",
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        bench(options)
    except UserError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
