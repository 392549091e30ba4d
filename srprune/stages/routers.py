"""The routers of a run: where they stand beside its weights, and how they are opened."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from srprune.core.artifact import Header, check_parent
from srprune.core.errors import ArtifactError, InputError, MissingArtifact
from srprune.core.provenance import Stopwatch
from srprune.stages.restorers import WEIGHTS
from srprune.wbsr import ROUTERS, class_module
from srprune.wbsr.class_module import ClassModuleRouter
from srprune.wbsr.edge_psnr import EdgePsnrRouter
from srprune.wbsr.gradient_router import GradientRouter
from srprune.wbsr.router import Router
from srprune.wbsr.router_file import read_router

FOLDER = "routers"  # of a run

Fitted = GradientRouter | EdgePsnrRouter | ClassModuleRouter


def save_router(
    router: Fitted, path: Path, trained: Header, facts: Mapping[str, Any], watch: Stopwatch
) -> Header:
    """Write a router into the folder of its run.

    Args:
        router: fitted.
        path: from :func:`router_path`.
        trained: header of the run's weights.
        facts: what it was fitted on, such as :attr:`Tiles.facts`.
        watch: started before the fit.
    """
    parents = {"weights": trained.fingerprint}
    if "patches" in trained.parents:
        parents["patches"] = trained.parents["patches"]
    return router.save(path, parents=parents, made={**watch.made(), "fitted_on": dict(facts)})


def open_router(folder: Path, name: str, weights: str) -> Router:
    """The router of a run.

    Args:
        folder: of the run.
        name: of the router.
        weights: fingerprint of the run's weights.

    Raises:
        UnknownName: no such router.
        MissingArtifact: it was not fitted yet.
        ArtifactError: its file is damaged.
        ArtifactMismatch: it was fitted for other weights.
    """
    path, header = router_path(folder, name), router_header(folder, name)
    remedy = f"Fit it again: {command_of(folder, name)}."
    check_parent(path, header, "weights", weights, remedy)
    return cast(Router, ROUTERS.load(name).load(path))


def router_header(folder: Path, name: str) -> Header:
    """What the file of a router says of itself; errors as :func:`open_router`.

    ``made["fitted_on"]`` has the side of its tiles, ``tile``, and under ``images`` the contents of
    validation images, mapped to their paths.
    """
    path = router_path(folder, name)
    if not path.is_file():
        raise MissingArtifact(
            f"the run {folder.name} has no router {name} yet. Run '{command_of(folder, name)}' "
            "first."
        )
    if path.suffix == ".json":
        return read_router(path, ROUTERS[name].split(":")[1])
    return class_module.read_header(path)


def is_fitted(folder: Path, name: str, weights: str, tile: int) -> bool:
    """True where a run has a router for just these weights and tiles of that side, LR px.

    Raises:
        UnknownName: no such router.
    """
    try:
        header = router_header(folder, name)
    except (MissingArtifact, ArtifactError):
        return False
    fitted_on = header.made["fitted_on"]["tile"]
    return (header.parents.get("weights"), fitted_on) == (weights, tile)


def router_path(folder: Path, name: str) -> Path:
    """File of a router of a run.

    Raises:
        UnknownName: no such router.
    """
    suffix = ".safetensors" if ROUTERS[name].endswith(":ClassModuleRouter") else ".json"
    return folder / FOLDER / f"{name}{suffix}"


def command_of(folder: Path, name: str) -> str:
    """The command that fits a router of a run, for messages; a run of a workspace by its name."""
    run = folder.name if folder.parent.name == "runs" else folder
    return f"srprune route {run} --router {name}"


def check_own(weights: Path) -> None:
    """Refuse weights that no router can stand beside.

    Raises:
        InputError: others than those that a run ended with.
    """
    if weights.name != WEIGHTS:
        raise InputError(
            f"{weights} has no routers: they are fitted for the {WEIGHTS} that a run ended with, "
            "and stand beside it. Name a run or its folder."
        )
