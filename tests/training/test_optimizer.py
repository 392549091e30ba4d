"""Optimizers: each of torch by its name, whose rate each parameter gets, how far a step goes."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from srprune.core.config import OptimizerConfig  # noqa: E402
from srprune.core.errors import InputError, UnknownName  # noqa: E402
from srprune.training.optimizer import OPTIMIZERS, clip, make_optimizer  # noqa: E402

CONVOLUTIONAL = sorted(set(OPTIMIZERS) - {"muon"})  # muon is for matrices


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


# --- any optimizer of torch ---


def small() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.PReLU(), nn.Conv2d(2, 1, 3))


def train(network: Any, optimizer: Any, steps: int) -> list[float]:
    """Squared errors before each step, on the same batch."""
    generator = torch.Generator().manual_seed(1)
    x, target = (torch.rand(2, 1, side, side, generator=generator) for side in (9, 5))
    losses = []
    for _ in range(steps):
        loss = (network(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def said(config: OptimizerConfig, network: Any = None) -> str:
    with pytest.raises(InputError) as caught:
        make_optimizer(network or small(), config, None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_table_holds_what_can_work_here() -> None:
    assert {"adam", "adamw", "sgd", "rmsprop", "radam", "adafactor"} <= set(OPTIMIZERS)
    assert not {"optimizer", "lbfgs", "sparseadam"} & set(OPTIMIZERS)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_every_optimizer_lowers_the_loss(name: str) -> None:
    network = small()
    losses = train(network, make_optimizer(network, OptimizerConfig(name=name, lr=0.01), None), 10)
    assert losses[0] > losses[1] > losses[-1]


@pytest.mark.parametrize(
    ("config", "theirs"),
    [
        (OptimizerConfig(), lambda p: torch.optim.Adam(p, 1e-3, (0.9, 0.999), weight_decay=0.0)),
        (
            OptimizerConfig(name="sgd", lr=0.1),
            lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.0),
        ),
        (
            OptimizerConfig(name="sgd", momentum=0.8, weight_decay=0.1, args={"nesterov": True}),
            lambda p: torch.optim.SGD(p, 1e-3, momentum=0.8, weight_decay=0.1, nesterov=True),
        ),
        (OptimizerConfig(name="adamw"), torch.optim.AdamW),
        (
            OptimizerConfig(name="adamw", weight_decay=0.0, args={"amsgrad": True}),
            lambda p: torch.optim.AdamW(p, weight_decay=0.0, amsgrad=True),
        ),
        (
            OptimizerConfig(name="radam", betas=(0.7, 0.8)),
            lambda p: torch.optim.RAdam(p, 1e-3, betas=(0.7, 0.8)),
        ),
        (
            OptimizerConfig(name="rmsprop", momentum=0.5, args={"alpha": 0.9, "eps": 1}),
            lambda p: torch.optim.RMSprop(p, 1e-3, alpha=0.9, eps=1, momentum=0.5),
        ),
        (
            OptimizerConfig(name="rprop", args={"etas": [0.4, 1.5], "foreach": None}),
            lambda p: torch.optim.Rprop(p, 1e-3, etas=(0.4, 1.5)),
        ),
    ],
    ids=["adam", "sgd", "nesterov", "adamw", "amsgrad", "radam", "rmsprop", "rprop"],
)
def test_an_optimizer_is_that_of_torch_to_the_bit(config: OptimizerConfig, theirs: Any) -> None:
    ours, expected = small(), small()
    optimizer = make_optimizer(ours, config, None)
    train(ours, optimizer, 5)
    of_torch = theirs(expected.parameters())
    train(expected, of_torch, 5)
    assert type(optimizer) is type(of_torch)
    for mine, other in zip(ours.parameters(), expected.parameters(), strict=True):
        assert torch.equal(mine, other)
    (group,) = optimizer.param_groups
    left = {key: value for key, value in group.items() if key not in ("params", "peak_lr")}
    assert left == {key: of_torch.param_groups[0][key] for key in left}


def test_args_are_not_changed() -> None:
    config = OptimizerConfig(name="rprop", args={"etas": [0.4, 1.5]})
    make_optimizer(small(), config, None)
    assert config.args == {"etas": [0.4, 1.5]}


@pytest.mark.parametrize("name", ["sdg", "Adam", "lbfgs", "sparseadam", "optimizer", "adagrad_"])
def test_an_unknown_optimizer_is_told_with_those_that_are_known(name: str) -> None:
    with pytest.raises(UnknownName, match=f"unknown optimizer '{name}'") as caught:
        make_optimizer(small(), OptimizerConfig(name=name), None)
    assert "Known: adadelta, " in str(caught.value)


def test_a_near_optimizer_is_named() -> None:
    assert "Did you mean: sgd?" in said(OptimizerConfig(name="sdg"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"name": "rprop", "betas": (0.9, 0.99)},
            "optimizer.betas is [0.9, 0.99], but rprop takes lr, etas, step_sizes, ",
        ),
        ({"name": "rprop", "weight_decay": 0.0}, "optimizer.weight_decay is 0.0, but rprop takes "),
        ({"name": "nadam", "momentum": 0.9}, "optimizer.momentum is 0.9, but nadam takes lr, bet"),
    ],
)
def test_a_setting_that_an_optimizer_does_not_take(settings: Any, expected: str) -> None:
    assert said(OptimizerConfig(**settings)).startswith(expected)


@pytest.mark.parametrize("key", ["lr", "betas", "momentum", "weight_decay"])
@pytest.mark.parametrize("name", ["adam", "sgd", "rprop"])
def test_what_has_a_key_of_its_own_is_not_given_in_args(name: str, key: str) -> None:
    text = said(OptimizerConfig(name=name, args={key: 0.1}))
    assert text == f"optimizer.args.{key} has a key of its own. Set optimizer.{key} instead."


@pytest.mark.parametrize("key", ["epss", "params", "nesterov", "capturable", "differentiable"])
def test_an_unknown_argument_is_told_with_those_that_are_known(key: str) -> None:
    with pytest.raises(UnknownName) as caught:
        make_optimizer(small(), OptimizerConfig(args={key: 1}), None)
    text = str(caught.value)
    assert text.startswith(f"unknown adam argument 'optimizer.args.{key}'.")
    assert "Known: amsgrad, " in text and ("Did you mean: eps?" in text) == (key == "epss")
    assert not {"lr", "params", "betas", "capturable"} & set(
        text.rpartition("Known: ")[2].rstrip(".").split(", ")
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"args": {"amsgrad": 1}}, "optimizer.args.amsgrad is 1; adam takes bool."),
        ({"args": {"eps": "1"}}, "optimizer.args.eps is '1'; adam takes float."),
        ({"args": {"eps": math.nan}}, "optimizer.args.eps is nan; adam takes float."),
        ({"args": {"eps": [1, 2]}}, "optimizer.args.eps is [1, 2]; adam takes float."),
        (
            {"name": "sgd", "args": {"dampening": True}},
            "optimizer.args.dampening is True; sgd takes float.",
        ),
        ({"name": "rprop", "args": {"etas": [0.5]}}, "optimizer.args.etas is [0.5]; rprop takes "),
        ({"name": "rprop", "args": {"etas": "ab"}}, "optimizer.args.etas is 'ab'; rprop takes "),
    ],
)
def test_an_argument_of_another_type(settings: Any, expected: str) -> None:
    assert said(OptimizerConfig(**settings)).startswith(expected)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"args": {"eps": -1}}, "Invalid epsilon value: -1."),
        ({"name": "rprop", "args": {"etas": [2, 0.5]}}, "Invalid eta values: 2, 0.5."),
        ({"args": {"fused": True, "foreach": True}}, "cannot be `True` together."),
        ({"name": "sgd", "momentum": 0, "args": {"nesterov": True}}, "Nesterov momentum requires"),
    ],
)
def test_what_torch_refuses_is_told_in_its_words(settings: Any, reason: str) -> None:
    text = said(OptimizerConfig(**settings))
    assert text.startswith(f"optimizer.name is '{settings.get('name', 'adam')}', which torch can't")
    assert reason in text and not text.endswith("..")


@pytest.mark.skipif("muon" not in OPTIMIZERS, reason="torch has no Muon yet")
def test_muon_is_for_matrices_alone() -> None:
    config = OptimizerConfig(name="muon", momentum=0.9)
    text = said(config)
    assert text.startswith("optimizer.name is 'muon', which torch can't make of this network")
    assert "2D parameters" in text
    optimizer = make_optimizer(nn.Linear(3, 2, bias=False), config, None)
    assert optimizer.param_groups[0]["momentum"] == 0.9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_on_cuda_the_kernels_are_fused_unless_the_user_chose(name: str) -> None:
    network = small().cuda()
    fused = make_optimizer(network, OptimizerConfig(name=name), None).defaults.get("fused")
    assert fused is (True if name in ("adam", "adamw", "sgd") else None)
    config = OptimizerConfig(name=name, args={"foreach": False})
    assert not make_optimizer(network, config, None).defaults.get("fused")


def test_on_a_cpu_torch_chooses_the_kernels() -> None:
    assert make_optimizer(small(), OptimizerConfig(), None).defaults["fused"] is None
    config = OptimizerConfig(args={"fused": True})
    assert make_optimizer(small(), config, None).defaults["fused"] is True


# --- clipping ---


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


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"clip_value": 5.0}, (3.0, -4.0)),
        ({"clip_value": 3.5}, (3.0, -3.5)),
        ({"clip_value": 1.0}, (1.0, -1.0)),
        ({"clip_value": 1.0, "clip": 10.0}, (1.0, -1.0)),
        ({"clip_value": 1.0, "clip": math.sqrt(0.5)}, (0.5, -0.5)),  # the values come first
        ({"clip_value": 1.0, "clip": math.sqrt(0.05), "clip_by_lr": True}, (0.5, -0.5)),
    ],
)
def test_values_of_the_gradient_are_clipped_before_its_norm(
    settings: dict[str, Any], expected: tuple[float, float]
) -> None:
    parameters = with_gradients(3.0, -4.0)
    clip((each for each in parameters), OptimizerConfig(**settings), math.sqrt(0.1))
    assert [each.grad.item() for each in parameters] == pytest.approx(expected, rel=1e-5)
