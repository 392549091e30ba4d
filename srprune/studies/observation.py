"""One run of a study, as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from srprune.core.artifact import canonical, digest
from srprune.core.findings import Cost
from srprune.core.results import EvalRow
from srprune.studies.grid import Cell

Curve = tuple[tuple[int, float], ...]

# Keys of a training config that say what it trains on, for how long and from which seed, and what
# changes no weights.
NO_RECIPE = {"pruning", "budget", "seed", "validation", "checkpoints", "data"}


@dataclass(frozen=True)
class Observation:
    """One run of a study, whether it is finished, lost, or still to come.

    Attributes:
        levels: axis to level.
        seed: of the run.
        rule: of the core-set; ``full`` for the full set.
        ratio: share of N that is kept.
        offset: share of N that is skipped.
        score: name of the score table; empty for rules that need none.
        scale: 2, 3 or 4.
        recipe: what its training and measuring are, but for core-set, budget and seed; runs of one
            recipe have it alike.
        rows: what was measured; empty where the run is not finished.
        cost: of the run; None where it is not finished.
        curve: (step, PSNR-Y in dB) on the validation benchmark.
        diverged: why it is in no mean; None where nothing is wrong.
        settings: of the rule, in words, such as ``bound 0.5``.
    """

    levels: Mapping[str, str]
    seed: int
    rule: str
    ratio: float
    offset: float
    score: str
    scale: int
    recipe: str = ""
    rows: tuple[EvalRow, ...] = ()
    cost: Cost | None = None
    curve: Curve = ()
    diverged: str | None = None
    settings: str = ""

    @property
    def counts(self) -> bool:
        """True if it is finished and sound."""
        return bool(self.rows) and self.diverged is None

    @property
    def label(self) -> str:
        """For people: ``fsrcnn, des50, seed 3``."""
        return ", ".join([*self.levels.values(), f"seed {self.seed}"])


def expected(cell: Cell) -> Observation:
    """The run of a cell, before it is looked at."""
    pruning = cell.config.pruning
    return Observation(
        levels=cell.levels,
        seed=cell.seed,
        rule=cell.rule,
        ratio=pruning.ratio,
        offset=pruning.offset,
        score=cell.score,
        scale=cell.config.scale,
        recipe=_recipe(cell),
        settings=", ".join(f"{name} {value}" for name, value in pruning.args.items()),
    )


def _recipe(cell: Cell) -> str:
    measured = cell.dynamic.label if cell.dynamic else ""
    return digest(canonical([cell.config.model_dump(mode="json", exclude=NO_RECIPE), measured]))
