"""Train every network for the same short budget, measure it, and print the table; draw the curves.

    python scripts/learn.py IMAGES WORKSPACE [NETWORK ...]

IMAGES is a folder of HR training images; benchmarks come from SRPRUNE_DATA. Finished runs are
kept, interrupted ones go on. Published sizes where a CPU trains them in minutes, else narrower or
shallower ones of the same class, whose arguments stand in the table.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import torch

from srprune.core.weights import read_weights_header
from srprune.models.build import build, parameter_count

SEED = 0
BENCHMARKS = ("set5", "set14", "bsd100")
ADAM = {"optimizer.lr": "5e-4"}
MSE = {"loss": "mse"}
# What differs from configs/learn_x2.yaml, by network.
NETWORKS: dict[str, dict[str, str]] = {
    "srcnn": {"model_args.init": "he", **MSE, "optimizer.lr": "1e-3"},
    "fsrcnn": {**MSE, "optimizer.lr": "2e-3"},
    "fsrcnn_s": {**MSE, "optimizer.lr": "2e-3"},
    "drrn": {  # as published: Caffe's loss, SGD at 0.1, halved often, clipped at 0.01 over the rate
        "model_args.u": "3",
        "model_args.features": "32",
        "loss": "euclidean",
        "optimizer.name": "sgd",
        "optimizer.lr": "0.1",
        "optimizer.momentum": "0.9",
        "optimizer.weight_decay": "1e-4",
        "optimizer.bias_lr": "0.1",
        "optimizer.clip": "0.01",
        "optimizer.clip_by_lr": "true",
        "schedule": "{name: multistep, factor: 0.5, milestones: [0.06, 0.12, 0.18, 0.24, 0.3, "
        "0.36, 0.42, 0.48, 0.54, 0.6, 0.66, 0.72]}",
    },
    "idn": {  # as published: L1, Adam at 1e-4, biases and last layer at a tenth
        "optimizer.lr": "1e-4",
        "optimizer.weight_decay": "6e-8",
        "optimizer.bias_lr": "0.1",
        "optimizer.last_layer_lr": "0.1",
    },
    "rdn": {
        "model_args.d": "2",
        "model_args.c": "4",
        "model_args.g": "24",
        "model_args.g0": "24",
        **ADAM,
    },
    "swinir": {
        "model_args.embed_dim": "36",
        "model_args.groups": "2",
        "model_args.depth": "2",
        "model_args.heads": "3",
        **ADAM,
    },
    "swinir_light": {
        "model_args.embed_dim": "30",
        "model_args.groups": "2",
        "model_args.depth": "2",
        "model_args.heads": "3",
        **ADAM,
    },
    "srresnet": {
        "model_args.features": "32",
        "model_args.blocks": "4",
        **MSE,
        "optimizer.lr": "1e-3",
    },
    "msrresnet": {"model_args.features": "32", "model_args.blocks": "8", **ADAM},
    "edsr_baseline": {"model_args.features": "32", "model_args.blocks": "8", **ADAM},
    "edsr_large": {"model_args.features": "32", "model_args.blocks": "6", **ADAM},
    "rcan": {
        "model_args.features": "32",
        "model_args.groups": "3",
        "model_args.blocks": "3",
        "model_args.reduction": "8",
        **ADAM,
    },
}


def srprune(workspace: Path, *args: str) -> str:
    """Run a command and return what it prints."""
    command = [sys.executable, "-m", "srprune", *args, "--workspace", str(workspace)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def train(workspace: Path, network: str) -> None:
    changes = {"model": network, "seed": str(SEED), **NETWORKS[network]}
    sets = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    srprune(workspace, "train", "--config", "learn_x2.yaml", "--name", network, "--resume", *sets)


def measure(workspace: Path, model: str) -> dict[str, dict[str, float]]:
    """Mean PSNR-Y and SSIM-Y by benchmark; what is measured already is only read."""
    chosen = [part for name in BENCHMARKS for part in ("--benchmark", name)]
    text = srprune(workspace, "eval", model, *chosen, "--scale", "2", "--json", "--means-only")
    means: dict[str, dict[str, float]] = json.loads(text)[0]["means"]
    return means


def curve(workspace: Path, network: str) -> list[tuple[int, float]]:
    """PSNR-Y on Set5 over the steps."""
    with (workspace / "runs" / network / "validation.csv").open() as file:
        return [(int(row["step"]), float(row["psnr_y"])) for row in csv.DictReader(file)]


def facts(workspace: Path, network: str) -> tuple[str, int, float]:
    """Arguments that are not the published ones, parameters, and seconds of training."""
    header = read_weights_header(workspace / "runs" / network / "weights.safetensors")
    with torch.device("meta"):
        built, _ = build(network, header.params["scale"], header.params["model_args"])
    args = ", ".join(f"{k} {v}" for k, v in header.params["model_args"].items() if k != "init")
    return args or "published", parameter_count(built), header.made["seconds"]


def table(workspace: Path, networks: list[str]) -> str:
    """The results as Markdown."""
    floor = measure(workspace, "bicubic")
    heads = ["network", "size", "parameters", "seconds"]
    heads += [f"{name} dB / SSIM" for name in BENCHMARKS]
    lines = [heads, ["---"] * 2 + ["---:"] * (2 + len(BENCHMARKS))]
    figures = [f"{floor[b]['psnr_y']:.2f} / {floor[b]['ssim_y']:.4f}" for b in BENCHMARKS]
    lines.append(["bicubic", "", "", "", *figures])
    for network in networks:
        args, count, seconds = facts(workspace, network)
        means = measure(workspace, network)
        figures = [
            f"{means[b]['psnr_y']:.2f} ({means[b]['psnr_y'] - floor[b]['psnr_y']:+.2f}) / "
            f"{means[b]['ssim_y']:.4f}"
            for b in BENCHMARKS
        ]
        lines.append([network, args, f"{count:,}", f"{seconds:,.0f}", *figures])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def draw(workspace: Path, networks: list[str]) -> Path:
    """Learning curves of all networks on one axis, above bicubic's line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.6), layout="constrained")
    for i, network in enumerate(networks):
        style = ("-", "--", ":")[i // 7]
        axes.plot(*zip(*curve(workspace, network), strict=True), style, label=network, lw=1.6)
    floor = measure(workspace, "bicubic")["set5"]["psnr_y"]
    axes.axhline(floor, color="#333333", lw=1)
    place = axes.get_yaxis_transform()
    axes.text(1, floor, "bicubic", transform=place, ha="right", va="top", fontsize=8)
    axes.set(xlabel="step", ylabel="PSNR-Y on Set5, dB", ylim=(floor - 4, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="lower right")
    path = workspace / "curves.png"
    figure.savefig(path, dpi=150)
    return path


def main() -> None:
    images, workspace, *chosen = sys.argv[1:]
    folder = Path(workspace)
    if not (folder / "patches.parquet").exists():
        srprune(folder, "extract", images)
    for network in chosen or NETWORKS:
        train(folder, network)
        means = measure(folder, network)
        print(network, {name: round(m["psnr_y"], 3) for name, m in means.items()}, flush=True)
    done = [n for n in NETWORKS if (folder / "runs" / n / "weights.safetensors").exists()]
    print(table(folder, done))
    print(draw(folder, done))


if __name__ == "__main__":
    main()
