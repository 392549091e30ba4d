"""score in shards: a table in parts, by processes that know nothing of each other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from srprune.core.artifact import digest, first_difference, read_header
from srprune.core.errors import ArtifactMismatch, InputError, UserError
from srprune.core.progress import Progress, silent
from srprune.core.provenance import Stopwatch
from srprune.core.score_parts import of_the_whole, part_path, split, write_part
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.scoring.clock import Clock
from srprune.scoring.run import forget, score_patches
from srprune.stages.score import BATCH, Options, Work, plan_scoring
from srprune.training.distributed import ALONE, World


@dataclass(frozen=True)
class Shards:
    """How far a table in parts has come.

    Attributes:
        name: of the table.
        count: of all shards.
        missing: those that are not there yet.
        table: the whole table, once none is missing.
    """

    name: str
    count: int
    missing: tuple[int, ...]
    table: ScoreTable | None


def score_shards(
    workspace: Workspace,
    *,
    shards: int,
    shard: int | None = None,
    method: str = "mse",
    scale: int | None = None,
    scorers: Sequence[str] = (),
    options: Options | None = None,
    name: str | None = None,
    batch: int = BATCH,
    device: str = "auto",
    world: World = ALONE,
    progress: Progress = silent,
    clock: Clock | None = None,
) -> Shards:
    """Score the images of one shard, or of all that are missing.

    A shard is some images, the same in each process, and finished when its file has its name. So
    any number of processes, on any machines that see the workspace, may take any of them, again
    and again. Under torchrun each process takes its share of those that are missing.

    Args:
        workspace: holds patches, LR and scoring models; gets the table.
        shards: how many there are.
        shard: the one to score, from 0; None for all.
        method: as :func:`srprune.stages.score.score` takes it, and so are all that follow.
        scale: of LR.
        scorers: scoring models.
        options: of reconstruction scores; without maps.
        name: of the table.
        batch: patches at a time.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        world: the processes that torchrun started.
        progress: told after each batch.
        clock: told where the time goes.

    Raises:
        InputError: a shard that is not there or that several processes would score, more shards
            than images, or maps are asked for.
        ArtifactMismatch: the table of this name, or a part of it, was made otherwise.
    """
    options, clock = options or Options(), clock or Clock()
    if shard is not None and not 0 <= shard < shards:
        raise InputError(f"--shard is {shard}; there are {shards}, counted from 0.")
    if shard is not None and world.size > 1:  # all of them would score the same one
        raise InputError(
            "--shard is for processes that know nothing of each other. Under torchrun leave it "
            "out: each process takes its share of all shards."
        )
    if options.maps:
        raise InputError("--maps goes with whole tables; leave out --maps or --shards.")
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
    path = workspace.scores(work.name)
    if path.is_file():
        raise ArtifactMismatch(
            f"{path} is a whole table. Give another --name, or leave out --shards."
        )
    ranges = split(work.pool.index, shards)
    asked = range(shards) if shard is None else (shard,)
    left = [number for number in asked if not _is_there(workspace, work, number, shards)]
    world.wait()  # all have seen the same files before one of them writes
    started = time.perf_counter()
    for number in left[world.rank :: world.size]:
        watch = Stopwatch()
        partial = path.with_name(f"{work.name}.shard{number}of{shards}.part")
        scores_N = score_patches(
            work.pool,
            work.scorer,
            batch=batch,
            partial=partial,
            plan=digest(work.identity, str(batch)),
            within=ranges[number],
            progress=progress,
        )
        write_part(
            path,
            number,
            shards,
            ranges[number].start,
            scores_N[ranges[number].start : ranges[number].stop],
            parents=work.parents,
            params=work.params,
            made=watch.made(),
        )
        forget(partial)
    world.wait()
    clock.total = time.perf_counter() - started
    missing = tuple(n for n in range(shards) if not part_path(path, n, shards).exists())
    return Shards(work.name, shards, missing, None if missing else ScoreTable.read(path))


def _is_there(workspace: Workspace, work: Work, number: int, count: int) -> bool:
    """Whether a part is finished; a damaged one is made again.

    Raises:
        ArtifactMismatch: it was made otherwise.
    """
    path = part_path(workspace.scores(work.name), number, count)
    try:
        there = of_the_whole(read_header(path))
    except UserError:
        return False
    here = {"parents": dict(work.parents), "params": dict(work.params)}
    if there != here:
        raise ArtifactMismatch(
            f"{path} was made otherwise: {first_difference(there, here)}. Give another --name, or "
            f"remove {path.parent}."
        )
    return True
