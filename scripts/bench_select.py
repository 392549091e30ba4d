"""Choose the refined core-set (ratio 0.5, offset 0.05) from very many scores.

    python scripts/bench_select.py [--patches 1e6 1e7] [--rounds 3] [--rules] [--files FOLDER]

srprune's partition against a stable argsort and pyarrow's top-k. Every run is a process of its
own, so the peak memory is its own (libraries and the scores included); the variants take turns,
ratios are paired round by round, median [least..most]. pyarrow's top-k is not stable: which of
equal scores it takes is not said. ``covered_pixels`` counts the pixels of the same core-set on the
grid of 2040x1356 images at 480/240, 40 patches each; ``--rules`` adds rules that draw.

``--files`` measures the whole command instead: below FOLDER it writes a patch index of images of
the three commonest shapes of DIV2K and a score table in 20 parts, then runs ``srprune select`` once
with each rule, a process each, from files to a file, and removes it all. Nothing there stands
beside it: the limits are a minute and 4 GiB for 10^8 patches.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
RATIO, OFFSET = 0.5, 0.05
SHAPES = (1356, 2040), (1344, 2040), (1536, 2040)  # px, as stored
SHARES = np.array([0.7, 0.2, 0.1])
PARTS = 20


def srprune(scores_N: Scores) -> Callable[[], Ids]:
    from srprune.selection.rank_window import des

    return lambda: des(scores_N, RATIO, OFFSET, 0)


def argsort(scores_N: Scores) -> Callable[[], Ids]:
    first, size = round(OFFSET * len(scores_N)), round(RATIO * len(scores_N))
    return lambda: np.sort(np.argsort(-scores_N, kind="stable")[first : first + size])


def pyarrow_top_k(scores_N: Scores) -> Callable[[], Ids]:
    import pyarrow as pa
    import pyarrow.compute as pc

    first, size = round(OFFSET * len(scores_N)), round(RATIO * len(scores_N))
    values = pa.array(scores_N)

    def choose() -> Ids:
        top = pc.select_k_unstable(values, first + size, sort_keys=[("", "descending")])
        return np.sort(np.asarray(top)[first:]).astype(np.int64)

    return choose


def covered_pixels(scores_N: Scores) -> Callable[[], Ids]:
    from srprune.core.patches import ImageRecord, PatchIndex
    from srprune.images.grid import windows
    from srprune.selection import coverage
    from srprune.selection.rank_window import des

    corners = windows(1356, 2040, 480, 240).astype(np.int32)
    images = -(-len(scores_N) // len(corners))
    record = ImageRecord("image.png", 1356, 2040, "0" * 32)
    index = PatchIndex(
        480,
        240,
        (record,) * images,
        np.repeat(np.arange(images, dtype=np.int32), len(corners)),
        *(np.tile(column, images) for column in corners.T),
    )
    ids = des(scores_N, RATIO, OFFSET, 0)
    return lambda: np.array([coverage.covered_pixels(index, ids)])


def rule(name: str) -> Callable[[Scores], Callable[[], Ids]]:
    def make(scores_N: Scores) -> Callable[[], Ids]:
        from srprune.selection import RULES

        chosen = RULES.load(name)
        return lambda: chosen(scores_N, RATIO, OFFSET if chosen.scores else 0.0, 0)

    return make


VARIANTS = {"srprune": srprune, "argsort": argsort, "pyarrow top-k": pyarrow_top_k}
OTHERS = {"covered_pixels": covered_pixels}
RULES = {name: rule(name) for name in ("random", "ccs", "stratified")}


def child(name: str, num: int) -> None:
    """Run one variant and print seconds, peak memory in GB and what was chosen."""
    scores_N = np.random.default_rng(0).lognormal(size=num)
    choose = (VARIANTS | OTHERS | RULES)[name](scores_N)
    started = time.perf_counter()
    ids = choose()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps([seconds, peak, [len(ids), int(ids.sum())]]))


def run(name: str, num: int) -> tuple[float, float, object]:
    command = [sys.executable, __file__, "--child", name, "--patches", str(num)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak, chosen = json.loads(done.stdout)
    return seconds, peak, chosen


def write_files(root: Path, num: int) -> None:
    """A workspace with a patch index and a score table in parts, about ``num`` patches."""
    from srprune.core.patches import ImageRecord, PatchIndex
    from srprune.core.score_parts import split, write_part
    from srprune.core.workspace import Workspace
    from srprune.images.grid import windows

    workspace, rng = Workspace(root), np.random.default_rng(0)
    corners = [windows(height, width, 480, 240) for height, width in SHAPES]
    counts_K = np.array([len(each) for each in corners])
    shape_I = rng.choice(len(SHAPES), size=round(num / (counts_K * SHARES).sum()), p=SHARES)
    index = PatchIndex(
        480,
        240,
        tuple(
            ImageRecord(f"{i // 10_000:04}/{i:08}.png", *SHAPES[k], f"{i:032x}")
            for i, k in enumerate(shape_I.tolist())
        ),
        np.repeat(np.arange(len(shape_I), dtype=np.int32), counts_K[shape_I]),
        *(np.concatenate([corners[k][:, side] for k in shape_I.tolist()]) for side in (0, 1)),
    ).write(workspace.patches, made={})
    for number, part in enumerate(split(index, PARTS)):
        write_part(
            workspace.scores("mse_x2"),
            number,
            PARTS,
            part.start,
            rng.lognormal(size=len(part)),
            parents={"patches": index.fingerprint},
            params={"method": "mse", "scale": 2},
            made={},
        )
    print(f"{len(index):,} patches of {len(shape_I):,} images", flush=True)


def select_files(folder: Path, num: int) -> None:
    """Time and memory of the whole command for each rule."""
    with tempfile.TemporaryDirectory(dir=folder) as root:
        files = [sys.executable, __file__, "--files", root, "--child", "files", "--patches"]
        subprocess.run([*files, str(num)], check=True)  # its memory is not ours
        size = sum(path.stat().st_size for path in Path(root).rglob("*.parquet"))
        print(f"{size / 1e9:.2f} GB of index and scores\nrule          wall s   CPU s  peak GiB")
        for name in ("des", *RULES):
            offset = "0" if name == "random" else str(OFFSET)
            command = [sys.executable, "-m", "srprune", "select", "--rule", name]
            command += ["--ratio", str(RATIO), "--offset", offset, "-w", root]
            started = time.perf_counter()
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            wall, cpu = time.perf_counter() - started, used.ru_utime + used.ru_stime
            assert not process.returncode, f"{name} failed"
            print(f"{name:12} {wall:7.1f} {cpu:7.1f} {used.ru_maxrss / 2**20:9.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=float, nargs="+", default=[1e6, 1e7])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rules", action="store_true")
    parser.add_argument("--files", type=Path, metavar="FOLDER", help="measure the command")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(num) for num in options.patches]
    if options.child == "files":
        write_files(options.files, sizes[0])
        return
    if options.files:
        for num in sizes:
            select_files(options.files, num)
        return
    if options.child:
        child(options.child, sizes[0])
        return
    print("   patches  variant          seconds   ratio to argsort      peak GB")
    for num in sizes:
        measured: dict[str, list[tuple[float, float, object]]] = {name: [] for name in VARIANTS}
        for number in range(options.rounds):
            for name in list(VARIANTS) if number % 2 else list(reversed(VARIANTS)):
                measured[name].append(run(name, num))
        assert measured["srprune"][0][2] == measured["argsort"][0][2], "other ids than the sort's"
        plain = np.array([seconds for seconds, _, _ in measured["argsort"]])
        for name, runs in measured.items():
            times = np.array([seconds for seconds, _, _ in runs])
            ratios = plain / times
            spread = f"{np.median(ratios):5.2f} [{ratios.min():.2f}..{ratios.max():.2f}]"
            peak = max(peak for _, peak, _ in runs)
            print(f"{num:10,}  {name:15} {np.median(times):8.2f}   {spread:20} {peak:8.2f}")
        for name in [*OTHERS, *(RULES if options.rules else [])]:
            seconds, peak, _ = run(name, num)
            print(f"{num:10,}  {name:15} {seconds:8.2f}   {'':20} {peak:8.2f}")


if __name__ == "__main__":
    main()
