"""From a study to its cells: one training config a combination of levels and seed."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from srprune.core.artifact import canonical, digest
from srprune.core.config import SUPERNET, WITHOUT_EFFECT, BudgetConfig, PruningConfig, TrainConfig
from srprune.core.configs import find_config
from srprune.core.errors import ConfigError, InputError, UnknownName
from srprune.core.names import unknown
from srprune.core.results import scaled
from srprune.core.run_config import DynamicConfig
from srprune.core.yaml_file import load, parse
from srprune.models import MODELS
from srprune.scoring import NO_MODEL, RECONSTRUCTION, SCORERS
from srprune.selection import RULES
from srprune.studies.config import StudyConfig, replaced

FULL = "full"
MEASURING = tuple(DynamicConfig.model_fields)  # keys of a level that say how runs are measured
_PLACE = re.compile(r" ?\(--set ([^=]*)=.*\)\.?$", re.DOTALL)


@dataclass(frozen=True)
class Cell:
    """One training run of a study, measured in one way.

    Attributes:
        levels: axis to level, in the order of the axes.
        config: of the run; its seed is that of the cell.
        name: of the run's folder; the same in every study that holds the same run.
        rule: of the core-set; ``full`` for the full set.
        score: what ranks the patches, as the study calls it; empty where nothing does.
        dynamic: how a supernet is measured; None: its largest subnet on whole images.
    """

    levels: Mapping[str, str]
    config: TrainConfig
    name: str
    rule: str
    score: str
    dynamic: DynamicConfig | None = None

    @property
    def distilled(self) -> str:
        """Name of the synthesised set that it trains on; empty where it trains on patches."""
        if self.rule == FULL or not RULES.load(self.rule).synthesised:
            return ""
        return str(self.config.pruning.args["set"])

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.config.seed

    @property
    def measured_as(self) -> str:
        """What its table of measurements calls it: the run, and how it was measured."""
        how = self.dynamic.label if self.dynamic else ""
        return scaled(self.name, self.config.scale) + how

    @property
    def label(self) -> str:
        """For people: ``fsrcnn, des50, seed 3``."""
        return ", ".join([*self.levels.values(), f"seed {self.seed}"])


def cells_of(study: StudyConfig) -> tuple[Cell, ...]:
    """All cells, seed by seed, so that a study that is stopped has every row a few times.

    Raises:
        ConfigError: levels that name no config key, or values that do not fit; all at once.
        InputError: two cells that are the same run.
    """
    faults: dict[str, None] = {}
    bases: list[_Base] = []
    for levels in _combinations(study):
        try:
            bases.append(_base(study, levels))
        except ConfigError as error:
            faults.update(dict.fromkeys(_placed(each, study, levels) for each in error.faults))
        except UnknownName as error:
            raise UnknownName(f"{error} (the cell {', '.join(levels.values())})") from error
        except InputError as error:
            raise InputError(f"{error} (the cell {', '.join(levels.values())})") from error
    if faults:
        raise ConfigError(list(faults))
    cells = [
        base.cell(seed)
        for number, seed in enumerate(study.seeds)
        for base in bases
        if number < base.num_seeds
    ]
    _check_collisions(cells)
    return tuple(cells)


def _combinations(study: StudyConfig) -> Iterator[dict[str, str]]:
    for chosen in itertools.product(*study.axes.values()):
        yield dict(zip(study.axes, chosen, strict=True))


def _num_seeds(study: StudyConfig, levels: Mapping[str, str]) -> int:
    """How many of the seeds a combination gets: all, or what its last level says."""
    count = most = len(study.seeds)
    for axis, level in levels.items():
        count = study.axes[axis][level].get("seeds", count)
        if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= most:
            where = f"axes.{axis}.{level}.seeds"
            raise ConfigError(
                [f"{where} is {count!r}; it must be a number of seeds, 1 to the {most} of 'seeds'"]
            )
    return count


@dataclass(frozen=True)
class _Base:
    """What the cells of one combination share.

    Attributes:
        levels: of the combination.
        file: the base config.
        config: with budget and pruning as the run has them, but for the seeds.
        rule: of the core-set; ``full`` for the full set.
        score: what ranks the patches, as the study calls it.
        num_seeds: how many of the seeds it gets.
        dynamic: how its runs are measured.
    """

    levels: Mapping[str, str]
    file: str
    config: TrainConfig
    rule: str
    score: str
    num_seeds: int
    dynamic: DynamicConfig | None

    def cell(self, seed: int) -> Cell:
        """The run of one seed; what is drawn is drawn anew."""
        pruning = self.config.pruning
        if self.rule != FULL and RULES.load(self.rule).seeded:
            pruning = pruning.model_copy(update={"seed": pruning.seed + seed})
        config = self.config.model_copy(update={"seed": seed, "pruning": pruning})
        name = _name(self.file, config, self.rule)
        return Cell(self.levels, config, name, self.rule, self.score, self.dynamic)


def _parts(study: StudyConfig, levels: Mapping[str, str]) -> dict[str, Mapping[str, object]]:
    """What a combination is made of, by its place in the file; later parts win."""
    chosen = {f"axes.{axis}.{name}": study.axes[axis][name] for axis, name in levels.items()}
    return {"set": study.set, **chosen}


def _base(study: StudyConfig, levels: Mapping[str, str]) -> _Base:
    changes: dict[str, object] = {}
    for part in _parts(study, levels).values():
        changes.update(dict.fromkeys(replaced(part)))
        changes.update(part)
    file = changes.pop("config", None)
    if not isinstance(file, str):
        raise ConfigError(
            ["no axis and not 'set' names the base file; give config: fsrcnn_x2.yaml or the like"]
        )
    share = changes.pop("steps", 1)
    if "seeds" in study.set:
        raise ConfigError(["seeds stands in 'set'; it goes to the top of the study, or to a level"])
    for place, part in _parts(study, levels).items():
        if "seed" in part:
            raise ConfigError(
                [f"{place}.seed would be the seed of every run; give the study seeds: [0, 1, 2]"]
            )
    changes.pop("seeds", None)
    measured = {key: changes.pop(key) for key in list(changes) if key in MEASURING}
    settings = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    config = load(find_config(file), TrainConfig, settings)
    MODELS[config.model]  # an unknown name is a fault, and so are settings that no rule takes
    rule = config.pruning.rule
    RULES.load(rule).checked(config.pruning.args, "pruning.args.")
    if config.pruning.ratio == 1 and RULES.load(rule).whole_is_full:
        rule = FULL
    _check_set(study, config, rule)
    score = config.pruning.score if rule != FULL and RULES.load(rule).scores else ""
    whole = {"budget": _budget(config, share), "pruning": _pruning(study, config, rule)}
    config = config.model_copy(update=whole)
    seeds = _num_seeds(study, levels)
    return _Base(levels, file, config, rule, score, seeds, _dynamic(measured, config))


def _check_set(study: StudyConfig, config: TrainConfig, rule: str) -> None:
    """Refuse a synthesised set that the study does not make.

    Raises:
        UnknownName: there is no such set.
    """
    if rule != FULL and RULES.load(rule).synthesised:
        name = str(config.pruning.args.get("set", ""))
        if name not in study.distilled:
            raise unknown("synthesised set", name, study.distilled, within="pruning.args.set: ")


def _dynamic(measured: Mapping[str, object], config: TrainConfig) -> DynamicConfig | None:
    """How the runs of a combination are measured.

    Raises:
        ConfigError: values that do not fit, or a network that is no supernet.
    """
    if not measured:
        return None
    settings = [f"{key}={json.dumps(value)}" for key, value in measured.items()]
    dynamic = parse("{}", DynamicConfig, "", settings)
    if not config.model.endswith(SUPERNET):
        key = next(iter(measured))
        raise ConfigError([f"{key} is for supernets, and {config.model} is none (--set {key}=)."])
    return dynamic


def _budget(config: TrainConfig, share: object) -> BudgetConfig:
    """The budget of a cell: a share of that of its base config."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < math.inf:
        raise ConfigError([f"steps is {share!r}; it must be a share of the budget, above 0"])
    steps, epochs = config.budget.steps, config.budget.epochs
    if steps is None:
        assert epochs is not None
        return BudgetConfig(epochs=epochs * share)
    return BudgetConfig(steps=max(1, int(Fraction(repr(share)) * steps + Fraction(1, 2))))


def _pruning(study: StudyConfig, config: TrainConfig, rule: str) -> PruningConfig:
    """Pruning as the run has it: equal runs look alike."""
    if rule == FULL:
        return PruningConfig()
    chosen = RULES.load(rule)
    score = PruningConfig().score
    if chosen.scores:
        score = table_of(study, config.pruning.score, config.scale)
    seed = config.pruning.seed if chosen.seeded else 0
    return config.pruning.model_copy(update={"score": score, "seed": seed})


def table_of(study: StudyConfig, score: str, scale: int) -> str:
    """What ``pruning.score`` is called outside the study, where it is a table of the study's own.

    Raises:
        UnknownName: neither the study nor the table of scorers has such a score.
        InputError: a method that asks models, and the study does not say which.
    """
    if score in SCORERS:
        if score not in study.scores and RECONSTRUCTION.get(score, NO_MODEL).least:
            raise InputError(
                f"pruning.score is {score}, which asks scoring models; say which in scores: "
                f"{score}: {{method: {score}, scorers: [...]}}."
            )
        return score
    if score not in study.scores:
        raise unknown("score", score, [*study.scores, *SCORERS])
    return f"{score}_x{scale}"


def _name(base: str, config: TrainConfig, rule: str) -> str:
    """``fsrcnn_x2__des_r0.5_o0.05__mse__2000steps__seed0__1a2b3c4d``: the digits are the config."""
    pruning, budget = config.pruning, config.budget
    parts = [Path(base).stem]
    if rule == FULL:
        parts.append(FULL)
    else:
        offset = f"_o{pruning.offset:g}" if pruning.offset else ""
        parts.append(f"{rule}_r{pruning.ratio:g}{offset}")
        if RULES.load(rule).scores:
            parts.append(pruning.score)
    parts.append(f"{budget.steps}steps" if budget.steps else f"{budget.epochs:g}epochs")
    effective = config.model_dump(mode="json", exclude=WITHOUT_EFFECT)
    start = [config.init.weights] if config.init.weights else []  # by its name: it may not be there
    return "__".join([*parts, f"seed{config.seed}", digest(canonical(effective), *start)[:8]])


def _check_collisions(cells: list[Cell]) -> None:
    seen: dict[tuple[str, DynamicConfig | None], Cell] = {}
    for cell in cells:
        if other := seen.get((cell.name, cell.dynamic)):
            raise InputError(
                f"the cells '{other.label}' and '{cell.label}' are the same run: their configs do "
                "not differ. Take one of the levels out, or make them differ."
            )
        seen[cell.name, cell.dynamic] = cell


def _placed(fault: str, study: StudyConfig, levels: Mapping[str, str]) -> str:
    """A fault with the level that it stands in, in place of the setting that it came through."""
    match = _PLACE.search(fault)
    if not match:
        return fault
    places = [place for place, part in _parts(study, levels).items() if match[1] in part]
    return f"{fault[: match.start()]} ({places[-1] if places else 'set'})."
