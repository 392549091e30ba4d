"""Time our data path and training step beside the way peers do it, in one run.

    python scripts/bench_training.py [--device cpu] [--threads 1] [--rounds 7] [--only loader]
    python scripts/bench_training.py --equal [--steps 600]

The ways of a table take turns in one process, forwards and backwards in alternate rounds; ratios
are paired round by round, median [least..most], and above 1 is faster.

Peers' way is written out after BasicSR, KAIR, traiNNer-redux and neosr (their data in
peers_data.py): PNG sub-images of 480 px every 240 px, decoded whole (OpenCV if it is installed,
else Pillow), turned to floats, cropped, flipped and rotated, one sample at a time by a DataLoader;
an eager network in fp32 and NCHW with its layers as published; ``loss.item()`` at each step. LMDB
holds the same PNG bytes, if the package is installed. After EDSR: whole images as pickled arrays.
On CUDA peers have torch's TF32 convolutions, BasicSR's cudnn.benchmark and pinned memory; on a CPU
they have our allocator settings, which hold for the whole process.

Files are in the page cache. ``--equal`` trains FSRCNN with the same seeds and batches by peers'
step and by 'srprune train', and prints loss and PSNR-Y of both.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_models import Run, forced, processor
from peers_data import (
    DECODER,
    HAS_LMDB,
    LR_CROP,
    SCALE,
    SIZE,
    Data,
    LmdbFiles,
    Pair,
    PairedImages,
    PickledImages,
    fetching,
    png_files,
    prepare,
)
from torch import Tensor, nn
from torch.nn import functional as F

from srprune.core.config import ComputeConfig, OptimizerConfig, TrainConfig
from srprune.data.batches import Batches
from srprune.data.residency import Residency
from srprune.data.sampler import CropSampler
from srprune.models.build import build, load_weights
from srprune.models.device import pick_device, use_tf32
from srprune.models.domain import Domain
from srprune.models.network import Network
from srprune.stages.fit import fit
from srprune.stages.job import Job
from srprune.stages.train import validation
from srprune.training.backward import Backward
from srprune.training.distributed import ALONE
from srprune.training.optimizer import make_optimizer
from srprune.training.schedule import rate
from srprune.training.watch import LossWatch

BATCH = 16
WORKERS = 2  # processes
SPAN = 1.0  # s that a measurement lasts, unless --steps ends it
RATE = 1e-3
SEEDS = (0, 1, 2)
# Batch and arguments; what a CPU computes in a second or two.
NETWORKS: dict[str, tuple[int, dict[str, Any]]] = {
    "fsrcnn": (BATCH, {}),
    "idn": (4, {}),
    "rdn": (4, {"d": 4, "c": 4, "g": 32, "g0": 32}),
    "swinir_light": (4, {"embed_dim": 30, "groups": 2, "depth": 2, "heads": 3}),
}
PUBLISHED: dict[str, bool | int] = {
    "phase_convolution": False,
    "fused_attention": False,
    "ATTENTION_VALUES": 1,
}

Way = Callable[[], AbstractContextManager[Run]]  # opened anew for each measurement


@dataclass
class Bench:
    """What all tables share."""

    device: torch.device
    rounds: int
    steps: int | None
    fp32: bool
    data: Data

    def _measure(self, way: Way, calls: int) -> tuple[float, float]:
        """Seconds of a call, and peak MiB over what is held between two."""
        on_cuda = self.device.type == "cuda"
        held = peak = 0
        with way() as run:
            run()
            if on_cuda:
                torch.cuda.synchronize(self.device)
                torch.cuda.reset_peak_memory_stats(self.device)
                held = torch.cuda.memory_allocated(self.device)
            started = time.perf_counter()
            for _ in range(calls):
                run()
            if on_cuda:
                torch.cuda.synchronize(self.device)
                peak = torch.cuda.max_memory_allocated(self.device)
            return (time.perf_counter() - started) / calls, (peak - held) / 2**20

    def table(
        self, title: str, ways: dict[str, Way], *references: str, unit: str, per: int = 1
    ) -> dict[str, np.ndarray]:
        """Measure; print medians, ``per`` of the unit a call, and ratios. Returns the seconds."""
        calls = {}
        for name, way in ways.items():
            self._measure(way, 1)  # compiles, allocates, chooses kernels
            calls[name] = min(self.steps or 200, math.ceil(SPAN / self._measure(way, 3)[0]))
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for number in range(self.rounds):
            for name in reversed(ways) if number % 2 else ways:
                rounds[name].append(self._measure(ways[name], calls[name]))
        seconds = {name: np.array(each)[:, 0] for name, each in rounds.items()}
        heads = "".join(f"  {'x ' + name:24}" for name in references)
        print(f"\n{title}")
        print(f"  {'':28}{'ms':>9} {'[least..most]':18}{unit + '/s':>10}{heads}".rstrip())
        for name, times in seconds.items():
            ms, spread = 1e3 * np.median(times), f"[{1e3 * min(times):.2f}..{1e3 * max(times):.2f}]"
            row = f"  {name:28}{ms:9.2f} {spread:18}{per / np.median(times):10.1f}"
            for ratios in (seconds[reference] / times for reference in references):
                row += f"  {f'{np.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]':24}"
            if self.device.type == "cuda":
                row += f"  {np.median([peak for _, peak in rounds[name]]):.0f} MiB"
            print(row.rstrip(), flush=True)
        return seconds


# Our data


def our_batches(bench: Bench, residency: Residency, batch: int = BATCH, seed: int = 0) -> Batches:
    """All patches, in the order that 'srprune train' has."""
    ids, side = np.arange(len(bench.data.pool)), SIZE // SCALE
    sampler = CropSampler(ids, seed=seed, batch=batch, lr_patch=side, lr_crop=LR_CROP, augment=True)
    return Batches(bench.data.pool, ids, sampler, LR_CROP, bench.device, residency=residency)


def numbered(run: Callable[[int], Any]) -> Run:
    """Call with 0, 1, 2 and so on."""
    numbers = itertools.count()
    return lambda: run(next(numbers))


def first_choice(bench: Bench) -> Residency:
    """What ``data.residency: auto`` takes where there is room."""
    return "device" if bench.device.type == "cuda" else "host"


def loader(bench: Bench) -> None:
    """Batches of RGB on the device."""
    data, device = bench.data, bench.device
    ways: dict[str, Way] = {}
    for workers in (0, WORKERS):
        fetch = partial(fetching, batch=BATCH, workers=workers, device=device)
        images = PairedImages(partial(png_files, data.folder), data.names)
        ways[f"PNG, {workers} workers"] = partial(fetch, images)
        if HAS_LMDB:
            get = LmdbFiles(data.folder)
            images = PairedImages(get, data.names)
            ways[f"LMDB, {workers} workers"] = partial(fetch, images, close=get.close)
        pickled = PickledImages(data.folder, len(data.pool.hr_store))
        ways[f"pickles, {workers} workers"] = partial(fetch, pickled)
    if not HAS_LMDB:
        print("LMDB is left out: the package lmdb is not installed.")
    places: tuple[Residency, ...] = ("device", "host", "disk")
    for place in places[device.type != "cuda" :]:  # on a CPU device means host
        batches = our_batches(bench, place)
        ways[f"ours, {place}"] = partial(nullcontext, numbered(lambda k, b=batches: list(b.at(k))))
    title = f"Loader, batches of {BATCH}, RGB crops of {LR_CROP} px LR and {SCALE * LR_CROP} px HR"
    references = ("PNG, 0 workers", f"PNG, {WORKERS} workers")
    bench.table(title, ways, *references, unit="samples", per=BATCH)


# Steps


def fresh(bench: Bench, model: str, args: dict[str, Any], seed: int = 0) -> tuple[Network, Domain]:
    """The same weights at each call."""
    torch.manual_seed(seed)
    network, domain = build(model, SCALE, args)
    return network.to(bench.device).train(), domain


def nchw(pair: Pair) -> Pair:
    """Cloned: one channel is contiguous in either layout, and would keep our strides."""
    x, target = (each.clone(memory_format=torch.contiguous_format) for each in pair)
    return x, target


def peers_step(network: nn.Module) -> tuple[Callable[[Pair], Tensor], torch.optim.Optimizer]:
    """Eager, fp32, NCHW, layers as published, Adam as it is by default."""
    for parameter in network.parameters():
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)

    def step(pair: Pair) -> Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(network(pair[0]), pair[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    return lambda pair: forced(partial(step, pair), **PUBLISHED)(), optimizer


def our_step(
    bench: Bench, network: Network, compute: ComputeConfig
) -> Callable[[int, list[Pair]], None]:
    """What the loop of srprune.training does at each step."""
    optimizer = make_optimizer(network, OptimizerConfig(lr=RATE), network.last_layer)
    backward = Backward(network, F.mse_loss, rim=0, compute=compute, device=bench.device)
    watch = LossWatch(bench.device, ALONE)

    def step(number: int, pairs: list[Pair]) -> None:
        watch.add(number, backward(number, pairs))
        backward.scaler.unscale_(optimizer)
        backward.scaler.step(optimizer)
        backward.scaler.update()
        if watch.due(number + 1):
            watch.look()

    return step


def set_up(bench: Bench, *, ours: bool, tf32: bool) -> None:
    """Torch's switches as peers leave them, or as 'srprune train' sets them."""
    use_tf32(tf32 and ours)
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = not ours
    torch.use_deterministic_algorithms(ours, warn_only=bench.device.type != "cpu")


def computes(bench: Bench) -> dict[str, ComputeConfig]:
    found = {"ours": ComputeConfig(), "ours, compile": ComputeConfig(compile=True)}
    if not bench.fp32:
        found["ours, bf16"] = ComputeConfig(precision="bf16")
    if bench.device.type == "cuda":
        found["ours, tf32"] = ComputeConfig(tf32=True)
        found["ours, cuda_graph"] = ComputeConfig(cuda_graph=True)
        found["ours, bf16, cuda_graph"] = ComputeConfig(precision="bf16", cuda_graph=True)
        found["ours, bf16, compile"] = ComputeConfig(precision="bf16", compile=True)
    return found


def steps(bench: Bench, model: str) -> None:
    """Peers' step and ours, with their loaders and with a batch that is already there."""
    batch, args = NETWORKS[model]
    data, device = bench.data, bench.device
    domain = fresh(bench, model, args)[1]
    get = partial(png_files, data.folder)
    images = PairedImages(get, data.names, luma=domain.channels == "y")
    batches = our_batches(bench, first_choice(bench), batch)

    def batch_at(number: int) -> list[Pair]:
        return [(domain.input(lr), domain.target(hr)) for lr, hr in batches.at(number)]

    there = batch_at(0)
    plain = nchw(there[0])

    @contextmanager
    def peers() -> Iterator[Run]:
        set_up(bench, ours=False, tf32=True)
        with fetching(images, batch, WORKERS, device) as fetch:
            yield lambda: fetched(fetch()).item()

    @contextmanager
    def switched(run: Run, ours: bool, tf32: bool) -> Iterator[Run]:
        set_up(bench, ours=ours, tf32=tf32)
        yield run

    def add(name: str, compute: ComputeConfig, pairs_at: Callable[[int], list[Pair]]) -> None:
        step = our_step(bench, fresh(bench, model, args)[0], compute)
        run = numbered(lambda number: step(number, pairs_at(number)))
        ways[name] = partial(switched, run, True, compute.tf32)

    fetched, eager = (peers_step(fresh(bench, model, args)[0])[0] for _ in range(2))
    names = (f"peers: PNG, {WORKERS} workers", "eager fp32, data there")
    ways: dict[str, Way] = {names[0]: peers}
    ways[names[1]] = partial(switched, partial(eager, plain), False, False)
    if device.type == "cuda":
        ways["eager TF32, data there"] = partial(switched, partial(eager, plain), False, True)
    for name, compute in computes(bench).items():
        add(name, compute, batch_at)
    add("ours, data there", ComputeConfig(), lambda _: there)
    ways["our loader alone"] = partial(switched, numbered(batch_at), True, False)
    sizes = "".join(f", {name}={value}" for name, value in args.items())
    title = f"{model} x{SCALE}{sizes}: training step, batch {batch}, LR {LR_CROP}x{LR_CROP}, mse"
    seconds = bench.table(title, ways, *names, unit="steps")
    for name in computes(bench):
        shares = 100 * seconds["our loader alone"] / seconds[name]
        print(f"  our loader ({first_choice(bench)}) is {np.median(shares):.1f}% of a step of "
              f"'{name}' [{min(shares):.1f}..{max(shares):.1f}]")  # fmt: skip
    waits = 100 * (1 - seconds[names[1]] / seconds[names[0]])
    spread = f"{np.median(waits):.1f}% [{min(waits):.1f}..{max(waits):.1f}]"
    print(f"  data, and workers on the same cores, take {spread} of peers' step")


# Equal results


def equal(bench: Bench) -> None:
    """Mean loss since the last full hundred of steps, and PSNR-Y, by peers' step and by ours."""
    count = bench.steps or 600
    ways = {"eager fp32": None, "ours": ComputeConfig()}
    if bench.device.type == "cuda":
        ways["ours, bf16"] = ComputeConfig(precision="bf16")
    print(f"\nfsrcnn x{SCALE}, {count} steps of batch {BATCH}; seeds {SEEDS}, the same batches")
    print(f"  {'':14}{'loss at the end':>36}{'PSNR-Y of the held-out photos':>36}")
    psnrs: dict[str, np.ndarray] = {}
    for name, compute in ways.items():
        figures = []
        for seed in SEEDS:
            config = TrainConfig(
                model="fsrcnn", budget={"steps": count}, batch=BATCH, lr_crop=LR_CROP, loss="mse",
                optimizer={"lr": RATE}, seed=seed, compute=compute or {},
            )  # fmt: skip
            validate = validation(config, [], bench.device)
            assert validate
            train = train_plainly if compute is None else partial(train_by_fit, name=name)
            loss, network = train(bench, config)
            figures.append((loss, validate(network.eval())["psnr_y"]))
        losses, psnrs[name] = np.array(figures).T
        shown = (
            ", ".join(f"{loss:.6f}" for loss in losses),
            ", ".join(map("{:.4f}".format, psnrs[name])),
        )
        print(f"  {name:14}{shown[0]:>36}{shown[1]:>36}", flush=True)
    for name in list(ways)[1:]:
        far = psnrs[name] - psnrs["eager fp32"]
        print(f"  {name} - eager fp32: {np.mean(far):+.4f} dB [{min(far):+.4f}..{max(far):+.4f}]")
    print(f"  seeds differ by {np.ptp(psnrs['eager fp32']):.4f} dB")


def train_plainly(bench: Bench, config: TrainConfig) -> tuple[float, nn.Module]:
    """Peers' step on our batches; the loss is what the last row of our log would hold."""
    set_up(bench, ours=False, tf32=False)
    network, domain = fresh(bench, config.model, {}, config.seed)
    step, optimizer = peers_step(network)
    batches = our_batches(bench, first_choice(bench), seed=config.seed)
    losses, count = [], config.budget.steps or 0
    for number in range(count):
        optimizer.param_groups[0]["lr"] = RATE * rate(config.schedule, number, count)
        for lr, hr in batches.at(number):
            losses.append(step(nchw((domain.input(lr), domain.target(hr)))).item())
    return float(np.mean(losses[-(count % 100 or 100) :])), network


def train_by_fit(bench: Bench, config: TrainConfig, *, name: str) -> tuple[float, nn.Module]:
    """What 'srprune train' does; the loss is the last row of its log."""
    pool = bench.data.pool
    folder = bench.data.folder / "runs" / f"{name}_{config.seed}"
    job = Job(folder, config, pool, np.arange(len(pool)), "full", {})
    fit(job, device=bench.device)
    with (folder / "log.csv").open() as file:
        loss = float(list(csv.DictReader(file))[-1]["loss"])
    return loss, load_weights(job.weights)[0].to(bench.device)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, help="a round, at most 200; of --equal, 600")
    parser.add_argument("--only", choices=["loader", "step"])
    parser.add_argument("--equal", action="store_true", help="train, and compare PSNR-Y instead")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=["fsrcnn"])
    parser.add_argument("--fp32", action="store_true", help="leave out bf16")
    parser.add_argument("--images", default="photos", help="a folder of HR images, or photos")
    options = parser.parse_args()
    device = pick_device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores")
    print(f"CPU: {processor()}; load {os.getloadavg()[0]:.1f}")
    print(f"device: {torch.cuda.get_device_name(device) if device.type == 'cuda' else device}")
    print(f"PNG decoder: {DECODER}")
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(options.images, Path(folder))
        images = len(data.pool.hr_store)
        print(f"data: {len(data.pool)} patches of {SIZE} px of {images} images")
        bench = Bench(device, options.rounds, options.steps, options.fp32, data)
        if options.equal:
            equal(bench)
        else:
            if options.only != "step":
                loader(bench)
            for model in options.networks if options.only != "loader" else ():
                steps(bench, model)


if __name__ == "__main__":
    main()
