"""pretrain: the scoring model, trained on all patches but those of a few held-out images."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from srprune.core.config import TrainConfig
from srprune.core.errors import InputError
from srprune.core.patches import PatchIndex
from srprune.core.progress import Progress, silent
from srprune.core.seeding import generator
from srprune.core.workspace import Workspace
from srprune.data.batches import Batches
from srprune.data.patches import PatchPool
from srprune.data.sampler import CropSampler
from srprune.models.build import outline
from srprune.stages.job import Job
from srprune.stages.pool import open_pool
from srprune.stages.restorers import initial_weights
from srprune.training.backward import inside
from srprune.training.loop import Validate
from srprune.training.optimizer import make_optimizer

HELD_OUT = 0.05  # share of the patches that validate and are not trained on
CROPS = 64  # crops of held-out images that are measured


def plan_pretraining(
    config: TrainConfig,
    workspace: Workspace,
    *,
    name: str | None = None,
    progress: Progress = silent,
) -> Job:
    """Plan the training of a scoring model.

    Raises:
        InputError: a config that prunes or weights patches.
        MissingArtifact: no patch index, or its pixels are gone; or no weights to start from.
    """
    if config.pruning.ratio != 1:
        raise InputError(
            f"pruning.ratio is {config.pruning.ratio:g}; a scoring model is trained on the full "
            "set. Set it to 1 or leave it out."
        )
    if config.sampling:
        raise InputError(
            f"sampling is {config.sampling.name}; a scoring model sees all patches alike. Leave it "
            "out."
        )
    network, _ = outline(config.model, config.scale, config.model_args)
    make_optimizer(network, config.optimizer, network.last_layer)
    pool = open_pool(workspace, config.scale, progress)
    held_out = held_out_images(pool.index, config.seed)
    ids = np.flatnonzero(~np.isin(pool.index.image_N, held_out))
    folder = workspace.scorer(name or f"{config.model}_x{config.scale}")
    init, mark = initial_weights(config, workspace)
    parents = {"patches": pool.index.fingerprint, **mark}
    return Job(folder, config, pool, ids, "pretraining", parents, init)


def held_out_images(index: PatchIndex, seed: int) -> npt.NDArray[np.int64]:
    """Positions of the images that validate: whole images with about 5% of the patches.

    Drawn at random as long as they fit; at least one, and none where there is but one image.
    """
    counts = index.patches_per_image
    if len(counts) == 1:
        return np.array([], dtype=np.int64)
    chosen: list[int] = []
    left = HELD_OUT * len(index)
    for image in generator(seed, "pretrain.held_out").permutation(len(counts)):
        if counts[image] <= left:
            chosen.append(int(image))
            left -= counts[image]
    return np.array(sorted(chosen) or [int(counts.argmin())], dtype=np.int64)


def held_out_validation(
    config: TrainConfig, pool: PatchPool, device: torch.device
) -> Validate | None:
    """PSNR of the network, and of its input, over fixed crops of the held-out images.

    dB of the pooled MSE in the network's own channels, unrounded, without the rim. The input of a
    pre-upsampled network is plain bicubic: a scoring model below it has not learned yet.
    None where no image is held out, or patches are all rim.
    """
    ids = np.flatnonzero(np.isin(pool.index.image_N, held_out_images(pool.index, config.seed)))
    if not len(ids):
        return None
    network, domain = outline(config.model, config.scale, config.model_args)
    rim = network.rim + domain.reach
    lr_patch, lr_crop = pool.index.size // config.scale, config.lr_crop
    if lr_crop * config.scale <= 2 * rim:  # crops that are all rim: whole patches instead
        lr_crop = lr_patch
    if lr_crop * config.scale <= 2 * rim:
        return None
    sampler = CropSampler(
        ids, seed=config.seed, batch=CROPS, lr_patch=lr_patch, lr_crop=lr_crop, augment=False
    )
    lr, hr = next(Batches(pool, ids, sampler, lr_crop, device, residency="disk").at(0))
    x, target = domain.input(lr), domain.target(hr)

    def psnr(image: torch.Tensor) -> float:
        mse = float((inside(image, rim) - inside(target, rim)).square().mean())
        return -10 * math.log10(max(mse, 1e-10))

    @torch.inference_mode()
    def measure(network: nn.Module) -> Mapping[str, float]:
        figures = {"psnr": psnr(network(x))}
        return figures | ({"psnr_bicubic": psnr(x)} if domain.pre_upsampled else {})

    return measure
