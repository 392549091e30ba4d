"""How far the score tables of a workspace agree with one of them.

    python scripts/correlate.py WORKSPACE [--reference mse_x2] [--all] [--cost]

Spearman's rank correlation over all patches, and the shares of the reference's core-sets that a
table would have kept as well: the hardest 5, 25 and 50%, and the refined 5 to 55%. Chance shares
are 0.05, 0.25, 0.50 and 0.50. Prints Markdown; with --all every pair's Spearman, too, and with
--cost the CPU time of the scores that need no network, beside that of decoding the same images
from PNG, each patch's share of it: median [least..most] of alternating rounds.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import stats

from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.scoring.gradient import Laplacian, Sobel, SwappedSobel
from srprune.scoring.texture import Entropy, HighFrequency, Variance
from srprune.selection.rank_window import des
from srprune.stages.pool import open_pool

CORESETS = {"top 5%": (0.05, 0.0), "25%": (0.25, 0.0), "50%": (0.5, 0.0), "5-55%": (0.5, 0.05)}


def spearman(a_N: np.ndarray, b_N: np.ndarray) -> float:
    return float(stats.spearmanr(a_N, b_N).statistic)


def shared(a_N: np.ndarray, b_N: np.ndarray, ratio: float, offset: float) -> float:
    """Share of a core-set that is in the other one."""
    a, b = (des(scores_N, ratio, offset, seed=0) for scores_N in (a_N, b_N))
    return len(np.intersect1d(a, b)) / len(a)


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def cost(workspace: Workspace, images: int = 4, rounds: int = 7, batch: int = 4) -> None:
    """Print milliseconds a patch."""
    pool = open_pool(workspace, 2, with_lr=False)
    ids = np.flatnonzero(pool.index.image_N < images)
    batches = np.split(ids, range(batch, len(ids), batch))
    files = []
    for i in range(images):
        file = io.BytesIO()
        Image.fromarray(pool.hr_store.image(i)).save(file, "PNG")
        files.append(file)

    def decode() -> None:
        for file in files:
            Image.open(file).load()

    def scoring(make: type) -> None:
        scorer = make()
        for few in batches:
            scorer(few, pool)

    ways = {"decoding from PNG": decode} | {
        make.__name__: lambda make=make: scoring(make)
        for make in (Sobel, SwappedSobel, Laplacian, Variance, Entropy, HighFrequency)
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways) if number % 2 else list(reversed(ways)):
            started = time.process_time()
            ways[name]()
            if number:  # the first round warms up
                times[name].append(1e3 * (time.process_time() - started) / len(ids))
    print(f"\n{len(ids)} patches of {pool.index.size} px from {images} images, ms a patch\n")
    for name, each in times.items():
        print(f"{name:18} {np.median(each):5.2f} [{min(each):.2f}..{max(each):.2f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--reference", default="mse_x2", help="score table")
    parser.add_argument("--all", action="store_true", help="Spearman of every pair")
    parser.add_argument("--cost", action="store_true", help="time the scores without a network")
    arguments = parser.parse_args()
    workspace = Workspace(arguments.workspace)
    first = ScoreTable.read(workspace.scores(arguments.reference))
    patches = first.header.parents["patches"]
    tables = {
        path.stem: ScoreTable.read(path, patches=patches).scores_N
        for path in workspace.score_tables()
    }
    reference_N = tables[arguments.reference]
    rhos = {name: spearman(scores_N, reference_N) for name, scores_N in tables.items()}
    names = sorted(tables, key=lambda name: -rhos[name])
    print(f"{len(reference_N):,} patches against {arguments.reference}\n")
    print(row(["score", "Spearman", *CORESETS]))
    print(row(["---", *["---:"] * (1 + len(CORESETS))]))
    for name in names:
        if name == arguments.reference:
            continue
        shares = [shared(tables[name], reference_N, *window) for window in CORESETS.values()]
        print(row([name, *(f"{value:.3f}" for value in (rhos[name], *shares))]))
    if arguments.all:
        print("\n" + row(["Spearman", *names]))
        print(row(["---", *["---:"] * len(names)]))
        for a in names:
            print(row([a, *(f"{spearman(tables[a], tables[b]):.3f}" for b in names)]))
    if arguments.cost:
        cost(workspace)


if __name__ == "__main__":
    main()
