"""score: one number a patch, into a score table; error maps beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from srprune.core.artifact import canonical, digest
from srprune.core.error_maps import SIDE, ErrorMaps
from srprune.core.errors import ArtifactMismatch, InputError, UserError
from srprune.core.names import unknown
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.restorer import Restorer
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.data.patches import Ids, PatchPool
from srprune.models.device import pick_device
from srprune.models.restorer import BicubicRestorer, Precision
from srprune.scoring import NO_MODEL, RECONSTRUCTION, SCORERS
from srprune.scoring.clock import Clock
from srprune.scoring.maps import ErrorMapper
from srprune.scoring.reconstruction import Context, Reconstruction, Sight
from srprune.scoring.run import Cells, Scorer, forget, merged, score_patches
from srprune.stages.extract import read_index
from srprune.stages.pool import DEGRADATION, open_pool
from srprune.stages.restorers import Opened
from srprune.stages.scoring_models import parents_of, scoring_models
from srprune.stages.training_set import score_name
from srprune.training.distributed import ALONE, World

Tell = Callable[[str], None]

BATCH = 4  # patches at a time: on CPUs small batches stay in the cache and win
DEFAULTS = {"precision": "fp32"}  # what a table means that does not say


@dataclass(frozen=True)
class Options:
    """How reconstructions are scored; the defaults are the paper's, without the rim.

    Attributes:
        context: ``patch`` scores each patch alone, ``image`` within its image.
        include_rim: score the rim that padding spoils, too.
        precision: of networks, ``fp32`` or ``bf16``.
        maps: write error maps beside the table.
    """

    context: Context = "patch"
    include_rim: bool = False
    precision: Precision = "fp32"
    maps: bool = False

    def __post_init__(self) -> None:
        for what, value, known in (
            ("context", self.context, ("patch", "image")),
            ("precision", self.precision, ("fp32", "bf16")),
        ):
            if value not in known:
                raise unknown(what, value, known)


def _silent(line: str) -> None:
    """Tell nobody."""


def score(
    workspace: Workspace,
    *,
    method: str = "mse",
    scale: int | None = None,
    scorers: Sequence[str] = (),
    options: Options | None = None,
    name: str | None = None,
    restart: bool = False,
    batch: int = BATCH,
    device: str = "auto",
    world: World = ALONE,
    tell: Tell = _silent,
    progress: Progress = silent,
    clock: Clock | None = None,
) -> tuple[str, ScoreTable]:
    """Score every patch; a finished table is returned as it is, a killed one goes on.

    Args:
        workspace: holds patches and scoring models; gets the table.
        method: name in the table of scorers.
        scale: of LR; by default that of the scoring models, else 2.
        scorers: scoring models, needed only where there are several, or the method takes several:
            each a name, that of a run, or a weights file of any program, as
            :func:`srprune.stages.restorers.open_restorer` takes it.
        options: of reconstruction scores.
        name: of the table; by default ``mse_x2`` and the like.
        restart: replace a table of the same name that was made otherwise.
        batch: patches at a time.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        world: the processes that share the work; the first one writes.
        tell: told where a damaged table is replaced.
        progress: told after each batch.
        clock: told where the time goes, and how many patches this call has scored.

    Returns:
        Name and table.

    Raises:
        UnknownName: no such method, context or precision.
        MissingArtifact: no patches, or no scoring model yet.
        InputError: scoring models that are too many, too few or of another scale, or patches that
            are all rim.
        ArtifactMismatch: a table of this name was made from other inputs, or otherwise.
    """
    watch, clock, options = Stopwatch(), clock or Clock(), options or Options()
    work = plan_scoring(
        workspace,
        method=method,
        scale=scale,
        scorers=scorers,
        options=options,
        name=name,
        device=device,
        world=world,
        progress=progress,
        clock=clock,
    )
    path, maps = workspace.scores(work.name), workspace.error_maps(work.name)
    if not world.first or path.is_dir():  # all processes find the same; a folder is refused below
        tell = _silent
    table = None if restart else _already_there(path, work.parents, work.params, tell)
    if table and not (options.maps and _maps_missing(maps, table)):
        return work.name, table
    if path.is_dir():
        raise InputError(
            f"{path} is a folder of shards. Go on with --shards, or remove it, or give --name."
        )
    partial = path.with_name(f"{work.name}.part")
    started = time.perf_counter()
    scores_N = score_patches(
        work.pool,
        work.scorer,
        batch=batch,
        partial=partial,
        plan=digest(work.identity, str(batch), str(options.maps)),
        rank=world.rank,
        processes=world.size,
        wait=world.wait,
        progress=progress,
        cells_NHW=work.cells_NHW,
    )
    whole_N = merged(world.gathered(scores_N))
    clock.total, clock.patches = time.perf_counter() - started, sum(world.gathered(clock.patches))
    cells_NHW = None if work.cells_NHW is None else merged(world.gathered(work.cells_NHW))
    if world.first:
        made = watch.made()
        if table is None:
            table = ScoreTable.write(
                path, whole_N, parents=work.parents, params=work.params, made=made
            )
        if cells_NHW is not None:
            ErrorMaps.write(
                maps,
                cells_NHW,
                parents={"scores": table.fingerprint, "patches": work.pool.index.fingerprint},
                params={**work.params, "side": SIDE},
                made=made,
            )
        forget(partial)
    world.wait()
    return work.name, ScoreTable.read(path)


@dataclass(frozen=True)
class Work:
    """A score table that is to be made.

    Attributes:
        name: of the table.
        pool: the patches.
        scorer: (patch ids, pool) -> scores.
        parents: of the table.
        params: of the table.
        cells_NHW: error maps that the scorer fills in; None where they are not asked for.
    """

    name: str
    pool: PatchPool
    scorer: Scorer
    parents: Mapping[str, str]
    params: Mapping[str, Any]
    cells_NHW: Cells | None = None

    @property
    def identity(self) -> str:
        """What decides the scores."""
        return digest(canonical(dict(self.parents)), canonical(dict(self.params)))


def plan_scoring(
    workspace: Workspace,
    *,
    method: str,
    scale: int | None,
    scorers: Sequence[str],
    options: Options,
    name: str | None,
    device: str,
    world: World,
    progress: Progress,
    clock: Clock,
) -> Work:
    """Open patches and models, and check that they go together; see :func:`score`."""
    SCORERS[method]  # an unknown name is a fault
    _check_effect(method, options)
    if not workspace.patches.exists():
        read_index(workspace)  # says what comes first; a scoring model would come later
    where = pick_device(device)
    opened = scoring_models(workspace, method, scorers, scale, where)
    if opened:
        scale = opened[0].restorer.scale
    scale = scale or 2
    by_reconstruction = method in RECONSTRUCTION
    with world.in_turn():  # the first one makes LR, the others find it
        pool = open_pool(workspace, scale, progress, with_lr=by_reconstruction)
    params: dict[str, object] = {"method": method}
    cells_NHW: Cells | None = None
    scorer: Scorer
    if by_reconstruction:
        if options.maps:
            cells_NHW = np.full((len(pool), SIDE, SIDE), np.nan, np.float32)
        scorer, found = _reconstruction(
            method, opened, scale, options, pool.index, where, clock, cells_NHW
        )
        params |= {"scale": scale, "degradation": DEGRADATION, **found}
    else:
        scorer = SCORERS.load(method)()

    def counted(ids: Ids, pool: PatchPool) -> npt.NDArray[np.float64]:
        scores = scorer(ids, pool)
        clock.patches += len(ids)
        return scores

    parents = parents_of(opened, pool.index)
    return Work(name or score_name(method, scale), pool, counted, parents, params, cells_NHW)


def _check_effect(method: str, options: Options) -> None:
    """Refuse options that a method does not look at.

    The scale is none of them: scores that need no LR are those of every scale.
    """
    by_reconstruction = method in RECONSTRUCTION
    by_network = RECONSTRUCTION.get(method, NO_MODEL) != NO_MODEL
    without_effect = {
        f"--context {options.context}": options.context != "patch" and not by_reconstruction,
        "--include-rim": options.include_rim and not by_reconstruction,
        f"--precision {options.precision}": options.precision != "fp32" and not by_network,
        "--maps": options.maps and not by_reconstruction,
    }
    given = [option for option, useless in without_effect.items() if useless]
    if given:
        why = "asks no network" if by_reconstruction else "makes no reconstruction"
        those = [name for name in RECONSTRUCTION if not by_reconstruction or name != method]
        raise InputError(
            f"{', '.join(given)} would have no effect, since {method} {why}. Leave it out, or "
            f"choose one of: {', '.join(those)}."
        )


def _reconstruction(
    method: str,
    opened: list[Opened],
    scale: int,
    options: Options,
    index: PatchIndex,
    device: torch.device,
    clock: Clock,
    cells_NHW: Cells | None,
) -> tuple[Reconstruction, dict[str, object]]:
    """The scorer, and what the header of its table says of it."""
    restorers: list[tuple[Restorer, int | None]] = [
        (each.restorer.at(options.precision), each.rim) for each in opened
    ]
    if not restorers:
        restorers = [(BicubicRestorer(scale), 2 * scale)]  # bicubic reaches 2 LR px
    sight = Sight.of(restorers)
    if sight.rim is None and not options.include_rim:
        blind = next(restorer.name for restorer, rim in restorers if rim is None)
        raise InputError(
            f"how far {blind} sees is not known, so the rim that padding spoils cannot be left "
            "out. Pass --include-rim."
        )
    if index.size // scale < sight.minimum:
        raise InputError(
            f"patches have {index.size // scale} px a side at LR, but a scoring model takes at "
            f"least {sight.minimum}. Extract patches of {sight.minimum * scale} px or more."
        )
    mapper = ErrorMapper(
        SCORERS.load(method)(), [restorer for restorer, _ in restorers], device, clock
    )
    scorer = Reconstruction(
        mapper,
        sight,
        context=options.context,
        include_rim=options.include_rim,
        cells_NHW=cells_NHW,
    )
    if 2 * scorer.margin >= index.size:
        remedy = "" if options.include_rim else ", or pass --include-rim"
        raise InputError(
            f"patches have {index.size} px, but {scorer.margin} px at each edge are spoiled by "
            f"padding or not measured. Extract patches above {2 * scorer.margin} px{remedy}."
        )
    rim = 0 if options.include_rim else sight.rim
    return scorer, {"context": options.context, "rim": rim, "precision": options.precision}


def _maps_missing(path: Path, table: ScoreTable) -> bool:
    """True where the error maps of a table must be made; damaged ones are made again."""
    try:
        ErrorMaps.read(path, table.fingerprint)
    except UserError:
        return True
    return False


def _already_there(
    path: Path, parents: Mapping[str, str], params: Mapping[str, object], tell: Tell
) -> ScoreTable | None:
    """The table of this name, if it is the very one that is asked for."""
    if not path.exists():
        return None
    try:
        table = ScoreTable.read(path)
    except UserError as error:
        tell(f"a score table that cannot be read is replaced: {error}")
        return None
    there: dict[str, Any] = {**DEFAULTS, **table.header.parents, **table.header.params}
    asked: dict[str, Any] = {**DEFAULTS, **parents, **params}
    for what in [*asked, *there]:  # a table of more scoring models has what is not asked for
        if (found := there.get(what, "none")) != (value := asked.get(what, "none")):
            raise ArtifactMismatch(
                f"{path} was made otherwise: {what} {found} there, {value} now. "
                "Give another --name, or --restart to replace it."
            )
    return table
