"""What a user may write into a config file, with defaults and limits.

Every model refuses unknown keys; :mod:`srprune.core.yaml_file` turns the faults into lines.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

Scale = Literal[2, 3, 4]
Protocol = Literal["rgb8@1", "y@1"]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]  # what torch and the columns of tables hold
Decay = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Strict(BaseModel):
    """Base of all configs: frozen, no unknown keys, finite numbers, defaults checked too."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        allow_inf_nan=False,
        protected_namespaces=(),  # pydantic before 2.10 warns of names such as model_args
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
    """des (hardest first), asc (easiest first), random, or any other name in the table of rules."""
    args: dict[str, Any] = {}
    """Settings of the rule, such as ``{strata: 20}`` with ccs."""
    ratio: Share = 1.0
    """Share of all patches that is kept; 1 is the full set."""
    offset: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of all patches skipped at the start of the order; 0.05 is the paper's refined set."""
    score: str = "mse"
    """Score table that ranks the patches."""
    seed: Seed = 0
    """Seed of rules that draw, such as random."""
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
    """Any optimizer of torch by name, and what is done to the gradient."""

    name: str = "adam"
    """adam, adamw, sgd, or any other class of torch.optim in small letters."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    betas: tuple[Decay, Decay] | None = None
    """adam, adamw and their kin: 0.9 and 0.999 with adam and adamw where they are left out."""
    momentum: Decay | None = None
    """sgd and its kin: 0.9 with sgd where it is left out."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """adam and sgd add it to the gradient as this share of the weights, biases included, after the
    clipping; adamw shrinks the weights themselves. Left out, it is 0 with adam and sgd, else
    torch's own."""
    args: dict[str, Any] = {}
    """Any other argument of the optimizer's constructor, such as ``{nesterov: true}``."""
    last_layer_lr: Share = 1.0
    """Factor on the learning rate of the last layer (0.1 in the SRCNN and FSRCNN papers)."""
    bias_lr: Share = 1.0
    """Factor on the learning rate of biases, not of the shifts of normalisations (0.1 in the Caffe
    files of DRRN and IDN); a bias of the last layer has both factors."""
    clip: Annotated[float, Field(gt=0)] | None = None
    """Largest L2 norm of the gradient of all weights together; null clips nothing."""
    clip_by_lr: bool = False
    """Clip at ``clip`` over the learning rate of the step (adjustable clipping, as DRRN does)."""
    clip_value: Annotated[float, Field(gt=0)] | None = None
    """Largest magnitude of any single value of the gradient; null clips nothing."""

    @field_validator("betas", "momentum")
    @classmethod
    def _of_its_own(cls, value: object, info: ValidationInfo) -> object:
        """Fill in what belongs to the optimizer, and refuse what belongs to another."""
        field = str(info.field_name)
        name = info.data.get("name")
        if field == "betas":
            owners: tuple[str, ...] = ("adam", "adamw")
            others: tuple[str, ...] = ("sgd",)
            default: object = (0.9, 0.999)
        else:
            owners, others, default = ("sgd",), ("adam", "adamw"), 0.9
        if value is not None and name in others:
            raise ValueError(f"it goes with {owners[0]}, not with {name}")
        return default if value is None and name in owners else value

    @model_validator(mode="after")
    def _clips(self) -> Self:
        if self.clip_by_lr and self.clip is None:
            raise ValueError("clip_by_lr needs clip, the norm at a learning rate of 1")
        return self


class ScheduleConfig(Strict):
    """Learning rate over the steps; shares of the budget, so that it scales with it."""

    name: Literal["constant", "multistep", "cosine", "one_cycle"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the budget in which the rate rises to its peak: in a line, after which the schedule
    has the rest of the budget; with one_cycle by half a cosine, 0.3 where it is left out."""
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """multistep: shares of the budget, counted from its very start, at which the rate drops."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """multistep: what each drop multiplies the rate by."""
    cycles: Positive = 1
    """cosine: how often the rate falls, each time from its peak (warm restarts of equal length)."""
    final: Annotated[float, Field(ge=0, le=1)] = 0.01
    """cosine and one_cycle: rate at the last step, as a share of the peak."""
    start: Annotated[float, Field(gt=0, le=1)] = 0.04
    """one_cycle: rate at the first step, as a share of the peak (a 25th in torch)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.name == "multistep") != bool(self.milestones):
            raise ValueError("milestones go with multistep, and multistep needs them")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        if self.cycles > 1 and self.name != "cosine":
            raise ValueError("cycles go with cosine")
        return self


class DataConfig(Strict):
    """Where the pixels of the core-set stand during training; it changes no batch."""

    residency: Literal["auto", "device", "host", "disk"] = "auto"
    """device: in the memory of the GPU, where batches are cut, too; host: in main memory; disk: in
    the memory map, read ahead. auto takes the first that has room; on a CPU, host or disk."""


class ComputeConfig(Strict):
    """How a step is computed; precision and batch norm in parts apart, it changes only rounding."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the network (autocast); weights and loss stay fp32. fp16 scales the loss."""
    tf32: bool = False
    """Let NVIDIA GPUs round fp32 products to 10 bits, which is faster."""
    channels_last: bool = True
    """Layout of activations; faster nearly everywhere."""
    compile: bool = False
    """torch.compile: minutes of compiling, then faster steps on most GPUs."""
    cuda_graph: bool = False
    """Replay forward and backward pass as one launch; helps small networks on NVIDIA GPUs."""
    accumulate: Positive = 1
    """Parts that a batch is cut into, one after the other, to save memory."""

    @model_validator(mode="after")
    def _graph(self) -> Self:
        if self.cuda_graph and self.compile:
            raise ValueError("choose one of compile and cuda_graph")
        if self.cuda_graph and (self.precision == "fp16" or self.accumulate > 1):
            raise ValueError("cuda_graph goes with fp32 or bf16, and without accumulate")
        return self


class InitConfig(Strict):
    """Weights to start from instead of fresh ones."""

    weights: str | None = None
    """A run, or a weights file of srprune or of another program; null starts fresh."""
    strict: bool = True
    """Every tensor must fit. false takes those that do and tells the others (x4 from x2)."""


class SamplingConfig(Strict):
    """How often a patch is drawn: HES of WBSR (docs/adr/0016-readings-of-wbsr.md)."""

    name: Literal["hes"] = "hes"
    """First all patches alike, then by classes of difficulty, hard ones more often."""
    start: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Share of the steps before the second phase (70 of 100 epochs in the paper)."""
    classes: Annotated[int, Field(ge=1, le=30_000)] = 10
    """K of the paper."""
    cuts: Literal["quantile", "width"] = "quantile"
    """Classes at quantiles of the gradient, as the paper has them, or at equal widths."""
    delta: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Class k of K is drawn with a chance proportional to delta^(K-k) over its size."""
    length: Literal["norm", "sum"] = "norm"
    """One number of a gradient vector: the length or the sum of its parts over their spreads."""
    of: Literal["lr", "hr"] = "lr"
    """The image that gradients are those of; LR in the paper."""


class BalanceConfig(Strict):
    """The loss ``bd`` of WBSR (docs/adr/0016-readings-of-wbsr.md)."""

    of: Literal["value", "colour"] = "value"
    """What is balanced: each channel's value alone, or a pixel's RGB as one vector."""
    components: Positive = 8
    """Gaussians of the mixture."""
    values: Positive = 1_000_000
    """Pixels of the training patches that the mixture is fitted on, about."""
    sigma: Annotated[float, Field(ge=1e-3, le=1)] = 0.03
    """Noise of the prediction at the first step, where pixels are in [0, 1]; 0.03 is 30 dB."""
    learn_sigma: bool = True
    sigma_lr: Annotated[float, Field(gt=0)] = 1e-2
    """Learning rate of sigma at its peak; it follows the schedule."""
    penalty: Annotated[float, Field(ge=0)] = 0.0
    """lambda of the paper: factor on the L2 norm of all weights."""


class SubnetsConfig(Strict):
    """Which subnets of a supernet a step trains."""

    draw: Literal["sandwich", "one"] = "sandwich"
    """sandwich: the smallest, some at random and the largest; one: one at random."""
    between: Annotated[int, Field(ge=0)] = 1
    """sandwich: how many at random."""


class CheckpointConfig(Strict):
    """What an interrupted run can go on from."""

    every: Positive = 500
    """Steps between two checkpoints; what a kill can cost."""
    keep: Positive = 2
    """How many of the last ones are kept; a damaged one is passed over."""


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
    loss: Literal["l1", "mse", "euclidean", "bd"] = "l1"
    """l1 and mse are means; euclidean is Caffe's, the sum of squares over twice the batch; bd is
    the balanced diversity loss of WBSR."""
    balance: BalanceConfig | None = None
    """Goes with the loss bd; left out, its defaults."""
    sampling: SamplingConfig | None = None
    """null: each patch once an epoch."""
    subnets: SubnetsConfig | None = None
    """Goes with supernets; left out, its defaults."""
    skip_rim: bool = False
    """Leave the rim that zero padding spoils out of the loss."""
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    seed: Seed = 0
    """Of initial weights, order, crops and augmentation."""
    ema: Decay | None = None
    """Keep a moving average of the weights with this decay a step (0.999 in BasicSR and KAIR);
    it is what is validated, saved and measured. null keeps the weights themselves."""
    init: InitConfig = InitConfig()
    data: DataConfig = DataConfig()
    compute: ComputeConfig = ComputeConfig()
    validation: ValidationConfig = ValidationConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()

    @field_validator("balance")
    @classmethod
    def _of_bd(cls, value: BalanceConfig | None, info: ValidationInfo) -> BalanceConfig | None:
        if info.data.get("loss") == "bd":
            return value or BalanceConfig()
        if value is not None:
            raise ValueError("it goes with the loss bd. Set loss: bd, or leave balance out")
        return None

    @field_validator("subnets")
    @classmethod
    def _of_supernet(cls, value: SubnetsConfig | None, info: ValidationInfo) -> object:
        model = info.data.get("model", "")
        if model.endswith(SUPERNET):
            return value or SubnetsConfig()
        if value is not None:
            raise ValueError(f"it goes with supernets, and {model} is none. Leave subnets out")
        return None

    @model_serializer(mode="wrap")
    def _asked_for(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is not asked for is left out, so that older runs keep their names."""
        values: dict[str, Any] = whole(self)
        return {k: v for k, v in values.items() if v is not None or k not in OPTIONAL}


SUPERNET = "_supernet"  # names of supernets end so
OPTIONAL = ("balance", "sampling", "subnets")

# What changes nothing about the weights; it may change between an interruption and --resume.
WITHOUT_EFFECT: dict[str, Any] = {
    "validation": True,
    "checkpoints": True,
    "data": True,
    "init": {"weights": True},  # it is among the parents
}
