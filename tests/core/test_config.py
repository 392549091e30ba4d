"""Configs: every file that is shipped loads, and every rule refuses what breaks it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from srprune.core import config
from srprune.core.config import (
    BudgetConfig,
    ExtractConfig,
    OptimizerConfig,
    PruningConfig,
    ScheduleConfig,
    Strict,
    TrainConfig,
)
from srprune.core.configs import find_config, known_configs
from srprune.core.errors import ConfigError
from srprune.core.run_config import RunConfig, StageConfig
from srprune.core.yaml_file import dump, load, parse
from srprune.distill.config import DistillConfig, FinetuneConfig
from srprune.models import MODELS
from srprune.scoring import SCORERS
from srprune.selection import RULES

FOLDER = Path(__file__).parents[2] / "configs"
FILES = sorted(FOLDER.glob("*.yaml"))
TRAIN = "model: srcnn\nbudget: {steps: 10}\n"
RUN = "images: photos\ntrain: {config: fsrcnn_x2.yaml}\narms: {full: {ratio: 1}}\n"
MODELS_OF_CONFIGS = [
    each
    for each in vars(config).values()
    if isinstance(each, type) and issubclass(each, Strict) and each is not Strict
]


# A key that only files of a kind have
KINDS: dict[str, type[BaseModel]] = {
    "model": TrainConfig,
    "arms": RunConfig,
    "latents": FinetuneConfig,
    "synthesise": DistillConfig,
}


def kind_of(file: Path) -> type[BaseModel]:
    return next(kind for key, kind in KINDS.items() if f"\n{key}:" in file.read_text())


def settings(stage: StageConfig) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in stage.set.items()]


def of(kind: type[BaseModel]) -> list[Path]:
    return [file for file in FILES if kind_of(file) is kind]


def faults(text: str, *overrides: str, model: type[BaseModel] = TrainConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, model, "a.yaml", overrides)
    return "\n".join(caught.value.faults)


# --- files ---


def test_there_are_files_of_all_kinds() -> None:
    assert {kind_of(file) for file in FILES} == set(KINDS.values())
    assert {file.name for file in FILES} <= set(known_configs())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_loads_and_survives_a_dump(file: Path) -> None:
    model = kind_of(file)
    loaded = load(file, model)
    assert parse(dump(loaded), model, "dump.yaml") == loaded


@pytest.mark.parametrize("file", of(TrainConfig), ids=lambda file: file.name)
def test_names_in_training_files_are_known(file: Path) -> None:
    loaded = load(file, TrainConfig)
    assert loaded.model in MODELS and loaded.pruning.rule in RULES
    assert loaded.pruning.score in SCORERS
    assert f"x{loaded.scale}" in file.stem or file.stem == "srcnn"


@pytest.mark.parametrize("file", of(RunConfig), ids=lambda file: file.name)
def test_stages_of_a_run_load_with_what_is_set(file: Path) -> None:
    run = load(file, RunConfig)
    for stage in (run.pretrain, run.train):
        loaded = load(find_config(stage.config), TrainConfig, settings(stage))
        assert loaded.scale == run.scale
    assert all(arm.rule in RULES for arm in run.arms.values())
    assert next(iter(run.arms.values())).ratio == 1
    for name, stage in run.distilled.items():
        distill = load(find_config(stage.config), DistillConfig, settings(stage))
        load(find_config(distill.finetune.config), FinetuneConfig, settings(distill.finetune))
        assert any(arm.args.get("set") == name for arm in run.arms.values())


# --- rules ---


@pytest.mark.parametrize("ratio", ["0", "1.5", "-0.5", ".nan", ".inf", "'0.5'", "true"])
def test_a_ratio_is_above_0_and_at_most_1(ratio: str) -> None:
    assert "pruning.ratio is " in faults(TRAIN, f"pruning.ratio={ratio}")


@pytest.mark.parametrize("offset", ["1", "-0.1", ".nan"])
def test_an_offset_is_at_least_0_and_below_1(offset: str) -> None:
    assert "pruning.offset is " in faults(TRAIN, f"pruning.offset={offset}")


def test_ratio_and_offset_over_1_are_refused_with_their_sum() -> None:
    said = faults(TRAIN + "pruning: {ratio: 0.98, offset: 0.05}\n")
    assert said == (
        "pruning: ratio 0.98 and offset 0.05 add up to 1.03; together they may be at most 1 "
        "(a.yaml, line 3)."
    )


@pytest.mark.parametrize(("ratio", "offset"), [(1, 0), (0.9, 0.1), (0.7, 0.3), (0.35, 0.65)])
def test_ratio_and_offset_of_1_together_are_fine(ratio: float, offset: float) -> None:
    assert PruningConfig(ratio=ratio, offset=offset).offset == offset


def test_a_budget_is_either_steps_or_epochs() -> None:
    assert BudgetConfig(steps=1).epochs is None and BudgetConfig(epochs=0.5).steps is None
    for text in ("budget: {}", "budget: {steps: 1, epochs: 1}"):
        assert "give either steps or epochs" in faults(f"model: srcnn\n{text}\n")


def test_milestones_go_with_multistep() -> None:
    assert ScheduleConfig(name="multistep", milestones=(0.5, 0.75)).factor == 0.5
    together = "milestones go with multistep"
    assert together in faults(TRAIN, "schedule.name=multistep")
    assert together in faults(TRAIN, "schedule.milestones=[0.5]")
    assert together in faults(TRAIN, "schedule={name: constant, milestones: [0.5]}")


@pytest.mark.parametrize("milestones", ["[0.75, 0.5]", "[0.5, 0.5]"])
def test_milestones_rise(milestones: str) -> None:
    said = faults(TRAIN, f"schedule={{name: multistep, milestones: {milestones}}}")
    assert "milestones must rise" in said


@pytest.mark.parametrize("milestone", ["0", "1", "5000"])
def test_milestones_are_shares_of_the_budget(milestone: str) -> None:
    said = faults(TRAIN, f"schedule={{name: multistep, milestones: [{milestone}]}}")
    assert "schedule.milestones.0 is " in said


@pytest.mark.parametrize(
    ("settings", "betas", "momentum"),
    [
        ("{}", (0.9, 0.999), None),
        ("{betas: [0.9, 0.99]}", (0.9, 0.99), None),
        ("{name: sgd}", None, 0.9),
        ("{name: sgd, momentum: 0}", None, 0),
        ("{name: sgd, betas: null, momentum: null}", None, 0.9),
        ("{name: adamw}", (0.9, 0.999), None),
        ("{name: adamw, betas: [0.9, 0.99]}", (0.9, 0.99), None),
        ("{name: radam}", None, None),
        ("{name: radam, betas: [0.8, 0.9]}", (0.8, 0.9), None),
        ("{name: rmsprop, momentum: 0.5}", None, 0.5),
        ("{name: sdg, momentum: 0.9}", None, 0.9),
    ],
)
def test_an_optimizer_gets_the_defaults_of_its_own_settings(
    settings: str, betas: object, momentum: object
) -> None:
    made = parse(TRAIN, TrainConfig, "a.yaml", [f"optimizer={settings}"])
    assert (made.optimizer.betas, made.optimizer.momentum) == (betas, momentum)
    assert parse(dump(made), TrainConfig, "dump.yaml") == made


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{momentum: 0.9}", "optimizer.momentum: it goes with sgd, not with adam"),
        ("{betas: [0.9, 0.999], name: sgd}", "optimizer.betas: it goes with adam, not with sgd"),
        ("{momentum: 0.9, name: adamw}", "optimizer.momentum: it goes with sgd, not with adamw"),
        ("{clip_by_lr: true}", "optimizer: clip_by_lr needs clip, the norm at a learning rate of"),
    ],
)
def test_settings_of_an_optimizer_go_together(settings: str, said: str) -> None:
    (fault,) = faults(TRAIN, f"optimizer={settings}").splitlines()
    assert fault.startswith(said)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{cuda_graph: true, compile: true}", "choose one of compile and cuda_graph"),
        ("{cuda_graph: true, precision: fp16}", "cuda_graph goes with fp32 or bf16"),
        ("{cuda_graph: true, accumulate: 2}", "cuda_graph goes with fp32 or bf16, and without ac"),
    ],
)
def test_a_graph_does_not_go_with_all_ways_to_compute(settings: str, said: str) -> None:
    (fault,) = faults(TRAIN, f"compute={settings}").splitlines()
    assert fault.startswith(f"compute: {said}")


@pytest.mark.parametrize(
    "text",
    [
        "compute: {cuda_graph: true, precision: bf16}",
        "compute: {compile: true, precision: fp16, accumulate: 4}",
        "optimizer: {name: rprop, args: {etas: [0.5, 1.2], maximize: true}, clip_value: 0.1}",
        "schedule: {name: one_cycle, warmup: 0.2, start: 0.1, final: 0}",
        "schedule: {cycles: 3, warmup: 0}",
        "schedule: {name: multistep, milestones: [0.5], warmup: 0.6}",
        "ema: 0.999",
        "init: {weights: a run, strict: false}",
        "checkpoints: {every: 10, keep: 1}",
    ],
)
def test_what_goes_together_survives_a_dump(text: str) -> None:
    made = parse(f"{TRAIN}{text}\n", TrainConfig, "a.yaml")
    assert made != parse(TRAIN, TrainConfig, "a.yaml")
    assert parse(dump(made), TrainConfig, "dump.yaml") == made


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("scale=5", "scale is 5; it must be one of 2, 3, 4"),
        ("scale='2'", "scale is '2'; it must be one of 2, 3, 4"),
        ("loss=l3", "loss is 'l3'; it must be one of l1, mse, euclidean"),
        ("batch=0", "batch is 0; it must be at least 1"),
        ("batch=1.5", "batch is 1.5; it must be a whole number"),
        ("seed=-1", "seed is -1; it must be at least 0"),
        ("seed=99999999999999999999", "seed is 99999999999999999999; it must be at least 0 and at"),
        ("budget.epochs=0", "budget.epochs is 0; it must be greater than 0"),
        ("budget={epochs: .inf}", "budget.epochs is inf; it must be a finite number"),
        ("optimizer.lr=.inf", "optimizer.lr is inf; it must be a finite number"),
        ("optimizer.lr=0", "optimizer.lr is 0; it must be greater than 0"),
        ("optimizer.betas=[0.9]", "optimizer.betas.1 is missing"),
        ("optimizer.betas=[0.9, 1]", "optimizer.betas.1 is 1; it must be at least 0 and less than"),
        ("optimizer.momentum=1", "optimizer.momentum is 1; it must be at least 0 and less than"),
        ("optimizer.name=3", "optimizer.name is 3; it must be text"),
        ("optimizer.args=3", "optimizer.args is 3; it must be a mapping"),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay is -1; it must be at least 0"),
        ("optimizer.clip_value=0", "optimizer.clip_value is 0; it must be greater than 0"),
        ("schedule.name=one", "schedule.name is 'one'; it must be one of constant, multistep, cos"),
        ("schedule.warmup=1", "schedule.warmup is 1; it must be at least 0 and less than 1"),
        ("schedule.warmup=-0.1", "schedule.warmup is -0.1; it must be at least 0 and less than 1"),
        ("schedule.start=0", "schedule.start is 0; it must be greater than 0 and at most 1"),
        ("schedule.final=1.5", "schedule.final is 1.5; it must be at least 0 and at most 1"),
        ("schedule.cycles=0", "schedule.cycles is 0; it must be at least 1"),
        ("schedule={name: one_cycle, cycles: 2}", "schedule: cycles go with cosine"),
        ("ema=1", "ema is 1; it must be at least 0 and less than 1"),
        ("ema=true", "ema is true; it must be a number"),
        ("compute.precision=fp8", "compute.precision is 'fp8'; it must be one of fp32, bf16, fp16"),
        ("compute.accumulate=0", "compute.accumulate is 0; it must be at least 1"),
        ("compute.tf32=1", "compute.tf32 is 1; it must be true or false"),
        ("data.residency=gpu", "data.residency is 'gpu'; it must be one of auto, device, host, d"),
        ("init.weights=3", "init.weights is 3; it must be text"),
        ("init.strict=no", "init.strict is 'no'; it must be true or false"),
        ("optimizer.bias_lr=0", "optimizer.bias_lr is 0; it must be greater than 0"),
        ("optimizer.last_layer_lr=2", "optimizer.last_layer_lr is 2; it must be"),
        ("optimizer.clip=0", "optimizer.clip is 0; it must be greater than 0"),
        ("augment=yes", "augment is 'yes'; it must be true or false"),
        ("checkpoints.every=0", "checkpoints.every is 0; it must be at least 1"),
        ("checkpoints.keep=0", "checkpoints.keep is 0; it must be at least 1"),
        ("checkpoint_every=5", "unknown key 'checkpoint_every'. Did you mean: checkpoints?"),
        ("learning_rate=1", "unknown key 'learning_rate'."),
        ("optimizer.lrr=1", "unknown key 'optimizer.lrr'. Did you mean: lr?"),
        ("pruning.rato=1", "unknown key 'pruning.rato'. Did you mean: ratio?"),
    ],
)
def test_a_value_that_does_not_fit_is_told_in_one_line(override: str, said: str) -> None:
    assert faults(TRAIN, override).startswith(said)


@pytest.mark.parametrize("key", ["model", "budget"])
def test_a_training_needs_a_model_and_a_budget(key: str) -> None:
    text = "".join(line for line in TRAIN.splitlines(True) if not line.startswith(key))
    assert f"{key} is missing; it must be given" in faults(text)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("arms={}", "arms"),
        ("seeds=[]", "seeds"),
        ("evaluate.benchmarks=[]", "evaluate.benchmarks"),
        ("evaluate.protocol=rgb8", "evaluate.protocol is 'rgb8'; it must be one of rgb8@1, y@1"),
        ("extract.size=0", "extract.size is 0"),
        ("arms.x={ratio: 2}", "arms.x.ratio is 2"),
    ],
)
def test_a_run_that_does_not_fit(override: str, said: str) -> None:
    parse(RUN, RunConfig, "a.yaml")
    assert faults(RUN, override, model=RunConfig).startswith(said)


# --- models ---


def test_defaults_are_those_of_the_docs() -> None:
    train = parse(TRAIN, TrainConfig, "a.yaml")
    assert train.pruning == PruningConfig(rule="des", ratio=1, offset=0, step_matching=True)
    assert (ExtractConfig().size, ExtractConfig().stride) == (480, 240)
    assert train.optimizer == OptimizerConfig(name="adam", lr=1e-3, betas=(0.9, 0.999))
    assert train.validation.benchmark == "photos"
    assert (train.ema, train.init.weights, train.schedule.warmup) == (None, None, None)
    assert (train.compute.precision, train.compute.accumulate) == ("fp32", 1)
    assert not (train.compute.tf32 or train.compute.compile or train.compute.cuda_graph)
    assert (train.checkpoints.every, train.checkpoints.keep) == (500, 2)


@pytest.mark.parametrize("model", MODELS_OF_CONFIGS, ids=lambda model: model.__name__)
def test_every_model_is_frozen_strict_and_finite(model: type[BaseModel]) -> None:
    settings = model.model_config
    assert settings["frozen"] and settings["extra"] == "forbid"
    assert settings["validate_default"] and settings["allow_inf_nan"] is False


def test_configs_cannot_be_changed() -> None:
    train = parse(TRAIN, TrainConfig, "a.yaml")
    with pytest.raises(ValidationError, match="frozen"):
        train.batch = 3
    with pytest.raises(ValidationError, match="frozen"):
        train.pruning.ratio = 0.5


def test_a_default_is_not_shared_between_configs() -> None:
    one, two = (parse(TRAIN, TrainConfig, "a.yaml") for _ in range(2))
    one.model_args["channels"] = "y"
    assert two.model_args == {}


@pytest.mark.parametrize("values", [{"lr": math.nan}, {"weight_decay": math.inf}])
def test_numbers_are_finite(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="finite"):
        OptimizerConfig(**values)
