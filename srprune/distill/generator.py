"""Generator: a trained diffusion model with all that sampling from it needs, in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from srprune.core.artifact import FORMAT, Header, fingerprint
from srprune.core.errors import ArtifactError, MissingArtifact
from srprune.core.weights import KEY
from srprune.distill.config import FinetuneConfig
from srprune.distill.denoiser import Denoiser
from srprune.distill.latents import Latents, SmallAutoencoder, latents_of, side_of
from srprune.distill.noise import Noise
from srprune.models.build import save_tensors
from srprune.models.weight_files import check_finite

FILE = "generator.safetensors"
KIND = "Generator"
_DENOISER, _LATENTS = "denoiser.", "latents."


@dataclass(frozen=True)
class Generator:
    """What images are sampled from.

    Attributes:
        denoiser: the transformer, in eval mode: its moving average where the config asks for one.
        latents: from what it predicts to pixels.
        config: of its training.
        header: of its file; ``params`` hold ``size`` (side of an image, HR px), ``categories`` and
            ``config``; ``parents`` hold ``patches``, ``coreset`` and ``groups``.
    """

    denoiser: Denoiser
    latents: Latents
    config: FinetuneConfig
    header: Header

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the file."""
        return self.header.fingerprint

    @property
    def size(self) -> int:
        """Side of an image, HR px."""
        return int(self.header.params["size"])

    @property
    def categories(self) -> int:
        """How many there are."""
        return int(self.header.params["categories"])

    @property
    def noise(self) -> Noise:
        """The line of noise that it was trained with."""
        return Noise(self.config.diffusion)

    @classmethod
    def read(cls, folder: Path, device: torch.device) -> Generator:
        """Read a generator and take it to a device.

        Raises:
            MissingArtifact: there is none; or the weights of its autoencoder are gone.
            ArtifactError: it is damaged, holds NaN, or was not written by srprune.
            MissingDependency: diffusers is not installed.
        """
        path = folder / FILE
        header = read_generator_header(path)
        config = FinetuneConfig.model_validate(header.params["config"])
        latents = latents_of(config.latents)
        side = side_of(latents, int(header.params["size"]), config.network.patch)
        denoiser = Denoiser(
            config.network,
            side=side,
            channels=latents.channels,
            categories=int(header.params["categories"]),
        )
        own: dict[str, nn.Module] = {_DENOISER: denoiser}
        if isinstance(latents, SmallAutoencoder):
            own[_LATENTS] = latents
        try:
            tensors = load_file(path)
        except SafetensorError as error:
            raise ArtifactError(f"{path} is damaged ({error}).") from error
        check_finite(path, tensors)
        if _fingerprint(header.parents, header.params, tensors) != header.fingerprint:
            raise ArtifactError(
                f"the content of {path} does not match its fingerprint {header.fingerprint}: "
                "it was changed after it was made. Train it again: srprune distill finetune."
            )
        for prefix, module in own.items():
            module.load_state_dict(
                {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            )
        for part in (denoiser, latents):
            if isinstance(part, nn.Module):
                part.to(device).eval().requires_grad_(False)
        return cls(denoiser, latents, config, header)


def write_generator(
    path: Path,
    denoiser: nn.Module,
    latents: Latents,
    *,
    parents: Mapping[str, str],
    params: Mapping[str, Any],
    made: Mapping[str, Any],
    info: Mapping[str, Any],
) -> Header:
    """Write a generator atomically.

    The weights of a pre-trained autoencoder stay where they are; the config names them.

    Args:
        path: of the file.
        denoiser: the transformer.
        latents: those that it was trained on.
        parents: fingerprints of ``patches``, ``coreset`` and ``groups``.
        params: ``size``, ``categories`` and ``config``.
        made: who made it.
        info: facts that do not count.
    """
    tensors = _named(denoiser, _DENOISER)
    if isinstance(latents, SmallAutoencoder):
        tensors |= _named(latents, _LATENTS)
    in_order = {name: tensors[name] for name in sorted(tensors)}
    return save_tensors(path, KIND, in_order, parents=parents, params=params, made=made, info=info)


def read_generator_header(path: Path) -> Header:
    """What the file of a generator says of itself, without its tensors.

    Raises:
        MissingArtifact: there is no such file.
        ArtifactError: it is damaged, or was not written by srprune.
    """
    if not path.is_file():
        raise MissingArtifact(
            f"there is no generator {path.parent}. Run 'srprune distill finetune' first."
        )
    try:
        with safe_open(path, framework="numpy") as file:
            header = Header(**json.loads((file.metadata() or {})[KEY]))
    except SafetensorError as error:
        raise ArtifactError(f"{path} is not a readable safetensors file ({error}).") from error
    except (KeyError, TypeError, ValueError):
        raise ArtifactError(f"{path} holds no generator: srprune did not write it.") from None
    if header.kind != KIND or header.format != FORMAT:
        raise ArtifactError(
            f"{path} holds {header.kind} of format {header.format}; a {KIND} of format {FORMAT} "
            "was expected."
        )
    return header


def _named(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in module.state_dict().items()}


def _fingerprint(
    parents: Mapping[str, str], params: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> str:
    columns = {name: tensors[name].numpy() for name in sorted(tensors)}
    return fingerprint(KIND, parents, params, columns)
