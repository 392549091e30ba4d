"""advise: what to train on, found by successive halving on held-out images of the pool."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from srprune.core.artifact import canonical, digest, storage_errors, write_json
from srprune.core.config import BudgetConfig, PruningConfig, ValidationConfig
from srprune.core.errors import Diverged, InputError, Stopped
from srprune.core.lock import exclusive
from srprune.core.progress import Progress, heeding, silent
from srprune.core.provenance import Stopwatch
from srprune.core.scores import ScoreTable
from srprune.data.patches import PatchPool
from srprune.models.build import load_weights
from srprune.models.device import pick_device
from srprune.models.restorer import BicubicRestorer, restorer_of
from srprune.selection import RULES
from srprune.selection.rule import Rule
from srprune.stages.advice import Call, Measured, Rung, advice_of
from srprune.stages.advice_file import read_advice, write_advice
from srprune.stages.advise_plan import Search
from srprune.stages.coresets import read_scores
from srprune.stages.fit import fit
from srprune.stages.held_out import measure
from srprune.stages.job import Job
from srprune.stages.logs import lost
from srprune.stages.pool import open_pool
from srprune.stages.score import score
from srprune.studies.halving import FULL, RANDOM, Candidate, survivors

RECORD = "held_out.json"  # beside the weights of a run

Tell = Callable[[str], None]


def advise(
    search: Search,
    *,
    call: Call,
    device: str = "auto",
    restart: bool = False,
    stopping: Callable[[], bool] = lambda: False,
    tell: Tell = lambda line: None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Run a search to its end; a finished one is returned as it is, an interrupted one goes on.

    Writes ``advice/<name>.json`` with a Markdown file beside it, and a folder a run below
    ``advice/<name>/runs``. No benchmark is opened.

    Args:
        search: from :func:`srprune.stages.advise_plan.plan_search`.
        call: how it was called, for the commands that it ends with.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        restart: throw away what an earlier search of this name left.
        stopping: asked after each step of a training; True saves a checkpoint and stops.
        tell: told a line after each run and each rung.
        progress: told on the way, in steps of all runs.

    Returns:
        The advice, as plain values.

    Raises:
        InputError: the full set, or every core-set, diverged.
        ArtifactMismatch: another search of this name is there.
        Stopped: ``stopping`` said so.
    """
    watch, where = Stopwatch(), pick_device(device)
    with exclusive(search.folder):
        if restart:
            search.path.unlink(missing_ok=True)
            if (search.folder / "runs").exists():
                with storage_errors(search.folder):
                    shutil.rmtree(search.folder / "runs")
        tables = _tables(search, device, heeding(stopping, progress))
        parents = {"patches": search.index.fingerprint}
        parents |= {f"scores {name}": table.fingerprint for name, table in tables.items()}
        if search.init is not None:
            parents["init"] = digest(search.init.read_bytes())
        if there := read_advice(search.path, parents, search.params):
            return there
        pool = open_pool(search.workspace, search.config.scale, heeding(stopping, progress))
        runner = _Runner(search, pool, tables, parents, where, stopping, tell, progress)
        rungs = _climb(search, runner)
        bicubic = measure(
            BicubicRestorer(search.config.scale), pool, search.held, torch.device("cpu")
        )
        advice = advice_of(
            rungs,
            bicubic=float(np.mean(list(bicubic.values()))),
            margin_db=search.space.margin_db,
            methods=search.methods,
            num_patches=len(search.index),
            call=call,
            notes=search.notes,
        )
        made = {
            **watch.made(),
            "device": str(where),
            "threads": torch.get_num_threads(),
            "run_seconds": round(runner.seconds, 3),
        }
        return write_advice(search.path, advice, parents=parents, params=search.params, made=made)


def _tables(search: Search, device: str, progress: Progress) -> dict[str, ScoreTable]:
    """The score tables, those that are missing made."""
    tables = {}
    for name, method in search.methods.items():
        if not search.workspace.scores(name).exists():
            score(
                search.workspace,
                method=method,
                scale=search.config.scale,
                device=device,
                progress=progress,
            )
        tables[name] = read_scores(search.workspace, name, search.index)
    return tables


def _climb(search: Search, runner: _Runner) -> list[Rung]:
    """Run rung after rung."""
    rungs: list[Rung] = []
    left = list(search.candidates)
    ahead = search.num_steps
    for number, steps in enumerate(search.rungs):
        runs = [runner.run(each, steps, search.config.seed) for each in [FULL, *left]]
        psnr = {run.candidate: run.psnr_y for run in runs[1:] if run.psnr_y is not None}
        if not psnr:
            raise InputError(
                f"every core-set diverged within {steps:,} steps. Lower optimizer.lr (now "
                f"{search.config.optimizer.lr:g}), and give --restart."
            )
        left = survivors(psnr, last=number == len(search.rungs) - 1)
        rungs.append(Rung(steps, tuple(runs), tuple(left)))
        ahead -= steps * search.ahead[number][1]
        runner.tell(
            f"rung of {steps:,} steps: {len(runs)} runs, {len(left)} "
            f"core-set{'s go' if len(left) > 1 else ' goes'} on; {ahead:,} steps ahead, about "
            f"{ahead * runner.seconds / runner.steps:,.0f} s"
        )
    (best,) = left
    control = Candidate(RANDOM, best.ratio)
    last = [
        runner.run(each, search.steps, seed)
        for seed in search.seeds
        for each in dict.fromkeys([FULL, best, control])
    ]
    if sum(run.candidate == FULL and run.psnr_y is not None for run in last) < 2:
        raise InputError(
            f"the full set diverged within {search.steps:,} steps, so there is nothing to compare "
            f"with. Lower optimizer.lr (now {search.config.optimizer.lr:g}), and give --restart."
        )
    return [*rungs, Rung(search.steps, tuple(last), ())]


@dataclass
class _Runner:
    """Trains and measures one core-set after the other, and adds up what that costs."""

    search: Search
    pool: PatchPool
    tables: Mapping[str, ScoreTable]
    parents: Mapping[str, str]
    device: torch.device
    stopping: Callable[[], bool]
    tell: Tell
    progress: Progress
    steps: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    def run(self, candidate: Candidate, steps: int, seed: int) -> Measured:
        """Train a network on a core-set and measure it, unless that is done already."""
        job = self._job(candidate, steps, seed)
        about = f"{candidate.name}, {steps:,} steps, seed {seed}"
        record = job.folder / RECORD
        identity = (job.params, dict(job.parents), self.search.measured)
        key = digest(*map(canonical, identity))
        run = Measured.read(record, key, candidate)
        if run is None:
            run = self._measured(job, candidate, about)
            write_json(record, run.as_record(key))
        self.steps += steps
        self.seconds += run.seconds
        figure = "diverged" if run.psnr_y is None else f"{run.psnr_y:.3f} dB"
        self.tell(f"{about}: {figure}")
        return run

    def _measured(self, job: Job, candidate: Candidate, about: str) -> Measured:
        """Train and measure; a run that loses its way is a result, too."""
        watch, diverged, images, spent = Stopwatch(), "", {}, job.spent_s() or 0.0

        def progress(label: str, done: int, total: int, note: str = "") -> None:
            self.progress("advise", self.steps + done, self.search.num_steps, f"{about}, {note}")

        try:
            header = fit(
                job, device=self.device, resume=True, stopping=self.stopping, progress=progress
            )
            trained = Stopwatch()
            if reason := lost(job.folder, job.config, job.plan.steps):
                raise Diverged(reason)
            network, domain, _ = load_weights(job.weights)
            restorer = restorer_of(
                candidate.name, network.to(self.device), domain, header.fingerprint
            )
            images = measure(restorer, self.pool, self.search.held, self.device)
            seconds = float(header.made["seconds"]) + trained.seconds
        except Diverged as error:
            diverged, seconds = str(error), spent + watch.seconds
        except Stopped as error:
            raise Stopped(
                f"stopped in {about}; the checkpoint is saved. Give the same command again to go "
                "on."
            ) from error
        return Measured(
            candidate,
            job.plan.steps,
            job.config.seed,
            len(job.patch_ids),
            job.num_bytes,
            images,
            diverged,
            round(seconds, 3),
        )

    def _job(self, candidate: Candidate, steps: int, seed: int) -> Job:
        """The training of a core-set, for a budget of its own with a schedule of its own."""
        search = self.search
        ids = self._ids(candidate, seed)
        pruning = PruningConfig(ratio=candidate.ratio, offset=candidate.offset, seed=seed)
        if candidate.rule:
            method = search.methods.get(candidate.scores, pruning.score)
            pruning = pruning.model_copy(update={"rule": candidate.rule, "score": method})
        config = search.config.model_copy(
            update={
                "pruning": pruning,
                "budget": BudgetConfig(steps=steps),
                "seed": seed,
                "validation": ValidationConfig(benchmark=None),
            }
        )
        parents = {"patches": self.parents["patches"], "coreset": digest(ids.astype("<i8").data)}
        if search.init is not None:
            parents["init"] = self.parents["init"]
        return Job(
            folder=search.folder / "runs" / f"{candidate.name}__{steps}__seed{seed}",
            config=config,
            pool=self.pool,
            patch_ids=ids,
            train_set=candidate.name,
            parents=parents,
            init=search.init,
        )

    def _ids(self, candidate: Candidate, seed: int) -> npt.NDArray[np.int64]:
        """Patches of a core-set; what is drawn is drawn anew with every seed."""
        train_ids = self.search.held.train_ids
        if candidate == FULL:
            return train_ids
        rule: Rule = RULES.load(candidate.rule)
        table = self.tables.get(candidate.scores)
        scores_N = np.zeros(len(train_ids)) if table is None else table.scores_N[train_ids]
        return train_ids[rule(scores_N, candidate.ratio, candidate.offset, seed)]
