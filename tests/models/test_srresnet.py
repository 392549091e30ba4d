"""SRResNet: its counts and names, batch norm included, and the rim that zero padding spoils."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from srprune.models.build import parameter_count
from srprune.models.msrresnet import MSRResNet
from srprune.models.srresnet import SRResNet
from tests.models.rims import check_rim

TINY = {"features": 6, "blocks": 2}
every_scale = pytest.mark.parametrize("scale", [2, 3, 4])


def names(blocks: int, scale: int) -> list[str]:
    def both(layer: str) -> list[str]:
        return [f"{layer}.weight", f"{layer}.bias"]

    def norm(layer: str) -> list[str]:
        buffers = ("running_mean", "running_var", "num_batches_tracked")
        return [*both(layer), *(f"{layer}.{buffer}" for buffer in buffers)]

    result = [*both("conv_first"), "prelu.weight"]
    for i in range(blocks):
        block = f"body.{i}"
        result += [*both(f"{block}.conv1"), *norm(f"{block}.bn1"), f"{block}.prelu.weight"]
        result += [*both(f"{block}.conv2"), *norm(f"{block}.bn2")]
    result += [*both("conv_after_body"), *norm("bn_after_body")]
    for stage in range(2 if scale == 4 else 1):
        result += [*both(f"upsample.{stage}.conv"), f"upsample.{stage}.prelu.weight"]
    return [*result, *both("conv_last")]


def noisy(scale: int, **args: Any) -> SRResNet:
    """A tiny trained network in float64 with weights that let every layer be felt."""
    torch.manual_seed(1)
    network = SRResNet(scale=scale, **{**TINY, **args}).double().eval()
    for parameter in network.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize(
    ("scale", "count"), [(2, 1_401_749), (3, 1_586_389), (4, 1_549_462)], ids=["2", "3", "4"]
)
def test_parameters_are_those_of_the_layers(scale: int, count: int) -> None:
    with torch.device("meta"):
        assert parameter_count(SRResNet(scale=scale)) == count


def test_count_without_the_biases_that_batch_norm_makes_idle() -> None:
    with torch.device("meta"):
        network = SRResNet(scale=4)
    idle = [
        parameter
        for name, parameter in network.named_parameters()
        if re.fullmatch(r"(body\.\d+\.conv[12]|conv_after_body)\.bias", name)
    ]
    assert len(idle) == 33
    assert parameter_count(network) - sum(p.numel() for p in idle) == 1_547_350


@every_scale
def test_every_prelu_has_one_slope(scale: int) -> None:
    with torch.device("meta"):
        network = SRResNet(scale=scale)
    slopes = [p.num_parameters for p in network.modules() if isinstance(p, torch.nn.PReLU)]
    assert slopes == [1] * (19 if scale == 4 else 18)


@every_scale
def test_tensor_names(scale: int) -> None:
    with torch.device("meta"):
        assert list(SRResNet(scale=scale).state_dict()) == names(16, scale)


def test_constants_are_the_counters_of_batch_norm() -> None:
    network = SRResNet(scale=2, **TINY)
    constants = {n for n in network.state_dict() if re.fullmatch(network.constants, n)}
    norms = ("body.0.bn1", "body.0.bn2", "body.1.bn1", "body.1.bn2", "bn_after_body")
    assert constants == {f"{norm}.num_batches_tracked" for norm in norms}


@every_scale
@pytest.mark.parametrize("channels", ["y", "rgb"])
@pytest.mark.parametrize("size", [{}, TINY, {"features": 3, "blocks": 11}], ids=str)
def test_tensors_tell_the_arguments(scale: int, channels: Any, size: dict[str, int]) -> None:
    with torch.device("meta"):
        told = SRResNet.arguments_of(SRResNet(scale=scale, channels=channels, **size).state_dict())
    default = {"features": 64, "blocks": 16}
    assert told == {"scale": scale, "channels": channels, **default, **size}


@pytest.mark.parametrize(
    "lost", ["conv_first.weight", "upsample.0.conv.weight", "body.0.bn1.weight"]
)
def test_other_tensors_tell_nothing(lost: str) -> None:
    tensors = SRResNet(scale=4, **TINY).state_dict()
    del tensors[lost]
    with pytest.raises(KeyError, match=lost):
        SRResNet.arguments_of(tensors)
    with pytest.raises(KeyError):
        SRResNet.arguments_of(MSRResNet(scale=2, **TINY).state_dict())


@every_scale
def test_layers_are_those_of_the_table(scale: int) -> None:
    network = noisy(scale)
    tensors = network.state_dict()

    def conv(name: str, x: Any) -> Any:
        weight = tensors[f"{name}.weight"]
        return F.conv2d(x, weight, tensors[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def norm(name: str, x: Any) -> Any:
        mean, var, weight, bias = (
            tensors[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias

    def prelu(name: str, x: Any) -> Any:
        return torch.where(x > 0, x, tensors[f"{name}.weight"] * x)

    assert tensors["conv_first.weight"].shape[-1] == tensors["conv_last.weight"].shape[-1] == 9
    image = torch.rand(2, 3, 7, 5, dtype=torch.float64)
    first = prelu("prelu", conv("conv_first", image))
    x = first
    for i in range(2):
        inner = prelu(f"body.{i}.prelu", norm(f"body.{i}.bn1", conv(f"body.{i}.conv1", x)))
        x = x + norm(f"body.{i}.bn2", conv(f"body.{i}.conv2", inner))
    x = first + norm("bn_after_body", conv("conv_after_body", x))
    for stage, factor in enumerate([2, 2] if scale == 4 else [scale]):
        x = F.pixel_shuffle(conv(f"upsample.{stage}.conv", x), factor)
        x = prelu(f"upsample.{stage}.prelu", x)
    expected = conv("conv_last", x)
    with torch.inference_mode():
        output = network(image)
    assert output.shape == (2, 3, 7 * scale, 5 * scale)
    assert torch.allclose(output, expected, rtol=1e-10, atol=1e-10)


def test_batch_norm_learns_from_the_batch_and_then_stands_still() -> None:
    network = SRResNet(scale=2, **TINY)
    x = torch.rand(2, 3, 8, 8)
    before = network.bn_after_body.running_mean.clone()
    network(x)
    after = network.bn_after_body.running_mean.clone()
    assert not torch.equal(before, after)
    assert network.bn_after_body.num_batches_tracked == 1
    network.eval()(x)
    assert torch.equal(network.bn_after_body.running_mean, after)


def test_last_bias_alone_is_the_image_without_the_last_weights() -> None:
    network = noisy(2)
    network.conv_last.weight.data.zero_()
    output = network(torch.rand(1, 3, 4, 4, dtype=torch.float64))
    assert torch.equal(output, network.conv_last.bias[:, None, None].expand(1, 3, 8, 8))


@every_scale
@pytest.mark.parametrize("blocks", [1, 2])
def test_rim_is_what_padding_spoils_to_less_than_one_lr_px(scale: int, blocks: int) -> None:
    network = noisy(scale, channels="y", blocks=blocks)
    image = torch.rand(1, 1, 64, 62, dtype=torch.float64)
    check_rim(network, scale, image, (15, 14, 34, 32), same=1e-10, spoiled=1e-7)


def test_last_layer_is_the_one_that_makes_the_image() -> None:
    network = SRResNet(scale=2, **TINY)
    assert network.get_submodule(network.last_layer) is [*network.children()][-1]
