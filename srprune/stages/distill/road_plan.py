"""The road of distillation, read: what is refused before any of it is gone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from srprune.core.config import PruningConfig
from srprune.core.configs import find_config
from srprune.core.errors import InputError
from srprune.core.run_config import StageConfig
from srprune.core.yaml_file import load
from srprune.distill.config import DistillConfig, FinetuneConfig
from srprune.distill.draws import spread
from srprune.selection import RULES
from srprune.selection.rule import portion


@dataclass(frozen=True)
class Road:
    """What a synthesised set is made by, read and checked.

    Attributes:
        distill: all four steps.
        finetune: of the diffusion model.
    """

    distill: DistillConfig
    finetune: FinetuneConfig


def read_road(stage: StageConfig) -> Road:
    """Read the config of a set and that of its diffusion model.

    Raises:
        MissingArtifact: no such config.
        ConfigError: faults of one of them.
        InputError: more steps of sampling than the diffusion model has timesteps.
    """
    distill = load(find_config(stage.config), DistillConfig, _changes(stage))
    model = distill.finetune
    finetune = load(find_config(model.config), FinetuneConfig, _changes(model))
    steps, timesteps = distill.synthesise.sampling_steps, finetune.diffusion.timesteps
    if steps > timesteps:
        raise InputError(
            f"{stage.config} has synthesise.sampling_steps {steps}, and its diffusion model "
            f"{model.config} {timesteps} timesteps. Choose at most {timesteps}."
        )
    return Road(distill, finetune)


def _changes(stage: StageConfig) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in stage.set.items()]


def check_roads(
    roads: Mapping[str, Road],
    trainings: Mapping[str, PruningConfig],
    num_patches: int | None = None,
) -> None:
    """Refuse roads to too small sets, and trainings that want more images than a set will have.

    Args:
        roads: how sets are made, by name.
        trainings: what is kept in each, by what it is called; those on patches are passed over.
        num_patches: of the pool; None before it is known: then only ratios are compared.

    Raises:
        InputError: there is one; the message names it.
    """
    made = {}
    if num_patches is not None:
        made = {name: _images(name, road, num_patches) for name, road in roads.items()}
    for label, pruning in trainings.items():
        name = _set_of(pruning, roads)
        if name is None:
            continue
        ratio = roads[name].distill.synthesise.ratio
        if ratio is not None and pruning.ratio > ratio:
            raise InputError(
                f"{label} has pruning.ratio {pruning.ratio:g}, and the synthesised set {name} will "
                f"have synthesise.ratio {ratio:g}. Lower the one, or raise the other."
            )
        if num_patches is None:
            continue
        wanted = portion(pruning.ratio, num_patches)
        if wanted > made[name]:
            raise InputError(
                f"{label} has pruning.ratio {pruning.ratio:g}, which is {wanted:,} of "
                f"{num_patches:,} patches, and the synthesised set {name} will have {made[name]:,} "
                f"images. Choose at most {made[name] / num_patches:.4g}, or synthesise more."
            )


def _images(name: str, road: Road, num_patches: int) -> int:
    """How many images a set will have."""
    distill = road.distill
    try:
        return sum(spread(distill.synthesise, num_patches, distill.categorise.categories))
    except InputError as error:
        raise InputError(f"distilled.{name}, synthesise: {error}") from None


def _set_of(pruning: PruningConfig, roads: Mapping[str, Road]) -> str | None:
    """The road whose set a training is on; None where it is on patches, or on another set."""
    if not RULES.load(pruning.rule).synthesised:
        return None
    name = str(pruning.args.get("set", "")) or (next(iter(roads)) if len(roads) == 1 else "")
    return name if name in roads else None
