"""What a user may write into a config file, with defaults and limits.

Every model refuses unknown keys; :mod:`srprune.core.yaml_file` turns the faults into lines.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

Scale = Literal[2, 3, 4]
Protocol = Literal["rgb8@1", "y@1"]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Strict(BaseModel):
    """Base of all configs: frozen, no unknown keys, finite numbers, defaults checked too."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


class ExtractConfig(Strict):
    """The patch grid."""

    size: Positive = 480
    """Side of a patch, HR px; a multiple of 12. 480 is BasicSR's standard for DIV2K."""
    stride: Positive = 240
    """Distance of neighbouring patches, HR px; a multiple of 12."""


class PruningConfig(Strict):
    """Which patches are kept, and what that means for the budget."""

    rule: str = "des"
    """des (hardest first), asc (easiest first) or random."""
    ratio: Share = 1.0
    """Share of all patches that is kept; 1 is the full set."""
    offset: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of all patches skipped at the start of the order; 0.05 is the paper's refined set."""
    score: str = "mse"
    """Score table that ranks the patches."""
    seed: Seed = 0
    """Seed of the random rule."""
    step_matching: bool = True
    """True: as many steps as the full set would get. False: the epochs over fewer patches."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.ratio + self.offset > 1 + 1e-12:
            raise ValueError(
                f"ratio {self.ratio:g} and offset {self.offset:g} add up to "
                f"{self.ratio + self.offset:g}; together they may be at most 1"
            )
        return self


class BudgetConfig(Strict):
    """How long the *full* set is trained: in steps, or in epochs that give steps."""

    steps: Positive | None = None
    """Optimizer updates."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """Passes over the full set, each patch once a pass (one random crop)."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        return self


class OptimizerConfig(Strict):
    """Adam (Kingma and Ba 2015) or SGD with momentum, and what is done to the gradient."""

    name: Literal["adam", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    betas: tuple[Decay, Decay] | None = None
    """adam: 0.9 and 0.999 where they are left out."""
    momentum: Decay | None = None
    """sgd: 0.9 where it is left out."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Added to the gradient as this share of the weights, biases included, after the clipping."""
    last_layer_lr: Share = 1.0
    """Factor on the learning rate of the last layer (0.1 in the SRCNN and FSRCNN papers)."""
    bias_lr: Share = 1.0
    """Factor on the learning rate of biases, not of the shifts of normalisations (0.1 in the Caffe
    files of DRRN and IDN); a bias of the last layer has both factors."""
    clip: Annotated[float, Field(gt=0)] | None = None
    """Largest L2 norm of the gradient of all weights together; null clips nothing."""
    clip_by_lr: bool = False
    """Clip at ``clip`` over the learning rate of the step (adjustable clipping, as DRRN does)."""

    @field_validator("betas", "momentum")
    @classmethod
    def _of_its_own(cls, value: object, info: ValidationInfo) -> object:
        """Fill in what belongs to the optimizer, and refuse what belongs to the other."""
        owner, default = {"betas": ("adam", (0.9, 0.999)), "momentum": ("sgd", 0.9)}[
            str(info.field_name)
        ]
        name = info.data.get("name", owner)  # a name that is unknown is a fault by itself
        if value is not None and name != owner:
            raise ValueError(f"it goes with {owner}, not with {name}")
        return default if value is None and name == owner else value

    @model_validator(mode="after")
    def _clips(self) -> Self:
        if self.clip_by_lr and self.clip is None:
            raise ValueError("clip_by_lr needs clip, the norm at a learning rate of 1")
        return self


class ScheduleConfig(Strict):
    """Learning rate over the steps; shares of the budget, so that it scales with it."""

    name: Literal["constant", "multistep", "cosine"] = "cosine"
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """multistep: shares of the budget at which the rate drops."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """multistep: what each drop multiplies the rate by."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.01
    """cosine: rate at the last step, as a share of the first."""

    @model_validator(mode="after")
    def _milestones(self) -> Self:
        if (self.name == "multistep") != bool(self.milestones):
            raise ValueError("milestones go with multistep, and multistep needs them")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        return self


class ValidationConfig(Strict):
    """What is measured on the way; never part of the training, never used to choose."""

    benchmark: str | None = "photos"
    """A benchmark or a folder of HR images; null measures nothing. Pretraining holds out images
    of the pool instead and only looks at ``every``."""
    every: Positive = 1000
    """Steps between two measurements."""


class TrainConfig(Strict):
    """One training run."""

    model: str
    """Name in the table of models."""
    model_args: dict[str, Any] = {}
    """Arguments of the network, such as channels."""
    scale: Scale = 2
    pruning: PruningConfig = PruningConfig()
    budget: BudgetConfig
    batch: Positive = 16
    """Crops per step."""
    lr_crop: Positive = 48
    """Side of a training crop, LR px; the HR crop is scale times larger."""
    augment: bool = True
    """Random flips and quarter turns."""
    loss: Literal["l1", "mse", "euclidean"] = "l1"
    """l1 and mse are means; euclidean is Caffe's, the sum of squares over twice the batch."""
    skip_rim: bool = False
    """Leave the rim that zero padding spoils out of the loss."""
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    seed: Seed = 0
    """Of initial weights, order, crops and augmentation."""
    validation: ValidationConfig = ValidationConfig()
    checkpoint_every: Positive = 500
    """Steps between two checkpoints; what a kill can cost."""


class StageConfig(Strict):
    """A training config inside a run: a base file and what differs from it."""

    config: str
    """Name of the base file."""
    set: dict[str, Any] = {}
    """Dotted keys and their values, as ``--set`` takes them."""


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
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    evaluate: EvaluateConfig = EvaluateConfig()

    @model_validator(mode="after")
    def _seeds(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds must differ")
        return self
