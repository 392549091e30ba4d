"""The network that predicts the noise: a diffusion transformer (DiT), as diffusers has it.

Peebles and Xie, "Scalable Diffusion Models with Transformers", ICCV 2023. What is different from
their code (facebookresearch/DiT, ``models.py``) is diffusers' doing: each block has copies of its
own of the embeddings of timesteps and labels, and the frequencies of a timestep are spaced a little
wider (over 127 steps, not 128).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from srprune.core.errors import ArtifactError, InputError
from srprune.distill.config import NetworkConfig
from srprune.distill.difffit import LABELS, add_factors
from srprune.distill.optional import needs_diffusers
from srprune.distill.weight_folder import (
    CONFIG,
    WeightFolder,
    read_weight_config,
    read_weight_folder,
)

PART = "transformer"  # its folder in a pipeline of diffusers
NORM_EPS = 1e-6  # of DiT; diffusers would take 1e-5 for the norm of the MLP
LAST = "proj_out_2."  # the layer that makes pixels of tokens
# what a DiT is; diffusers' class of its time also had these for others
KIND = {
    "norm_type": "ada_norm_zero",
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "norm_elementwise_affine": False,
}


class Noisy(NamedTuple):
    """What the network is asked.

    Attributes:
        latent_BCHW: with noise.
        timestep_B: int64.
        category_B: int64; :attr:`Denoiser.null` is no category.
    """

    latent_BCHW: Tensor
    timestep_B: Tensor
    category_B: Tensor


def patch_of(config: NetworkConfig) -> int:
    """Side of a token, latent px, known before any network is made.

    Raises:
        MissingArtifact: no folder of pre-trained weights, or none in it.
        ArtifactError: the config there is damaged.
    """
    if config.weights is None:
        return config.patch
    return read_weight_config(Path(config.weights), PART).positive("patch_size")


class Denoiser(nn.Module):
    """Predicts the noise in latents.

    Attributes:
        config: the sizes that it has, also where they were those of pre-trained weights: with it
            the constructor makes the same network again.
        side: of a latent, px.
        channels: of a latent.
        categories: how many.
        null: the number that stands for no category.
        transformer: diffusers' DiTTransformer2DModel.
    """

    def __init__(self, config: NetworkConfig, *, side: int, channels: int, categories: int) -> None:
        """Build it with fresh weights from torch's global generator.

        Args:
            config: its sizes, and whether it has the factors of DiffFit; ``weights`` are not read.
            side: of a latent, px.
            channels: of a latent.
            categories: how many.

        Raises:
            MissingDependency: diffusers is not installed.
            InputError: sizes that do not fit each other.
        """
        super().__init__()
        _check_sizes(config, side)
        self.config, self.side, self.channels = config, side, channels
        self.categories = self.null = categories
        self.transformer = _transformer(config, side, channels, categories)
        _initialise(self.transformer)
        if config.difffit:
            add_factors(self.transformer)

    @classmethod
    def pretrained(
        cls, config: NetworkConfig, *, side: int, channels: int, categories: int
    ) -> Denoiser:
        """Build it with the weights of a folder that diffusers wrote.

        Its first classes become the categories, and its row for no class stays. The rows of the
        other classes are left out, and so is the variance, where it was learned. Position
        embeddings follow ``side``, whatever size the weights were trained at.

        Args:
            config: ``weights`` is the folder, which also says the sizes.
            side: of a latent, px.
            channels: of a latent.
            categories: how many.

        Raises:
            MissingDependency: diffusers is not installed.
            MissingArtifact: there is no such folder, or nothing in it.
            ArtifactError: it is damaged, holds NaN, could run code, or is no such network.
            InputError: it has other channels, or fewer classes than categories.
        """
        assert config.weights is not None
        held = read_weight_folder(Path(config.weights), PART)
        _check_kind(held)
        sizes = {
            "layers": held.positive("num_layers"),
            "heads": held.positive("num_attention_heads"),
            "head_width": held.positive("attention_head_dim"),
            "patch": held.positive("patch_size"),
        }
        classes = held.positive("num_embeds_ada_norm")
        outputs = _outputs(held, channels)
        if categories > classes:
            raise InputError(
                f"the weights {held.path} know {classes} classes, but there are {categories} "
                "categories. Categorise into fewer."
            )
        _check_file(held, sizes)  # before anything is built from numbers of a config
        with torch.random.fork_rng(devices=[]):  # fresh weights that are overwritten
            denoiser = cls(
                config.model_copy(update=sizes), side=side, channels=channels, categories=categories
            )
        denoiser._load(held, classes, outputs)
        return denoiser

    def forward(self, noisy: Noisy) -> Tensor:
        """(B, C, H, W), the noise in noisy latents."""
        predicted_BCHW: Tensor
        (predicted_BCHW,) = self.transformer(
            noisy.latent_BCHW,
            timestep=noisy.timestep_B,
            class_labels=noisy.category_B,
            return_dict=False,
        )
        return predicted_BCHW

    def _load(self, held: WeightFolder, classes: int, outputs: int) -> None:
        """Take over the tensors of a folder, of which the table and the last layer have more rows.

        Args:
            held: the tensors.
            classes: rows of the table of labels but one.
            outputs: channels that the last layer makes, the noise first.
        """
        patch = self.config.patch
        wanted = {
            name: tensor
            for name, tensor in self.transformer.state_dict().items()
            if not name.endswith(".gamma")
        }
        for name, tensor in wanted.items():
            shape = list(tensor.shape)
            if name.endswith(LABELS):
                shape[0] = classes + 1
            elif name.startswith(LAST):
                shape[0] = patch * patch * outputs
            _check_shape(held, name, shape)
        # earlier versions of diffusers kept the position embeddings in the file
        surplus = sorted(held.tensors.keys() - wanted.keys() - {"pos_embed.pos_embed"})
        if surplus:
            raise ArtifactError(
                f"{held.path} holds {surplus[0]}, which a diffusion transformer (DiT) has not. "
                "Give the weights of a DiT."
            )
        own = self.transformer.state_dict()
        with torch.no_grad():
            for name in wanted:
                tensor = held.tensors[name]
                if name.endswith(LABELS):
                    tensor = torch.cat([tensor[: self.categories], tensor[classes:]])
                elif name.startswith(LAST):  # rows: places in a token, then channels
                    rows = tensor.reshape(patch * patch, outputs, *tensor.shape[1:])
                    tensor = rows[:, : self.channels].flatten(0, 1)
                own[name].copy_(tensor)


def _transformer(config: NetworkConfig, side: int, channels: int, categories: int) -> nn.Module:
    """Diffusers' network, whose embeddings of labels drop none of their own accord."""
    with needs_diffusers():
        from diffusers import DiTTransformer2DModel
    kind: Any = DiTTransformer2DModel  # untyped
    transformer: nn.Module = kind(
        num_attention_heads=config.heads,
        attention_head_dim=config.head_width,
        in_channels=channels,
        num_layers=config.layers,
        sample_size=side,
        patch_size=config.patch,
        num_embeds_ada_norm=categories,
        norm_eps=NORM_EPS,
    )
    for name, module in transformer.named_modules():
        if name.endswith("class_embedder"):
            # each block would drop for itself; the row for no category is in the table already
            module.dropout_prob = 0.0
    return transformer


@torch.no_grad()
def _initialise(transformer: nn.Module) -> None:
    """Fresh weights as DiT has them (``initialize_weights``), under which it predicts exactly 0."""
    for module in transformer.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    net: Any = transformer
    nn.init.xavier_uniform_(net.pos_embed.proj.weight.flatten(1))
    nn.init.zeros_(net.pos_embed.proj.bias)
    embeddings = [block.norm1.emb for block in net.transformer_blocks]
    nn.init.normal_(embeddings[0].class_embedder.embedding_table.weight, std=0.02)
    nn.init.normal_(embeddings[0].timestep_embedder.linear_1.weight, std=0.02)
    nn.init.normal_(embeddings[0].timestep_embedder.linear_2.weight, std=0.02)
    for others in embeddings[1:]:  # one for all in DiT
        others.load_state_dict(embeddings[0].state_dict())
    for block in net.transformer_blocks:
        for layer in (block.attn1.to_q, block.attn1.to_k, block.attn1.to_v):
            # one layer in DiT, with three times the outputs
            nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(0.5))
        nn.init.zeros_(block.norm1.linear.weight)
    nn.init.zeros_(net.proj_out_1.weight)
    nn.init.zeros_(net.proj_out_2.weight)


def _check_sizes(config: NetworkConfig, side: int) -> None:
    """Refuse sizes that do not fit each other."""
    if side % config.patch:
        raise InputError(
            f"network.patch is {config.patch} px, which does not divide the latents' side of "
            f"{side} px. Choose another one, or windows of another size."
        )
    width = config.heads * config.head_width
    if width % 4:  # sine and cosine, of rows and columns
        raise InputError(
            f"network.heads times network.head_width is {width}; the position embeddings need a "
            "multiple of 4."
        )


def _check_kind(held: WeightFolder) -> None:
    """Refuse the config of another network."""
    for key, wanted in KIND.items():
        if held.config.get(key, wanted) != wanted:
            raise ArtifactError(
                f"{held.path.parent / CONFIG} has {key} {held.config[key]!r}, a diffusion "
                f"transformer (DiT) {wanted!r}. Give the weights of a DiT."
            )


def _outputs(held: WeightFolder, channels: int) -> int:
    """Channels that the last layer makes: the noise, and maybe its variance behind it."""
    inputs = held.positive("in_channels")
    if inputs != channels:
        raise InputError(
            f"the weights {held.path} are for latents of {inputs} channels, but these have "
            f"{channels}. Give other weights, or set network.weights to null."
        )
    outputs = inputs if held.config.get("out_channels") is None else held.positive("out_channels")
    if outputs not in (inputs, 2 * inputs):
        raise ArtifactError(
            f"{held.path.parent / CONFIG} has out_channels {outputs}; a diffusion transformer "
            f"(DiT) has {inputs}, or {2 * inputs} with the variance. Give the weights of a DiT."
        )
    return outputs


def _check_file(held: WeightFolder, sizes: dict[str, int]) -> None:
    """Refuse a file that has other sizes than the config beside it."""
    width, patch = sizes["heads"] * sizes["head_width"], sizes["patch"]
    _check_shape(held, "pos_embed.proj.weight", [width, held.config["in_channels"], patch, patch])
    last = f"transformer_blocks.{sizes['layers'] - 1}.norm1.linear.weight"
    _check_shape(held, last, [6 * width, width])


def _check_shape(held: WeightFolder, name: str, shape: list[int]) -> None:
    tensor = held.tensors.get(name)
    if tensor is None:
        raise ArtifactError(
            f"{held.path} lacks {name}, of shape {shape}. Take the folder anew from where it "
            "came from."
        )
    if list(tensor.shape) != shape:
        raise ArtifactError(
            f"{held.path} has {name} of shape {list(tensor.shape)}; its {CONFIG} asks for "
            f"{shape}. Take the folder anew from where it came from."
        )
