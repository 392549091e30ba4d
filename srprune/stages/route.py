"""route: fit a router, which decides what part of a supernet each tile of an image gets."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from srprune.core.artifact import Header, check_parent
from srprune.core.coreset import CoreSet
from srprune.core.errors import ArtifactError, InputError, MissingArtifact
from srprune.core.out_of_memory import memory_errors
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.weights import read_weights_header
from srprune.core.workspace import Workspace
from srprune.data.patches import Ids, PatchPool
from srprune.images.benchmarks import Benchmark
from srprune.images.tensor import from_uint8
from srprune.models.build import load_weights
from srprune.models.restorer import NetworkRestorer, restorer_of
from srprune.models.supernet import Supernet
from srprune.stages.pool import open_pool
from srprune.stages.restorers import find_weights, run_names
from srprune.stages.routers import Fitted, check_own, router_header, router_path, save_router
from srprune.stages.tiles import Tiles, folder_tiles, pool_tiles
from srprune.wbsr import ROUTERS
from srprune.wbsr.class_module import STEPS, ClassModuleRouter, branches_of, kept_pixels
from srprune.wbsr.dynamic import TILES, check_tile
from srprune.wbsr.edge_psnr import EdgePsnrRouter, edge_scores, tile_psnr
from srprune.wbsr.gradient_router import GradientRouter, gradient_vectors

NUM_TILES = {"gradient": 20_000, "edge_psnr": 2_000, "class_module": 2_000}
CLASSES = 10  # of gradient: the paper's K


def route(
    workspace: Workspace,
    run: str,
    name: str,
    *,
    device: torch.device,
    tile: int | None = None,
    num_tiles: int | None = None,
    classes: int | None = None,
    steps: int | None = None,
    validation: Benchmark | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Path, Header]:
    """Fit a router for the supernet of a run; one that was fitted just so is returned as it is.

    Args:
        workspace: holds the patches that the run was trained on.
        run: its name, its folder or its weights file.
        name: of the router.
        device: where the subnets run.
        tile: side of a tile, LR px; None for the scale's own, or for a patch where that is less.
        num_tiles: how many; None for the router's own.
        classes: of ``gradient``; None for those of the run's sampling, or 10.
        steps: of the training of ``class_module``; None for 2,000.
        validation: images in place of those of the training set, for ``edge_psnr``.
        seed: of the places of tiles, and of what is trained.
        progress: told on the way.

    Returns:
        The file, and what it says of itself.

    Raises:
        UnknownName: no such router.
        MissingArtifact: no such run.
        InputError: a plain network, weights that are no run's last, tiles that do not fit, or a
            setting of another router.
        ArtifactMismatch: the workspace holds other patches than the run was trained on.
        LeakError: the run was trained on a validation image.
    """
    weights = find_weights(run, workspace)
    if weights is None:
        raise MissingArtifact(
            f"there is no finished run '{run}' (there: {run_names(workspace)}). Train a supernet "
            "first: srprune train."
        )
    check_own(weights)
    path = router_path(weights.parent, name)
    _check_settings(name, classes, steps, validation)
    watch = Stopwatch()
    subnets, trained = open_subnets(weights, device)
    scale, count = subnets[0].scale, num_tiles or NUM_TILES[name]
    if validation:
        side = tile or TILES[scale]
        check_tile(subnets, side)
        tiles = folder_tiles(validation, scale, side, count, seed, trained)
    else:
        pool = open_pool(workspace, scale, progress)
        side = tile or side_for(pool)
        check_tile(subnets, side)
        ids, origin = _patches_of(workspace, weights, trained, pool.index)
        tiles = pool_tiles(pool, ids, side, count, seed, origin)
    classes, steps = classes or _classes_of(trained), steps or STEPS
    own = {"gradient": {"classes": classes}, "class_module": {"steps": steps}}
    facts = {**tiles.facts, "seed": seed, **own.get(name, {})}
    if there_already := _same(path, name, trained, facts):
        return path, there_already
    with memory_errors("Choose a smaller --tile, or --num-tiles."):
        router = fit_router(
            name,
            tiles,
            subnets,
            device=device,
            classes=classes,
            steps=steps,
            seed=seed,
            progress=progress,
        )
    return path, save_router(router, path, trained, facts, watch)


def fit_router(
    name: str,
    tiles: Tiles,
    subnets: list[NetworkRestorer],
    *,
    device: torch.device,
    classes: int = CLASSES,
    steps: int = STEPS,
    seed: int = 0,
    progress: Progress = silent,
) -> Fitted:
    """Fit one router.

    Args:
        name: in the table of routers.
        tiles: from :func:`pool_tiles` or :func:`folder_tiles`.
        subnets: on the device, the cheapest first; ``gradient`` needs none.
        device: where tiles are sent.
        classes: of ``gradient``.
        steps: of the training of ``class_module``.
        seed: of what is trained.
        progress: told on the way.

    Raises:
        UnknownName: no such router.
        InputError: too few tiles, or all alike; or too few subnets.
        Diverged: the class module has no finite loss.
    """
    if name == "gradient":
        return _fit_gradient(tiles, classes, device, progress)
    if name == "edge_psnr":
        return _fit_edge_psnr(tiles, subnets, device, progress)
    assert name == "class_module", ROUTERS[name]
    return _fit_class_module(tiles, subnets, device, steps, seed, progress)


def write_gradient_router(
    pool: PatchPool, patch_ids: Ids, weights: Path, trained: Header, device: torch.device
) -> None:
    """Write what dynamic inference needs at least, as training ends; it takes seconds.

    Tiles that do not fit are no fault of the training: ``srprune route`` tells what is wrong.

    Args:
        pool: the patches.
        patch_ids: (P,) those of the run, sorted.
        weights: of the supernet.
        trained: their header.
        device: where tiles are sent.
    """
    watch, name = Stopwatch(), "gradient"
    with suppress(InputError):
        origin, classes = str(trained.params["train_set"]), _classes_of(trained)
        tiles = pool_tiles(pool, patch_ids, side_for(pool), NUM_TILES[name], 0, origin)
        router = fit_router(name, tiles, [], device=device, classes=classes)
        facts = {**tiles.facts, "seed": 0, "classes": classes}
        save_router(router, router_path(weights.parent, name), trained, facts, watch)


def side_for(pool: PatchPool) -> int:
    """Side of tiles of patches, LR px: the scale's, where patches are as large."""
    return min(TILES[pool.scale], pool.index.size // pool.scale)


def open_subnets(path: Path, device: torch.device) -> tuple[list[NetworkRestorer], Header]:
    """The subnets of a supernet, cut out, the cheapest first; and the header of its weights.

    Raises:
        InputError: the weights are of a plain network.
    """
    model = read_weights_header(path).params["model"]
    network, domain, header = load_weights(path)
    if not isinstance(network, Supernet):
        raise InputError(
            f"{path} is a plain {model}; only a supernet has subnets to choose from. Train one, "
            "such as msrresnet_supernet."
        )
    whole = restorer_of(path.parent.name, network.to(device), domain, header.fingerprint)
    return subnets_of(whole), header


def subnets_of(whole: NetworkRestorer) -> list[NetworkRestorer]:
    """The subnets of a supernet, each cut out, the cheapest first."""
    network = cast(Supernet, whole.network)
    return [
        restorer_of(subnet.label, network.cut(subnet)[2], whole.domain, whole.fingerprint)
        for subnet in network.subnets
    ]


def _check_settings(
    name: str, classes: int | None, steps: int | None, validation: Benchmark | None
) -> None:
    """Refuse what would have no effect."""
    if validation and name != "edge_psnr":
        raise InputError(
            f"{name} is fitted on training tiles; --validation is for edge_psnr. Leave it out."
        )
    if classes is not None and name != "gradient":
        raise InputError(f"{name} has no classes to set; --classes is for gradient. Leave it out.")
    if steps is not None and name != "class_module":
        raise InputError(f"{name} is not trained; --steps is for class_module. Leave it out.")


def _classes_of(trained: Header) -> int:
    """Classes of ``gradient``: those that the run was trained by."""
    sampling = trained.params.get("config", {}).get("sampling")
    return int(sampling["classes"]) if sampling else CLASSES


def _fit_gradient(
    tiles: Tiles, classes: int, device: torch.device, progress: Progress
) -> GradientRouter:
    vectors, done = [], 0
    for lr_BhwC, _ in tiles.batches():
        vectors.append(gradient_vectors(from_uint8(lr_BhwC, device)))
        done += len(lr_BhwC)
        progress("gradients", done, tiles.num)
    return GradientRouter.fit(np.concatenate(vectors), classes)


def _fit_edge_psnr(
    tiles: Tiles, subnets: list[NetworkRestorer], device: torch.device, progress: Progress
) -> EdgePsnrRouter:
    edges, psnr, done = [], [], 0
    for lr_BhwC, hr_BHWC in tiles.batches():
        lr_BChw, hr_BCHW = from_uint8(lr_BhwC, device), from_uint8(hr_BHWC, device)
        edges.append(edge_scores(lr_BChw))
        psnr.append(
            np.stack([tile_psnr(each(lr_BChw), hr_BCHW, each.scale) for each in subnets], axis=1)
        )
        done += len(lr_BhwC)
        progress("restore tiles", done, tiles.num)
    return EdgePsnrRouter.fit(np.concatenate(edges), np.concatenate(psnr))


def _fit_class_module(
    tiles: Tiles,
    subnets: list[NetworkRestorer],
    device: torch.device,
    steps: int,
    seed: int,
    progress: Progress,
) -> ClassModuleRouter:
    branches = [subnets[number] for number in branches_of(len(subnets))]
    inputs, errors, done = [], [], 0
    for lr_BhwC, hr_BHWC in tiles.batches():
        lr_BChw, hr_BCHW = from_uint8(lr_BhwC, device), from_uint8(hr_BHWC, device)
        height, width = hr_BCHW.shape[2:]
        kept = torch.from_numpy(kept_pixels(height, width, seed)).to(device)
        apart = [(each(lr_BChw) - hr_BCHW).flatten(2)[:, :, kept].flatten(1) for each in branches]
        inputs.append(torch.from_numpy(lr_BhwC).permute(0, 3, 1, 2).to(device))
        errors.append(torch.stack(apart, dim=1).half())  # half the memory, a 2000th of an error
        done += len(lr_BhwC)
        progress("restore tiles", done, tiles.num)
    return ClassModuleRouter.fit(
        torch.cat(inputs),
        torch.cat(errors),
        len(subnets),
        seed=seed,
        steps=steps,
        progress=progress,
    )


def _patches_of(
    workspace: Workspace, weights: Path, trained: Header, index: PatchIndex
) -> tuple[npt.NDArray[np.int64], str]:
    """The patches that a run was trained on; all, where its core-set is not in the workspace."""
    check_parent(
        weights,
        trained,
        "patches",
        index.fingerprint,
        "Extract the patches again that it was trained on, or train again.",
    )
    name = trained.params.get("train_set", "")
    path = workspace.coreset(name)
    if "coreset" in trained.parents and path.is_file():
        coreset = CoreSet.read(path, patches=index.fingerprint)
        if coreset.fingerprint == trained.parents["coreset"]:
            return coreset.patch_ids, name
    return np.arange(len(index)), "all patches"


def _same(path: Path, name: str, trained: Header, facts: Mapping[str, Any]) -> Header | None:
    """The header of a router that was fitted on just this for just these weights."""
    try:
        header = router_header(path.parent.parent, name)
        ROUTERS.load(name).load(path)
    except (MissingArtifact, ArtifactError):  # it is replaced
        return None
    same = header.made.get("fitted_on") == dict(facts)
    return header if same and header.parents.get("weights") == trained.fingerprint else None
