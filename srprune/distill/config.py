"""What a user may write into the config files of distillation, with defaults and limits.

The defaults are those of the published system but for its SR term, which is off, and for what else
docs/adr/0017-readings-of-srdd.md names.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from srprune.core.config import (
    CheckpointConfig,
    ComputeConfig,
    Decay,
    OptimizerConfig,
    Positive,
    ScheduleConfig,
    Seed,
    Share,
    Strict,
)
from srprune.core.run_config import StageConfig

Weight = Annotated[float, Field(ge=0)]

FLOAT32_EPS = 2.0**-23  # a signal of so small a share is lost where float32 adds noise to it


class NetworkConfig(Strict):
    """The diffusion transformer, a DiT as diffusers has it; the defaults are DiT-XL/2."""

    weights: str | None = None
    """Folder of pre-trained weights as diffusers keeps them, such as the ``transformer`` of
    facebook/DiT-XL-2-512; it also says the sizes below. null trains from scratch."""
    layers: Positive = 28
    heads: Positive = 16
    head_width: Positive = 72
    patch: Positive = 2
    """Side of a token, latent px."""
    difffit: bool = False
    """Train biases, norms, label embeddings and scale factors only (Xie et al., ICCV 2023)."""


class LatentsConfig(Strict):
    """What the transformer works on."""

    kind: Literal["pixels", "small", "vae"] = "vae"
    """pixels themselves; latents of a small autoencoder that is trained here first; or those of a
    pre-trained one (SD-VAE)."""
    weights: str | None = None
    """vae: folder of the weights as diffusers keeps them, such as stabilityai/sd-vae-ft-ema."""
    channels: Positive = 4
    """small: of the latents."""
    factor: Literal[2, 4, 8] = 4
    """small: HR px a latent px."""
    width: Positive = 32
    """small: channels of its layers."""
    steps: Positive = 2000
    """small: of its training."""
    batch: Positive = 16
    """small: windows a step."""
    crop: Positive = 48
    """small: side of its training crops, HR px; it takes all of a smaller patch."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """small: learning rate at its peak."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.kind == "vae") != (self.weights is not None):
            raise ValueError("latents.weights go with kind vae, and vae needs them")
        if self.kind == "small" and self.crop < self.factor:
            raise ValueError(
                f"latents.crop is {self.crop} px, less than one latent of {self.factor} px; "
                f"choose at least {self.factor}"
            )
        if self.kind == "small" and self.values(self.crop) < 2:
            raise ValueError(
                f"latents.batch 1 and latents.crop {self.crop} are one latent a step, which has no "
                "spread; raise one of them"
            )
        return self

    def values(self, size: int, processes: int = 1) -> int:
        """small: latent px of each channel that a process sees in a step.

        Args:
            size: of the patches, HR px.
            processes: that share the batch.
        """
        return self.batch // processes * (min(self.crop, size) // self.factor) ** 2


class DiffusionConfig(Strict):
    """The noise, a line of DDPM (Ho et al., 2020) as DiT has it."""

    timesteps: Positive = 1000
    beta_start: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    beta_end: Annotated[float, Field(gt=0, lt=1)] = 0.02
    label_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the samples that lose their label, for classifier-free guidance."""

    @model_validator(mode="after")
    def _leaves_signal(self) -> Self:
        """At the last timestep something of the image must be left: predictions divide by it."""
        rise = (self.beta_end - self.beta_start) / max(self.timesteps - 1, 1)
        share = 1.0
        for step in range(self.timesteps):
            share *= 1 - self.beta_start - step * rise
            if share < FLOAT32_EPS**2:  # it is a power
                raise ValueError(
                    f"{self.timesteps} timesteps with betas from {self.beta_start:g} to "
                    f"{self.beta_end:g} leave nothing of the image from timestep {step} on; lower "
                    "diffusion.beta_end or diffusion.timesteps"
                )
        return self


class TermsConfig(Strict):
    """What is added to the diffusion loss; factors on the terms, 0 leaves one out."""

    representativeness: Weight = 0.002
    """Minimax: 1 - the least cosine of a prediction and the real latents remembered."""
    diversity: Weight = 0.008
    """Minimax: the largest cosine of a prediction and the predictions remembered."""
    memory: Positive = 64
    """Latents remembered of each category."""
    sr: Weight = 0.0
    """High frequencies of the prediction, what a bicubic round trip takes away: the more, the
    better. The published code has 1, on the input, where it has no gradient; here the loss has no
    floor above about 0.05 (criterion.py), and 0.02 is a careful choice."""
    sr_scale: Annotated[int, Field(ge=2)] = 4
    """Of the round trip, latent px."""


class SamplesConfig(Strict):
    """The grid of samples that is drawn while it trains."""

    every: Positive = 1000
    """Steps between two grids."""
    each: Positive = 4
    """Samples of each category."""
    sampling_steps: Positive = 20
    guidance: Weight = 4.0


class FinetuneConfig(Strict):
    """One training of a diffusion model."""

    network: NetworkConfig = NetworkConfig()
    latents: LatentsConfig
    diffusion: DiffusionConfig = DiffusionConfig()
    terms: TermsConfig = TermsConfig()
    steps: Positive
    """Optimizer updates."""
    batch: Positive = 4
    """Windows a step."""
    flip: bool = True
    """Random horizontal flips."""
    optimizer: OptimizerConfig = OptimizerConfig(name="adamw", lr=1e-3, weight_decay=0.0)
    schedule: ScheduleConfig = ScheduleConfig(name="constant")
    seed: Seed = 0
    ema: Decay | None = 0.9999
    compute: ComputeConfig = ComputeConfig()
    validation: SamplesConfig = SamplesConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.network.difffit and self.network.weights is None:
            raise ValueError(
                "network.difffit trains a small part of pre-trained weights, and network.weights "
                "names none; name them, or set network.difffit to false"
            )
        return self


class SelectConfig(Strict):
    """Which windows the diffusion model is trained on."""

    score: Literal["round_trip", "sobel"] = "round_trip"
    """round_trip: PSNR of a bicubic x4 round trip, as the published code has it; sobel: the mean
    gradient, as the paper's words have it."""
    below: float | None = None
    """round_trip: windows below so many dB; 23 where neither it nor ratio is given."""
    ratio: Share | None = None
    """The hardest share instead."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.below is not None and (self.ratio is not None or self.score != "round_trip"):
            raise ValueError("below goes with round_trip and without ratio")
        if self.score == "sobel" and self.ratio is None:
            raise ValueError("sobel needs ratio, the share of windows to keep")
        return self


class CategoriseConfig(Strict):
    """Into how many categories, and by what."""

    features: str = "clip"
    """clip, network or descriptor."""
    weights: str | None = None
    """clip: a file of its weights; network: a run. null looks where they are usually found."""
    categories: Positive = 7
    seed: Seed = 42


class SynthesiseConfig(Strict):
    """How images are sampled."""

    ratio: Share | None = None
    """How many: a share of all patches of the pool, spread evenly over the categories."""
    per_category: Positive | None = None
    """How many of each category instead; 10 in the paper's 70 images."""
    guidance: Weight = 4.0
    """Classifier-free: 0 asks for no category, 1 guides not, more exaggerates."""
    sampling_steps: Positive = 50
    batch: Positive = 8
    seed: Seed = 0
    reject_copies: bool = False
    """Draw near-copies of training patches anew; else they are kept, and named."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.ratio is None) == (self.per_category is None):
            raise ValueError("give either ratio or per_category")
        return self


class DistillConfig(Strict):
    """The whole road, from patches to a synthesised set."""

    select: SelectConfig = SelectConfig()
    categorise: CategoriseConfig = CategoriseConfig()
    finetune: StageConfig
    synthesise: SynthesiseConfig
