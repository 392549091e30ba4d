"""The optimizer of a run: any of torch, learning rates by layer, and clipping of the gradient."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_type_hints

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor, nn

from srprune.core.config import OptimizerConfig
from srprune.core.errors import InputError
from srprune.core.names import unknown

# in DRRN's Caffe files the shifts of the normalisations keep the full rate
WITH_BIAS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)

# a base class, one that evaluates the loss by itself, and one for gradients that are sparse
NOT_HERE = {"optimizer", "lbfgs", "sparseadam"}
OPTIMIZERS: dict[str, Any] = {
    name.lower(): kind
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type)
    and issubclass(kind, torch.optim.Optimizer)
    and name.lower() not in NOT_HERE
}

OWN_KEYS = ("lr", "betas", "momentum", "weight_decay")
# no step is differentiated or captured here
NOT_SET = {"params", "differentiable", "capturable"}
EXACT = ConfigDict(strict=True, allow_inf_nan=False)  # 1 is not true, "1" is no number


def make_optimizer(
    network: nn.Module, config: OptimizerConfig, last_layer: str | None
) -> torch.optim.Optimizer:
    """An optimizer of torch; ``peak_lr`` of each group is what its learning rate starts from.

    Args:
        network: its parameters, on the device where they are now; frozen ones stay as they are.
        config: the optimizer, the rate, and the factors on it for biases and the last layer.
        last_layer: name of the last layer, or None if all layers are alike.

    Raises:
        UnknownName: no such optimizer, or an argument that it does not have.
        InputError: it refuses a setting, or the parameters of this network.
    """
    if config.name not in OPTIMIZERS:
        raise unknown("optimizer", config.name, OPTIMIZERS)
    kind = OPTIMIZERS[config.name]
    last = {id(p) for p in network.get_submodule(last_layer).parameters()} if last_layer else set()
    biases = {id(m.bias) for m in network.modules() if isinstance(m, WITH_BIAS)}
    by_factor: dict[float, list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if not parameter.requires_grad:
            continue
        of_layer = config.last_layer_lr if id(parameter) in last else 1.0
        of_kind = config.bias_lr if id(parameter) in biases else 1.0
        by_factor.setdefault(of_layer * of_kind, []).append(parameter)
    groups = [{"params": p, "peak_lr": config.lr * factor} for factor, p in by_factor.items()]
    taken = [each for each in inspect.signature(kind).parameters if each not in NOT_SET]
    arguments = _own_arguments(config, taken)
    arguments |= _other_arguments(config, taken, get_type_hints(kind.__init__))
    # older torch has adagrad's fused kernel for the CPU alone
    open_to_us = not {"fused", "foreach"} & set(config.args) and config.name != "adagrad"
    if open_to_us and "fused" in taken and all(p.is_cuda for p in network.parameters()):
        arguments["fused"] = True
    try:
        optimizer: torch.optim.Optimizer = kind(groups, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"optimizer.name is {config.name!r}, which torch can't make of this network and these "
            f"settings: {reason}."
        ) from error
    return optimizer


def _own_arguments(config: OptimizerConfig, taken: Sequence[str]) -> dict[str, Any]:
    """The arguments that have a key of their own in the config, as far as they are given."""
    given = {key: getattr(config, key) for key in OWN_KEYS if getattr(config, key) is not None}
    if config.name in ("adam", "sgd"):
        given.setdefault("weight_decay", 0.0)
    for key, value in given.items():
        if key not in taken:
            shown = list(value) if isinstance(value, tuple) else value
            raise InputError(
                f"optimizer.{key} is {shown}, but {config.name} takes {', '.join(taken)}. "
                f"Leave {key} out."
            )
    return given


def _other_arguments(
    config: OptimizerConfig, taken: Sequence[str], hints: Mapping[str, Any]
) -> dict[str, Any]:
    """``config.args``, held against the constructor, so a misspelling is one clear line."""
    known = [each for each in taken if each not in OWN_KEYS]
    arguments = {}
    for key, value in config.args.items():
        if key in OWN_KEYS:
            raise InputError(
                f"optimizer.args.{key} has a key of its own. Set optimizer.{key} instead."
            )
        if key not in known:
            raise unknown(f"{config.name} argument", key, known, within="optimizer.args.")
        arguments[key] = tuple(value) if isinstance(value, list) else value
        try:  # torch looks at few types itself; a wrong one would fail at the first step
            TypeAdapter(hints[key], config=EXACT).validate_python(arguments[key])
        except ValidationError as error:
            raise InputError(
                f"optimizer.args.{key} is {value!r}; {config.name} takes "
                f"{inspect.formatannotation(hints[key])}."
            ) from error
    return arguments


def clip(parameters: Iterable[Tensor], config: OptimizerConfig, lr: float) -> None:
    """Limit single values of the gradient, then shorten all of it, where the config asks for it.

    Args:
        parameters: with their gradients.
        config: the largest value; the largest L2 norm, and whether it is one over the learning
            rate.
        lr: the learning rate of this step, without the factors of biases and the last layer.
    """
    parameters = list(parameters)
    if config.clip_value is not None:
        torch.nn.utils.clip_grad_value_(parameters, config.clip_value)
    if config.clip is None:
        return
    norm = config.clip
    if config.clip_by_lr:
        norm = norm / lr if lr else math.inf  # a cosine may end at 0
    torch.nn.utils.clip_grad_norm_(parameters, norm)
