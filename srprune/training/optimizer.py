"""The optimizer of a run: learning rates by layer, and clipping of the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from srprune.core.config import OptimizerConfig

# in DRRN's Caffe files the shifts of the normalisations keep the full rate
WITH_BIAS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def make_optimizer(
    network: nn.Module, config: OptimizerConfig, last_layer: str | None
) -> torch.optim.Optimizer:
    """Adam or SGD; ``peak_lr`` of each group is what its learning rate starts from.

    Args:
        network: all of its parameters are trained.
        config: the rate, and the factors on it for biases and the last layer.
        last_layer: name of the last layer, or None if all layers are alike.
    """
    last = {id(p) for p in network.get_submodule(last_layer).parameters()} if last_layer else set()
    biases = {id(m.bias) for m in network.modules() if isinstance(m, WITH_BIAS)}
    by_factor: dict[float, list[nn.Parameter]] = {}
    for parameter in network.parameters():
        of_layer = config.last_layer_lr if id(parameter) in last else 1.0
        of_kind = config.bias_lr if id(parameter) in biases else 1.0
        by_factor.setdefault(of_layer * of_kind, []).append(parameter)
    groups = [{"params": p, "peak_lr": config.lr * factor} for factor, p in by_factor.items()]
    decay = config.weight_decay
    if config.name == "sgd":
        assert config.momentum is not None  # the config fills it in
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, weight_decay=decay)
    assert config.betas is not None
    return torch.optim.Adam(groups, lr=config.lr, betas=config.betas, weight_decay=decay)


def clip(parameters: Iterable[Tensor], config: OptimizerConfig, lr: float) -> None:
    """Shorten the gradient of all parameters together, where the config asks for it.

    Args:
        parameters: with their gradients.
        config: the largest L2 norm, and whether it is one over the learning rate.
        lr: the learning rate of this step, without the factors of biases and the last layer.
    """
    if config.clip is None:
        return
    norm = config.clip
    if config.clip_by_lr:
        norm = norm / lr if lr else math.inf  # a cosine may end at 0
    torch.nn.utils.clip_grad_norm_(parameters, norm)
