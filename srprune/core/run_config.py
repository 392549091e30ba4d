"""Configs around a training: how it is measured, and a whole run of several trainings."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from srprune.core.config import (
    ExtractConfig,
    Positive,
    Protocol,
    PruningConfig,
    Scale,
    Seed,
    Share,
    Strict,
)


class StageConfig(Strict):
    """A training config inside a run: a base file and what differs from it."""

    config: str
    """Name of the base file."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Dotted keys and their values, as ``--set`` takes them."""


class DynamicConfig(Strict):
    """How a supernet restores: tile by tile, each by the subnet that a router chooses."""

    router: str = "gradient"
    """Name in the table of routers."""
    flops_budget: Share | None = None
    """What an image may cost, as a share of the FLOPs of the largest subnet on the same tiles; null
    leaves the choice to the router."""
    tile: Positive | None = None
    """Side, LR px; null: that of the router's tiles, by default 64 at x2, 48 at x3 and x4."""
    overlap: Annotated[int, Field(ge=0)] | None = None
    """Of neighbouring tiles, LR px; null: 4."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the subnets."""

    @property
    def label(self) -> str:
        """For file names: ``_gradient0.66_tile64_o8``."""
        parts = [f"{self.router}{'' if self.flops_budget is None else f'{self.flops_budget:g}'}"]
        parts += [f"tile{self.tile}"] if self.tile is not None else []
        parts += [f"o{self.overlap}"] if self.overlap is not None else []
        parts += [self.precision] if self.precision != "fp32" else []
        return "".join(f"_{part}" for part in parts)


class EvaluateConfig(Strict):
    """What a run is measured on."""

    benchmarks: Annotated[tuple[str, ...], Field(min_length=1)] = ("photos",)
    protocol: Protocol = "rgb8@1"


class RunConfig(Strict):
    """The whole chain: extract, pretrain, score, select, train, evaluate, report."""

    images: str
    """Folder of HR training images, or ``photos`` for those inside scikit-image."""
    scale: Scale = 2
    extract: ExtractConfig = ExtractConfig()
    pretrain: StageConfig = StageConfig(config="srcnn.yaml")
    train: StageConfig
    arms: Annotated[dict[str, PruningConfig], Field(min_length=1)]
    """Core-sets to compare, by name; the first is what the others are compared with."""
    distilled: dict[str, StageConfig] = Field(default_factory=dict)
    """Synthesised sets by name, for arms with the rule distilled; their configs are those of
    distillation, such as distill_tiny.yaml."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _seeds(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must differ")
        return self
