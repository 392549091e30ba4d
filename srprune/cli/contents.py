"""What an artifact holds, in a line or two; reading it also checks that it is whole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from srprune.cli.options import number_of
from srprune.core.artifact import Header, read_table
from srprune.core.coreset import CoreSet
from srprune.core.error_maps import ErrorMaps
from srprune.core.features import FeatureTable
from srprune.core.groups import GroupTable
from srprune.core.patches import PatchIndex
from srprune.core.results import EvalTable, benchmark_means
from srprune.core.scores import ScoreTable
from srprune.core.weights import KIND as WEIGHTS
from srprune.wbsr.router_file import read_router

Facts = dict[str, Any]
Holding = tuple[Facts, list[str]]  # plain values for JSON, and the same as lines for people

QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
SHOWN = 8  # columns, groups and images; of more, the first ones


def holding(file: Path, header: Header) -> Holding:
    """What an artifact holds; of a kind that is not known here, its shape.

    Raises:
        ArtifactError: it is damaged.
    """
    if header.kind == WEIGHTS:
        return _weights(header)
    other = {".json": _nothing, ".safetensors": _tensors}.get(file.suffix, _table)
    return _KINDS.get(header.kind, other)(file, header)


def _weights(header: Header) -> Holding:
    images = len(header.info.get("training_images", ()))
    facts = {"training_images": images}
    return facts, [f"{images:,} training images"] if images else []


def _patches(file: Path, header: Header) -> Holding:
    index = PatchIndex.read(file)
    counts = index.patches_per_image
    facts = {"patches": len(index), "images": len(index.images), "size": index.size}
    return facts, [
        f"{len(index):,} patches of {index.size} px from {len(index.images):,} images",
        f"{counts.min():,} to {counts.max():,} patches an image",
    ]


def _scores(file: Path, header: Header) -> Holding:
    scores_N = ScoreTable.read(file).scores_N
    points = [float(point) for point in np.quantile(scores_N, QUANTILES)]
    percent = ", ".join(f"{100 * share:g}" for share in QUANTILES)
    quantiles = dict(zip(map(str, QUANTILES), points, strict=True))
    facts = {"scores": len(scores_N), "quantiles": quantiles}
    return facts, [
        f"{len(scores_N):,} scores",
        f"{percent}%: " + ", ".join(f"{point:.4g}" for point in points),
    ]


def _coreset(file: Path, header: Header) -> Holding:
    coreset = CoreSet.read(file)
    total = int(header.params["num_patches"])
    facts: Facts = {"kept": len(coreset), "patches": total}
    lines = [f"{len(coreset):,} of {total:,} patches ({len(coreset) / total:.1%})"]
    if coreset.weights is not None:
        low, high = float(coreset.weights.min()), float(coreset.weights.max())
        facts["weights"] = [low, high]
        lines.append(f"weights from {low:.4g} to {high:.4g}")
    return facts, lines


def _results(file: Path, header: Header) -> Holding:
    means = benchmark_means(EvalTable.read(file).rows)
    facts: Facts = {"means": {}}
    for (benchmark, metric), value in means.items():
        finite = value if math.isfinite(value) else None  # JSON has no infinity
        facts["means"].setdefault(benchmark, {})[metric] = finite
    return facts, [f"{benchmark} {metric}: {v:.4f}" for (benchmark, metric), v in means.items()]


def _maps(file: Path, header: Header) -> Holding:
    cells_NHW = ErrorMaps.read(file, header.parents.get("scores", "")).cells_NHW
    number, height, width = cells_NHW.shape
    facts = {"maps": number, "cells": [height, width]}
    return facts, [f"{number:,} error maps of {height}x{width} cells"]


def _features(file: Path, header: Header) -> Holding:
    table = FeatureTable.read(file)
    facts = {"patches": len(table), "features": list(table.names)}
    return facts, [f"{len(table.names)} features of {len(table):,} patches: {_some(table.names)}"]


def _groups(file: Path, header: Header) -> Holding:
    table = GroupTable.read(file)
    sizes = table.sizes.tolist()
    facts = {"patches": len(table), "group_sizes": sizes}
    left = len(table) - sum(sizes)
    without = f", {left:,} in none" if left else ""
    sizes_shown = _some([f"{size:,}" for size in sizes])
    return facts, [f"{len(table):,} patches in {len(sizes)} groups of {sizes_shown}{without}"]


def _table(file: Path, header: Header) -> Holding:
    _, columns = read_table(file, header.kind)
    rows = len(next(iter(columns.values()), ()))
    facts = {"rows": rows, "columns": list(columns)}
    return facts, [f"{rows:,} rows of {len(columns)} columns: {_some(list(columns))}"]


def _gradient_router(file: Path, header: Header) -> Holding:
    params = read_router(file, header.kind).params
    facts = {"classes": len(params["thresholds"]) + 1, "tiles": params["num_tiles"]}
    return facts, [f"{facts['classes']:,} classes of {facts['tiles']:,} training tiles"]


def _edge_psnr_router(file: Path, header: Header) -> Holding:
    params = read_router(file, header.kind).params
    facts = {"intervals": len(params["psnr"]), "tiles": sum(params["tiles"])}
    return facts, [f"PSNR in {facts['intervals']:,} intervals of {facts['tiles']:,} tiles"]


def _mixture(file: Path, header: Header) -> Holding:
    from srprune.training.mixture import Mixture

    mixture = Mixture.read(file)
    facts = {"components": len(mixture.weights_L), "dimension": mixture.dimension}
    values = f"{mixture.fitted['values']:,} values"
    return facts, [
        f"{facts['components']:,} Gaussians of dimension {facts['dimension']}, fitted on {values}"
    ]


def _tensors(file: Path, header: Header) -> Holding:
    with safe_open(file, framework="numpy") as opened:
        names = tuple(opened.keys())
    return {"tensors": list(names)}, [f"{number_of(len(names), 'tensor')}: {_some(names)}"]


def _advice(file: Path, header: Header) -> Holding:
    sentence = json.loads(file.read_text(encoding="utf-8"))["sentence"]
    return {"sentence": sentence}, [sentence]


def _nothing(file: Path, header: Header) -> Holding:
    """Of a JSON file the header says all."""
    return {}, []


_KINDS: dict[str, Callable[[Path, Header], Holding]] = {
    "PatchIndex": _patches,
    "ScoreTable": _scores,
    "CoreSet": _coreset,
    "EvalTable": _results,
    "ErrorMaps": _maps,
    "FeatureTable": _features,
    "GroupTable": _groups,
    "GradientRouter": _gradient_router,
    "EdgePsnrRouter": _edge_psnr_router,
    "Mixture": _mixture,
    "Advice": _advice,
}


def _some(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
