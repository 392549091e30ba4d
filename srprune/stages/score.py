"""score: one number a patch, into a score table."""

from __future__ import annotations

from pathlib import Path

import torch

from srprune.core.artifact import canonical, digest
from srprune.core.errors import ArtifactMismatch, InputError, UserError
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.restorer import Restorer
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace, the_one
from srprune.models.device import pick_device
from srprune.models.restorer import BicubicRestorer
from srprune.scoring import SCORERS
from srprune.scoring.run import forget, merged, score_patches
from srprune.stages.pool import DEGRADATION, open_pool
from srprune.stages.restorers import WEIGHTS, Opened, names_a_file, open_restorer
from srprune.stages.train import score_name
from srprune.training.distributed import ALONE, World

BATCH = 4  # patches at a time: on CPUs small batches stay in the cache and win


def score(
    workspace: Workspace,
    *,
    method: str = "mse",
    scale: int | None = None,
    scorer: str | None = None,
    include_rim: bool = False,
    name: str | None = None,
    restart: bool = False,
    batch: int = BATCH,
    device: str = "auto",
    world: World = ALONE,
    progress: Progress = silent,
) -> tuple[str, ScoreTable]:
    """Score every patch; a finished table is returned as it is, a killed one goes on.

    Args:
        workspace: holds patches and scoring models; gets the table.
        method: name in the table of scorers.
        scale: of LR; by default that of the scoring model, else 2.
        scorer: name of the scoring model, needed only where there are several; or a weights file
            of any program, as :func:`srprune.stages.restorers.open_restorer` takes it.
        include_rim: score the rim that zero padding spoils, too.
        name: of the table; by default ``mse_x2`` and the like.
        restart: replace a table of the same name that was made otherwise.
        batch: patches at a time.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        world: the processes that share the work; the first one writes.
        progress: told after each batch.

    Returns:
        Name and table.

    Raises:
        UnknownName: no such method.
        MissingArtifact: no patches, or no scoring model yet.
        InputError: several scoring models, or one of another scale.
        ArtifactMismatch: a table of this name was made from other inputs, or otherwise.
    """
    watch = Stopwatch()
    make = SCORERS.load(method)
    where = pick_device(device)
    parents: dict[str, str] = {}
    params: dict[str, object] = {"method": method}
    model: tuple[Restorer, int | None] | None = None
    if method == "mse":
        opened, parents = _scoring_model(workspace, scorer, scale, where)
        model, scale = (opened.restorer, opened.rim), opened.restorer.scale
    elif method == "bicubic":
        scale = scale or 2
        model = BicubicRestorer(scale), 2 * scale  # bicubic reaches 2 LR px
    with world.in_turn():  # the first one makes LR, the others find it
        pool = open_pool(workspace, scale or 2, progress, with_lr=model is not None)
    patches = pool.index.fingerprint
    if parents.setdefault("patches", patches) != patches:
        raise ArtifactMismatch(
            f"{opened.path.parent} was trained on patch index {parents['patches']}, but the "
            f"workspace holds {patches}. Run 'srprune pretrain --restart'."
        )
    scorer_args: tuple[object, ...] = ()
    if model is not None:
        restorer, rim = model
        rim = 0 if include_rim else rim
        if rim is None:
            raise InputError(
                f"how far {restorer.name} sees is not known, so the rim that padding spoils cannot "
                "be left out. Pass --include-rim."
            )
        params |= {"scale": scale, "degradation": DEGRADATION, "context": "patch", "rim": rim}
        scorer_args = (restorer, where, rim)
        if 2 * rim >= pool.index.size:
            raise InputError(
                f"patches have {pool.index.size} px, but {rim} px at each edge are spoiled by "
                f"padding. Extract patches above {2 * rim} px, or pass --include-rim."
            )
    name = name or score_name(method, scale or 2)
    path = workspace.scores(name)
    if not restart and (there := _already_there(path, parents, params)):
        return name, there
    partial = path.with_name(f"{name}.part")
    scores_N = score_patches(
        pool,
        make(*scorer_args),
        batch=batch,
        partial=partial,
        plan=digest(canonical(parents), canonical(params), str(batch)),
        rank=world.rank,
        processes=world.size,
        wait=world.wait,
        progress=progress,
    )
    whole_N = merged(world.gathered(scores_N))
    if world.first:
        ScoreTable.write(path, whole_N, parents=parents, params=params, made=watch.made())
        forget(partial)
    world.wait()
    return name, ScoreTable.read(path)


def _scoring_model(
    workspace: Workspace, scorer: str | None, scale: int | None, device: torch.device
) -> tuple[Opened, dict[str, str]]:
    """The scoring model and its fingerprints; one of the workspace has that of its patches, too.

    A file that is named by its path may have been trained on anything.
    """
    if scorer and names_a_file(scorer):
        opened = open_restorer(scorer, scale, device)
        return opened, {"scorer": opened.restorer.fingerprint}
    folder = _scorer_folder(workspace, scorer, scale)
    opened = open_restorer(str(folder / WEIGHTS), None, device)
    if scale not in (None, opened.restorer.scale):
        raise InputError(
            f"{folder} is a model of x{opened.restorer.scale}, but --scale is {scale}. "
            f"Run 'srprune pretrain --scale {scale}' first."
        )
    assert opened.patches is not None  # pretraining writes it
    return opened, {"scorer": opened.restorer.fingerprint, "patches": opened.patches}


def _scorer_folder(workspace: Workspace, name: str | None, scale: int | None) -> Path:
    if name:
        return workspace.scorer(name)
    folders = workspace.scorers()
    if scale and len(folders) > 1:
        folders = [folder for folder in folders if folder.name.endswith(f"_x{scale}")]
    return the_one(folders, "scoring model", "--scorer", "srprune pretrain")


def _already_there(
    path: Path, parents: dict[str, str], params: dict[str, object]
) -> ScoreTable | None:
    """The table of this name, if it is the very one that is asked for."""
    if not path.exists():
        return None
    try:
        table = ScoreTable.read(path)
    except UserError:  # damaged: made again
        return None
    there = {**table.header.parents, **table.header.params}
    for what, value in {**parents, **params}.items():
        if there.get(what) != value:
            raise ArtifactMismatch(
                f"{path} was made otherwise: {what} {there.get(what)} there, {value} now. "
                "Give another --name, or --restart to replace it."
            )
    return table
