"""A workspace with a generator that has learned nothing, for tests of what is drawn from one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from srprune.core.config import ExtractConfig
from srprune.core.coreset import CoreSet
from srprune.core.groups import GroupTable
from srprune.core.patches import PatchIndex
from srprune.core.workspace import Workspace
from srprune.distill.config import FinetuneConfig
from srprune.distill.denoiser import Denoiser
from srprune.distill.generator import FILE, write_generator
from srprune.distill.latents import latents_of
from srprune.stages.extract import ImageSource, extract
from tests.conftest import small_images

SIZE, CATEGORIES = 24, 3
NETWORK = {"layers": 1, "heads": 2, "head_width": 8, "patch": 4}


def make_generator(workspace: Workspace, name: str, seed: int = 0, gain: float = 0.1) -> None:
    """A generator that has learned nothing; what it draws is noise with a pattern."""
    index = PatchIndex.read(workspace.patches)
    config = FinetuneConfig(network=NETWORK, latents={"kind": "pixels"}, steps=1)
    torch.manual_seed(seed)
    denoiser = Denoiser(config.network, side=SIZE, channels=3, categories=CATEGORIES)
    for parameter in denoiser.parameters():  # a fresh one predicts 0
        nn.init.normal_(parameter, std=gain)
    write_generator(
        workspace.generator(name) / FILE,
        denoiser,
        latents_of(config.latents),
        parents={
            "patches": index.fingerprint,
            "coreset": CoreSet.read(workspace.coreset("chosen")).fingerprint,
            "groups": GroupTable.read(workspace.groups("seven")).fingerprint,
        },
        params={"size": SIZE, "categories": CATEGORIES, "config": config.model_dump(mode="json")},
        made={},
        info={},
    )


def make_vae(folder: Path, seed: int = 0) -> Path:
    """A tiny SD-VAE of 2 HR px a latent px, as diffusers keeps it; replaces what is there."""
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=4,
    )
    vae.save_pretrained(folder)
    return folder


def make_dit(folder: Path, seed: int = 0) -> Path:
    """A tiny pre-trained DiT for pixels, likewise."""
    from diffusers import DiTTransformer2DModel

    torch.manual_seed(seed)
    dit = DiTTransformer2DModel(
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=3,
        patch_size=4,
        num_embeds_ada_norm=CATEGORIES,
        sample_size=SIZE,
        norm_eps=1e-6,
    )
    dit.save_pretrained(folder)
    return folder


def make_workspace(folder: Path) -> Workspace:
    """Patches, of which some are chosen and grouped, and the generator ``dit``."""
    workspace = Workspace(folder / "workspace")
    source = ImageSource.find(str(small_images(folder / "images")))
    index = extract(source, ExtractConfig(size=SIZE, stride=SIZE), workspace)
    ids = np.arange(0, len(index), 2, dtype=np.int64)
    parents = {"patches": index.fingerprint}
    coreset = CoreSet.write(
        workspace.coreset("chosen"),
        ids,
        parents=parents,
        params={"num_patches": len(index)},
        made={},
    )
    labels_N = np.full(len(index), -1, dtype=np.int32)
    labels_N[ids] = np.arange(len(ids)) % CATEGORIES
    GroupTable.write(
        workspace.groups("seven"),
        labels_N,
        parents={**parents, "coreset": coreset.fingerprint},
        params={},
        made={},
    )
    make_generator(workspace, "dit")
    return workspace
