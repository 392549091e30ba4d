"""Generator: a trained diffusion model with all that sampling from it needs, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from srprune.core.artifact import Header, check_parent
from srprune.core.errors import ArtifactError, InputError, MissingArtifact
from srprune.distill.config import FinetuneConfig
from srprune.distill.denoiser import PART as TRANSFORMER
from srprune.distill.denoiser import Denoiser
from srprune.distill.latents import PART as VAE
from srprune.distill.latents import Latents, SmallAutoencoder, latents_of, side_of
from srprune.distill.noise import Noise
from srprune.distill.tensor_file import read_tensor_file, read_tensor_header
from srprune.distill.weight_folder import fingerprint_of_folder
from srprune.models.build import save_tensors

FILE = "generator.safetensors"
KIND = "Generator"
AGAIN = "Train it again: srprune distill finetune."
_DENOISER, _LATENTS = "denoiser.", "latents."


@dataclass(frozen=True)
class Generator:
    """What images are sampled from.

    Attributes:
        denoiser: the transformer, in eval mode: its moving average where the config asks for one.
        latents: from what it predicts to pixels.
        config: of its training.
        header: of its file; ``params`` hold ``size`` (side of an image, HR px), ``categories`` and
            ``config``; ``parents`` hold ``patches``, ``coreset`` and ``groups``, and those of
            :func:`pretrained_parents`.
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
    def read(cls, folder: Path, device: torch.device, vae: Path | None = None) -> Generator:
        """Read a generator and take it to a device.

        Args:
            folder: of the generator.
            device: where.
            vae: folder of the pre-trained autoencoder, where it was moved since.

        Raises:
            InputError: ``vae`` is given, and it has none.
            MissingArtifact: there is none; or the weights of its autoencoder are gone.
            ArtifactError: it is damaged, holds NaN, or was not written by srprune.
            ArtifactMismatch: its autoencoder has other weights than when it was trained.
            MissingDependency: diffusers is not installed.
        """
        path = folder / FILE
        read_generator_header(path)
        header, tensors = read_tensor_file(path, KIND, AGAIN)
        config, size, categories = _params(path, header)
        if config.latents.weights is not None:
            weights = str(vae or header.info.get(VAE, config.latents.weights))
            now = fingerprint_of_folder(Path(weights), VAE)
            remedy = (
                f"Put the former weights back into {weights}, name their folder (--vae), or train "
                "it again with --restart."
            )
            check_parent(path, header, VAE, now, remedy)
            moved = config.latents.model_copy(update={"weights": weights})
            config = config.model_copy(update={"latents": moved})
        elif vae is not None:
            raise InputError(
                f"{path} has no pre-trained autoencoder, so {vae} would have no effect. Leave out "
                "--vae."
            )
        latents = latents_of(config.latents)
        side = side_of(latents.factor, size, config.network.patch)
        denoiser = Denoiser(
            config.network, side=side, channels=latents.channels, categories=categories
        )
        own: dict[str, nn.Module] = {_DENOISER: denoiser}
        if isinstance(latents, SmallAutoencoder):
            own[_LATENTS] = latents
        try:
            for prefix, module in own.items():
                module.load_state_dict(
                    {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
                )
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise ArtifactError(
                f"{path} does not fit the network that its config describes: {reason}. {AGAIN}"
            ) from error
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
        parents: fingerprints of ``patches``, ``coreset`` and ``groups``, and those of
            :func:`pretrained_parents`.
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
        there = ", ".join(each.parent.name for each in sorted(path.parent.parent.glob(f"*/{FILE}")))
        raise MissingArtifact(
            f"there is no generator {path.parent} (there: {there or 'none'}). Run 'srprune distill "
            "finetune' first."
        )
    return read_tensor_header(path, KIND)


def pretrained_parents(config: FinetuneConfig) -> dict[str, str]:
    """Fingerprints of the pre-trained weights that a config names.

    ``vae`` decodes what is sampled and is not in the file of the generator; ``transformer`` is what
    the training starts from.

    Raises:
        MissingArtifact: a folder is not there, or holds no weights.
        ArtifactError: the config in a folder is damaged.
    """
    folders = pretrained_folders(config)
    return {part: fingerprint_of_folder(Path(folder), part) for part, folder in folders.items()}


def pretrained_folders(config: FinetuneConfig) -> dict[str, str]:
    """Absolute paths of the pre-trained weights that a config names, by part."""
    folders = {VAE: config.latents.weights, TRANSFORMER: config.network.weights}
    return {part: str(Path(path).absolute()) for part, path in folders.items() if path is not None}


def _params(path: Path, header: Header) -> tuple[FinetuneConfig, int, int]:
    """Config, side of an image and number of categories, as the header has them.

    Raises:
        ArtifactError: one is missing, or this srprune does not know it.
    """
    params = header.params
    try:
        config = FinetuneConfig.model_validate(params.get("config"))
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, ("config", *fault["loc"])))
        raise ArtifactError(
            f"{path} holds no generator of this srprune: {place}: {fault['msg']}. {AGAIN}"
        ) from error
    for key in ("size", "categories"):
        if type(params.get(key)) is not int or params[key] < 1:
            raise ArtifactError(
                f"{path} holds no generator of this srprune: {key} is {params.get(key)!r}. {AGAIN}"
            )
    return config, params["size"], params["categories"]


def _named(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in module.state_dict().items()}
