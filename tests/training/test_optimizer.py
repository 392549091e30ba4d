"""Optimizers: whose rate each parameter gets, and how far a step goes."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from srprune.core.config import OptimizerConfig  # noqa: E402
from srprune.training.optimizer import clip, make_optimizer  # noqa: E402


class Mixed(nn.Module):
    """One of each kind of layer that holds parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3)
        self.bn = nn.BatchNorm2d(3)
        self.prelu = nn.PReLU(3)
        self.again = self.first  # parameters that are shared, as in a recursive network
        self.linear = nn.Linear(3, 3)
        self.norm = nn.LayerNorm(3)
        self.bare = nn.Conv2d(3, 3, 1, bias=False)
        self.last = nn.ConvTranspose2d(3, 1, 3)


def rates(network: Any, optimizer: Any) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    held = [(names[id(p)], g["peak_lr"]) for g in optimizer.param_groups for p in g["params"]]
    assert len(held) == len(dict(held))
    return dict(held)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_every_parameter_has_one_rate(name: str) -> None:
    network = Mixed()
    config = OptimizerConfig(name=name, lr=2.0, last_layer_lr=0.5, bias_lr=0.1)
    slow = {"first.bias": 0.2, "linear.bias": 0.2, "last.weight": 1.0, "last.bias": 0.1}
    expected = {each: slow.get(each, 2.0) for each, _ in network.named_parameters()}
    assert rates(network, make_optimizer(network, config, "last")) == pytest.approx(expected)
    expected |= {"last.weight": 2.0, "last.bias": 0.2}
    assert rates(network, make_optimizer(network, config, None)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "config",
    [
        OptimizerConfig(lr=0.01, betas=(0.8, 0.9), weight_decay=0.02),
        OptimizerConfig(name="sgd", lr=0.01, momentum=0.8, weight_decay=0.02),
    ],
    ids=["adam", "sgd"],
)
def test_settings_reach_the_optimizer(config: OptimizerConfig) -> None:
    """Two steps on one weight, against the equations of Adam and of SGD with momentum."""
    layer = nn.Linear(1, 1, bias=False)
    optimizer = make_optimizer(layer, config, None)
    weight = layer.weight.item()
    first = second = velocity = 0.0
    for step, gradient in enumerate((0.5, -0.25), 1):
        layer.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        g = gradient + 0.02 * weight
        if config.name == "adam":
            first, second = 0.8 * first + 0.2 * g, 0.9 * second + 0.1 * g * g
            mean, square = first / (1 - 0.8**step), second / (1 - 0.9**step)
            weight -= 0.01 * mean / (math.sqrt(square) + 1e-8)
        else:
            velocity = 0.8 * velocity + g
            weight -= 0.01 * velocity
        assert layer.weight.item() == pytest.approx(weight, rel=1e-5)


def with_gradients(*gradients: float) -> list[Any]:
    parameters = [nn.Parameter(torch.zeros(1)) for _ in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor([gradient])
    return parameters


@pytest.mark.parametrize(
    ("settings", "lr", "norm"),
    [
        ({}, 0.1, 5.0),
        ({"clip": 10.0}, 0.1, 5.0),
        ({"clip": 1.0}, 0.1, 1.0),
        ({"clip": 1.0}, 0.5, 1.0),
        ({"clip": 0.2, "clip_by_lr": True}, 0.1, 2.0),
        ({"clip": 0.2, "clip_by_lr": True}, 0.5, 0.4),
        ({"clip": 0.2, "clip_by_lr": True}, 0.02, 5.0),
        ({"clip": 0.2, "clip_by_lr": True}, 0.0, 5.0),
    ],
)
def test_gradient_is_clipped_as_a_whole(settings: dict[str, Any], lr: float, norm: float) -> None:
    parameters = with_gradients(3.0, -4.0)
    clip(parameters, OptimizerConfig(**settings), lr)
    clipped = [parameter.grad.item() for parameter in parameters]
    assert clipped == pytest.approx([0.6 * norm, -0.8 * norm], rel=1e-5)


def test_clipping_skips_what_has_no_gradient() -> None:
    parameters = [*with_gradients(3.0, 4.0), nn.Parameter(torch.zeros(1))]
    clip(parameters, OptimizerConfig(clip=1.0), 0.1)
    assert parameters[0].grad.item() == pytest.approx(0.6, rel=1e-5)
    assert parameters[2].grad is None
