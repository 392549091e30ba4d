"""Time the networks: ours against plain PyTorch, and SwinIR against spandrel's.

    python scripts/bench_models.py [--device cpu] [--threads 1] [--rounds 5] [--only training]

The variants of a table take turns in one process, forwards and backwards in alternate rounds;
ratios to a reference are paired round by round, median [least..most], and above 1 is faster. On
CUDA there is also the peak of memory over what is held between two calls: activations and
gradients, not weights and the state of Adam.

SwinIR's masks are built for the measured size, so spandrel need not compute them anew. The layers
are measured for the choices of srprune.models.paths. Exit status 1 if a network of ours does not
give what its reference gives, to 1e-5 (where that is the same network run plainly: 1e-5 of its
largest value, if that is above 1).
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spandrel import ModelLoader
from torch import Tensor, nn
from torch.nn import functional as F

from srprune.models import paths
from srprune.models.build import build
from srprune.models.device import pick_device
from srprune.models.layers import PhaseConvTranspose2d
from srprune.models.windows import WINDOW, WindowAttention

SCALE, SIDE = 2, 48  # of training: x2, LR px
INFERENCE_SIDE = {"cpu": 96, "cuda": 240}  # LR px
SPAN = 0.1  # s that a measurement lasts at least
LIMIT = 1e-5
HEADS = 6

Run = Callable[[], Any]


@dataclass
class Bench:
    """What all tables share; ``wrong`` collects the comparisons that failed."""

    device: torch.device
    rounds: int
    compile: bool
    full: bool
    fp32: bool  # no bf16, which a CPU without units for it computes ten times as slowly
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.on_cuda = self.device.type == "cuda"
        self.dtypes = (torch.float32,) if self.fp32 else (torch.float32, torch.bfloat16)

    def _measure(self, run: Run, calls: int) -> tuple[float, float]:
        """Seconds of a call, and peak MiB."""
        held = peak = 0
        if self.on_cuda:
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            held = torch.cuda.memory_allocated(self.device)
        started = time.perf_counter()
        for _ in range(calls):
            run()
        if self.on_cuda:
            torch.cuda.synchronize(self.device)
            peak = torch.cuda.max_memory_allocated(self.device)
        return (time.perf_counter() - started) / calls, (peak - held) / 2**20

    def table(self, title: str, variants: dict[str, Run], *references: str) -> None:
        """Measure, and print the ratios to some of the variants."""
        if self.fp32:
            variants = {name: run for name, run in variants.items() if "bf16" not in name}
            references = tuple(name for name in references if name in variants)
        calls = {}
        for name, run in variants.items():
            run()  # compiles, allocates, chooses kernels
            calls[name] = max(1, math.ceil(SPAN / self._measure(run, 1)[0]))
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
        for number in range(self.rounds):
            for name in reversed(variants) if number % 2 else variants:
                rounds[name].append(self._measure(variants[name], calls[name]))
        seconds = {name: np.array(each)[:, 0] for name, each in rounds.items()}
        peaks = {name: np.median(np.array(each)[:, 1]) for name, each in rounds.items()}
        print(f"\n{title}")
        heads = "".join(f"  {'x ' + name:23}" for name in references)
        memory = "  MiB (ratio to the same)" if self.on_cuda else ""
        print(f"  {'':24}{'ms':>10}{heads}{memory}".rstrip())
        for name, times in seconds.items():
            row = f"  {name:24}{1e3 * np.median(times):10.2f}"
            for ratios in (seconds[reference] / times for reference in references):
                spread = f"{np.median(ratios):.2f} [{ratios.min():.2f}..{ratios.max():.2f}]"
                row += f"  {spread:23}"
            if self.on_cuda:
                shares = ", ".join(f"{peaks[name] / peaks[other]:.2f}" for other in references)
                row += f"  {peaks[name]:.0f} ({shares})"
            print(row.rstrip(), flush=True)

    def compare(self, title: str, reference: Run, *, unit: float = 1, **others: Run) -> None:
        """Print how far the outputs of others are from the reference's, over ``unit``."""
        expected = reference()
        for name, run in others.items():
            far = (run() - expected).abs().max().item() / unit
            good = far < LIMIT  # False for NaN too
            print(f"\n{title}: {name}, largest difference {far:.1e}{'' if good else ' WRONG'}")
            if not good:
                self.wrong.append(f"{title}: {name}")


def forced(run: Run, **choices: bool | int) -> Run:
    """``run`` with other choices and numbers in srprune.models.paths."""
    others = {
        name: (lambda *_, value=value: value) if isinstance(value, bool) else value
        for name, value in choices.items()
    }

    def with_others() -> Any:
        kept = {name: vars(paths)[name] for name in others}
        vars(paths).update(others)
        try:
            return run()
        finally:
            vars(paths).update(kept)

    return with_others


# Networks


def ours(model: str, device: torch.device, **args: Any) -> nn.Module:
    """A network of the table, the same weights at each call."""
    torch.manual_seed(0)
    network = build(model, SCALE, args)[0]
    for name, parameter in network.named_parameters():
        if name.endswith("relative_position_bias_table"):
            nn.init.normal_(parameter)  # a fresh one is near zero and would hide a mistake
    return network.to(device)


def theirs(network: nn.Module, device: torch.device) -> nn.Module:
    """The SwinIR of spandrel with the same weights."""
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    with warnings.catch_warnings(action="ignore"):  # of spandrel's own code
        return ModelLoader(device).load_from_state_dict(state).model.requires_grad_(True)


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def restore(network: nn.Module, x: Tensor, *, bf16: bool) -> Tensor:
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        return network(x)


@torch.inference_mode()
def infer(network: nn.Module, x: Tensor, *, bf16: bool = False) -> Tensor:
    return restore(network.eval(), x, bf16=bf16)


def step(network: nn.Module, x: Tensor, target: Tensor, *, bf16: bool, adam: bool = True) -> Run:
    """A training step with L1 and Adam; the network is in use from now on."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    network.train()

    def run() -> None:
        F.l1_loss(restore(network, x, bf16=bf16).float(), target).backward()
        if adam:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return run


def inference(bench: Bench) -> None:
    side = INFERENCE_SIDE[bench.device.type]
    x = torch.rand(1, 3, side, side, device=bench.device)
    for model in ("swinir_light", "swinir") if bench.full else ("swinir_light",):
        network = ours(model, bench.device, img_size=side)
        reference = partial(infer, theirs(network, bench.device), x)
        default = partial(infer, network, channels_last(x))
        explicit = forced(default, fused_attention=False)
        bf16 = partial(default, bf16=True)
        title = f"{model} x{SCALE}, inference, LR {side}x{side}"
        bench.compare(title, reference, ours=default, explicit=explicit)
        variants = {
            "spandrel fp32": reference,
            "spandrel bf16": partial(reference, bf16=True),
            "ours fp32": default,
            "ours fp32, explicit": explicit,
            "ours bf16": bf16,
            "ours bf16, explicit": forced(bf16, fused_attention=False),
        }
        bench.table(title, variants, "spandrel fp32", "spandrel bf16")


def train_swinir(bench: Bench, model: str, batch: int, *, adam: bool = True) -> None:
    def fresh() -> nn.Module:
        return ours(model, bench.device, img_size=SIDE)

    x = torch.rand(batch, 3, SIDE, SIDE, device=bench.device)
    target = torch.rand(batch, 3, SCALE * SIDE, SCALE * SIDE, device=bench.device)
    variants = {}
    for name, bf16 in (("fp32", False), ("bf16", True)):
        make = partial(step, x=channels_last(x), target=target, bf16=bf16, adam=adam)
        variants[f"spandrel {name}"] = make(theirs(fresh(), bench.device), x=x)
        variants[f"ours {name}"] = make(fresh())
        if bench.on_cuda:  # there, fused attention has a gradient for the bias
            variants[f"ours {name}, fused"] = forced(make(fresh()), fused_attention=True)
        if bench.compile:
            variants[f"ours {name}, compiled"] = make(torch.compile(fresh()))
    what = "training step" if adam else "forward and backward"
    title = f"{model} x{SCALE}, {what}, batch {batch}, LR {SIDE}x{SIDE}"
    bench.table(title, variants, "spandrel fp32", "spandrel bf16")


def train_plain(bench: Bench, model: str, batch: int, **args: int) -> None:
    def fresh() -> nn.Module:
        return ours(model, bench.device, **args)

    domain = build(model, SCALE, args)[1]
    planes = 1 if domain.channels == "y" else 3
    side = SCALE * SIDE if domain.pre_upsampled else SIDE
    x = torch.rand(batch, planes, side, side, device=bench.device)
    target = torch.rand(batch, planes, SCALE * SIDE, SCALE * SIDE, device=bench.device)
    sizes = ", ".join(f"{name}={value}" for name, value in args.items())
    title = f"{model}({sizes}) x{SCALE}, training step, batch {batch}, LR {SIDE}x{SIDE}"
    plain = fresh().to(memory_format=torch.contiguous_format)
    reference = forced(partial(infer, plain, x), phase_convolution=False)
    unit = max(1, reference().abs().max().item())  # fresh DRRNs give values far above 1
    bench.compare(title, reference, unit=unit, ours=partial(infer, fresh(), channels_last(x)))
    make = partial(step, x=channels_last(x), target=channels_last(target))
    eager = step(plain, x, target, bf16=False)
    variants = {"plain fp32": forced(eager, phase_convolution=False)}
    for name, bf16 in (("fp32", False), ("bf16", True)):
        variants[f"ours {name}"] = make(fresh(), bf16=bf16)
        if bench.compile:
            variants[f"ours {name}, compiled"] = make(torch.compile(fresh()), bf16=bf16)
    bench.table(title, variants, "plain fp32")


def training(bench: Bench) -> None:
    train_plain(bench, "fsrcnn", 16)
    train_plain(bench, "idn", 4)
    train_plain(bench, "rdn", 4, d=4, c=4, g=32, g0=32)
    train_plain(bench, "drrn", 1, u=9)
    train_swinir(bench, "swinir_light", 2)
    if bench.full and bench.on_cuda:
        train_swinir(bench, "swinir", 16)
        train_swinir(bench, "swinir", 16, adam=False)
        print("  Goal: 2 x spandrel fp32, 1.3 x spandrel bf16, memory no larger.")


# Layers

Way = tuple[Callable[..., Tensor], Sequence[Tensor], dict[str, bool | int]]


def backward(run: Run, inputs: Sequence[Tensor], trained: Sequence[Tensor]) -> Run:
    """Forward, and gradients of inputs and parameters."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    upstream = torch.randn_like(run(*inputs))
    return lambda: torch.autograd.grad(run(*leaves), [*leaves, *trained], upstream)


def passes(
    bench: Bench,
    title: str,
    ways: dict[str, Way],
    *references: str,
    trained: Sequence[Tensor] = (),
) -> None:
    """Forward without gradients, and forward and backward.

    Each way is a function, its arguments, and the choices of srprune.models.paths.
    """
    forward, both = {}, {}
    for name, (run, inputs, choices) in ways.items():
        forward[name] = forced(torch.no_grad()(partial(run, *inputs)), **choices)
        both[name] = forced(backward(run, inputs, trained), **choices)
    bench.table(f"{title}, forward", forward, *references)
    bench.table(f"{title}, forward and backward", both, *references)


def transposed(bench: Bench, name: str, batch: int, inputs: int, kernel: int) -> None:
    """The last layer of FSRCNN or IDN: large kernel, the scale as its stride."""
    for scale in (2, 3, 4):
        padding = 4 if kernel == 9 else 9 - scale  # of FSRCNN, of IDN
        layer = PhaseConvTranspose2d(inputs, 1, kernel, scale, padding).to(bench.device)
        for dtype in bench.dtypes:
            x = torch.rand(batch, inputs, SIDE, SIDE, device=bench.device, dtype=dtype)
            run = partial(restore, layer, bf16=dtype == torch.bfloat16)
            ways: dict[str, Way] = {
                "transposed, NCHW": (run, [x], {"phase_convolution": False}),
                "transposed": (run, [channels_last(x)], {"phase_convolution": False}),
                "by phase": (run, [channels_last(x)], {"phase_convolution": True}),
            }
            title = f"{name} {kernel}x{kernel} x{scale}, {dtype}, batch {batch}"
            trained = list(layer.parameters())
            passes(bench, title, ways, "transposed, NCHW", "transposed", trained=trained)


def attention(bench: Bench, values: int) -> None:
    """Window attention between its two linear layers, windows not shifted."""
    side, dim = 12 * WINDOW, HEADS * values
    layer = WindowAttention(dim, HEADS).to(bench.device)
    for dtype in bench.dtypes:
        qkv = torch.randn(1, side, side, 3 * dim, device=bench.device, dtype=dtype)
        # detached: torch's choice of a kernel asks for requires_grad, under no_grad too
        inputs = [qkv, layer.bias().detach().to(dtype)]
        explicit, fused = partial(layer._explicit, masks=None), partial(layer._fused, masks=None)
        ways: dict[str, Way] = {
            "explicit": (explicit, inputs, {"ATTENTION_VALUES": 1}),
            "explicit, padded": (explicit, inputs, {}),
            "fused": (fused, inputs, {"ATTENTION_VALUES": 1}),
            "fused, padded": (fused, inputs, {}),
        }
        windows = (side // WINDOW) ** 2
        title = f"attention, {HEADS} heads of {values}, {dtype}, {windows} windows"
        passes(bench, title, ways, "explicit", "fused")


def layers(bench: Bench) -> None:
    transposed(bench, "FSRCNN's", 16, 56, 9)
    transposed(bench, "IDN's", 4, 64, 17)
    for values in (10, 30):  # SwinIR light and M
        attention(bench, values)


PARTS = {"inference": inference, "training": training, "layers": layers}


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=list(PARTS))
    parser.add_argument("--compile", action="store_true", help="also torch.compile, in training")
    parser.add_argument("--full", action="store_true", help="also SwinIR-M; to train, on CUDA only")
    parser.add_argument("--fp32", action="store_true", help="leave out bf16")
    options = parser.parse_args()
    device = pick_device(options.device)
    if device.type not in INFERENCE_SIDE:
        parser.error(f"the device is {device}; choose cpu or cuda")
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"CPU: {processor()}, {torch.backends.cpu.get_cpu_capability()}")
    print(f"device: {torch.cuda.get_device_name(device) if device.type == 'cuda' else device}")
    bench = Bench(device, options.rounds, options.compile, options.full, options.fp32)
    for part in [options.only] if options.only else PARTS:
        PARTS[part](bench)
    if bench.wrong:
        sys.exit(f"Not what the reference gives: {'; '.join(bench.wrong)}")


if __name__ == "__main__":
    main()
