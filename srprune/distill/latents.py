"""What the diffusion transformer works on: pixels, or latents of an autoencoder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from srprune.core.errors import ArtifactError, InputError
from srprune.distill.config import LatentsConfig
from srprune.distill.optional import needs_diffusers
from srprune.distill.weight_folder import (
    CONFIG,
    WeightFolder,
    read_weight_config,
    read_weight_folder,
)

PART = "vae"  # folder of an autoencoder in a pipeline of diffusers
DISTURBANCE = 0.05  # noise on latents of unit spread while the small autoencoder learns
EPS = 1e-12
TRACKING = 0.01  # share of a batch in the running mean and spread of its latents


class Latents(Protocol):
    """A way between RGB and latents.

    Attributes:
        channels: of the latents.
        factor: HR px a latent px.
    """

    channels: int
    factor: int

    def encode(self, rgb_BCHW: Tensor) -> Tensor:
        """Latents of about unit spread of RGB in [0, 1], without gradient."""

    def decode(self, latent_BCHW: Tensor) -> Tensor:
        """RGB, not clamped, of latents, without gradient."""


class PixelLatents:
    """RGB itself, from -1 to 1."""

    channels: int = 3
    factor: int = 1

    def encode(self, rgb_BCHW: Tensor) -> Tensor:
        """From [0, 1] to [-1, 1]."""
        return 2 * rgb_BCHW - 1

    def decode(self, latent_BCHW: Tensor) -> Tensor:
        """From [-1, 1] to [0, 1]."""
        return (latent_BCHW + 1) / 2


class SmallAutoencoder(nn.Module):
    """An autoencoder that is trained from scratch in minutes; the layers are TAESD's.

    Its latents are divided by their spread over a batch, and in training disturbed by a little
    noise, so that the decoder forgives what a diffusion model does not hit.

    Attributes:
        channels: of the latents.
        factor: HR px a latent px.
    """

    def __init__(self, config: LatentsConfig) -> None:
        """Make it with fresh weights, from torch's global generator.

        Raises:
            MissingDependency: diffusers is not installed.
        """
        super().__init__()
        with needs_diffusers():
            from diffusers.models.autoencoders.vae import DecoderTiny, EncoderTiny
        levels = config.factor.bit_length()
        self.channels: int = config.channels
        self.factor: int = config.factor
        widths = (config.width,) * levels
        blocks = (1, *(2,) * (levels - 1))
        self.encoder = EncoderTiny(3, config.channels, blocks, widths, "relu")
        self.decoder = DecoderTiny(config.channels, 3, blocks[::-1], widths, 2, "relu", "nearest")
        # a fresh encoder's latents are so small that the usual eps would decide their spread
        self.spread = nn.BatchNorm2d(config.channels, EPS, affine=False, momentum=TRACKING)

    def forward(self, rgb_BCHW: Tensor) -> Tensor:
        """There and back: RGB in [0, 1] to RGB."""
        latent_BCHW = self.spread(self.encoder(2 * rgb_BCHW - 1))
        if self.training:
            latent_BCHW = latent_BCHW + DISTURBANCE * torch.randn_like(latent_BCHW)
        rgb: Tensor = self.decoder(latent_BCHW)
        return (rgb + 1) / 2

    @torch.no_grad()
    def encode(self, rgb_BCHW: Tensor) -> Tensor:
        """Latents of RGB in [0, 1], by the spread that training has seen."""
        latent_BCHW: Tensor = self.spread(self.encoder(2 * rgb_BCHW - 1))
        return latent_BCHW

    @torch.no_grad()
    def decode(self, latent_BCHW: Tensor) -> Tensor:
        """RGB of latents."""
        rgb: Tensor = self.decoder(latent_BCHW)
        return (rgb + 1) / 2


class VaeLatents(nn.Module):
    """Latents of a pre-trained variational autoencoder, such as SD-VAE: the means, times a factor.

    The published code samples them; the spread is a hundredth of what separates images.

    Attributes:
        channels: of the latents.
        factor: HR px a latent px.
        scaling: that the means are multiplied by.
    """

    def __init__(self, folder: str) -> None:
        """Read it.

        Args:
            folder: with ``config.json`` and the weights, as diffusers keeps them.

        Raises:
            MissingArtifact: no such folder, or no weights in it.
            ArtifactError: weights that are damaged, hostile or do not fit.
            MissingDependency: diffusers is not installed.
        """
        super().__init__()
        with needs_diffusers():
            from diffusers import AutoencoderKL
        held = read_weight_folder(Path(folder), PART)
        self.factor, self.scaling = _checked(held)
        _check_layers(held)
        kind: Any = AutoencoderKL  # untyped
        try:
            with torch.device("meta"):  # a config may name sizes beyond all memory
                self.network = kind.from_config(held.config).eval()
            self.network._fix_state_dict_keys_on_load(held.tensors)  # names of SD-VAE's time
            self.network.load_state_dict(held.tensors, assign=True)
        except MemoryError:
            raise
        except Exception as error:  # diffusers raises nearly anything on a config of nonsense
            reason = " ".join(str(error).split())[:200]
            raise ArtifactError(
                f"{held.path} does not fit the autoencoder that its {CONFIG} describes: {reason}"
            ) from error
        self.network.requires_grad_(False)
        self.channels = int(self.network.config.latent_channels)

    @torch.no_grad()
    def encode(self, rgb_BCHW: Tensor) -> Tensor:
        """Latents of RGB in [0, 1]."""
        means: Tensor = self.network.encode(2 * rgb_BCHW - 1).latent_dist.mean
        return means * self.scaling

    @torch.no_grad()
    def decode(self, latent_BCHW: Tensor) -> Tensor:
        """RGB of latents."""
        rgb: Tensor = self.network.decode(latent_BCHW / self.scaling).sample
        return (rgb + 1) / 2


def latents_of(config: LatentsConfig) -> Latents:
    """What a config asks for; a small autoencoder comes untrained.

    Raises:
        MissingArtifact: no such folder, or no weights in it.
        ArtifactError: weights that are damaged, hostile or do not fit.
        MissingDependency: diffusers is not installed.
    """
    if config.kind == "pixels":
        return PixelLatents()
    if config.kind == "small":
        return SmallAutoencoder(config)
    assert config.weights is not None
    return VaeLatents(config.weights)


def factor_of(config: LatentsConfig) -> int:
    """HR px a latent px, known before any network is made.

    Raises:
        MissingArtifact: no folder of pre-trained weights, or none in it.
        ArtifactError: the config there is damaged, or of an autoencoder that does not fit.
    """
    if config.kind == "pixels":
        return PixelLatents.factor
    if config.kind == "small":
        return config.factor
    assert config.weights is not None
    return _checked(read_weight_config(Path(config.weights), PART))[0]


def _checked(held: WeightFolder) -> tuple[int, float]:
    """Factor and scaling of a pre-trained autoencoder; what its config leaves out is diffusers'.

    Raises:
        ArtifactError: values that no autoencoder has, or that are not heeded here.
    """
    config = held.config
    widths = config.get("block_out_channels", [64])
    scaling = config.get("scaling_factor", 0.18215)
    shift = config.get("shift_factor")
    wrong = None
    if not isinstance(widths, list) or not widths or any(type(w) is not int for w in widths):
        wrong = f"block_out_channels {json.dumps(widths)}; it must list a width for each level"
    elif type(scaling) not in (int, float) or not 0 < scaling <= sys.float_info.max:
        wrong = f"scaling_factor {json.dumps(scaling)}; it must be a number above 0"
    elif shift not in (None, 0):
        wrong = f"shift_factor {json.dumps(shift)}; latents are scaled here, not shifted"
    for key in ("in_channels", "out_channels"):
        if config.get(key, 3) != 3:
            wrong = f"{key} {json.dumps(config[key])}; it must be 3, for RGB"
    if wrong:
        raise ArtifactError(
            f"{held.path.parent / CONFIG} has {wrong}. Give an autoencoder such as "
            "stabilityai/sd-vae-ft-ema."
        )
    return 2 ** (len(widths) - 1), float(scaling)


def _check_layers(held: WeightFolder) -> None:
    """Refuse more layers than a file can have tensors for: each is built, if without numbers.

    Raises:
        ArtifactError: there are more.
    """
    layers = held.config.get("layers_per_block", 1)
    if type(layers) is not int or not 1 <= layers <= len(held.tensors):
        raise ArtifactError(
            f"{held.path} does not fit the autoencoder that its {CONFIG} describes: it has "
            f"{len(held.tensors)} tensors, and layers_per_block is {json.dumps(layers)}"
        )


def side_of(factor: int, size: int, patch: int) -> int:
    """Side of the latents of windows, latent px.

    Args:
        factor: HR px a latent px.
        size: side of a window, HR px.
        patch: side of a token, latent px.

    Raises:
        InputError: windows that cannot be cut into whole tokens.
    """
    token = factor * patch
    if size % token:
        near = max(size // token, 1) * token
        raise InputError(
            f"patches of {size} px cannot be cut into tokens of {token} px (network.patch {patch} "
            f"of latents of {factor} px). Set network.patch to a divisor of "
            f"{size // factor}, or extract patches of a multiple of {token} px, such as "
            f"{near}."
        )
    return size // factor
