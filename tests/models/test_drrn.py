"""DRRN: published counts, shared convs and unshared batch norms, first weights, the rim."""

from __future__ import annotations

import itertools
import math
import re

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from srprune.models.build import parameter_count
from srprune.models.drrn import DRRN

CONVOLUTIONS = ("input", "conv1", "conv2", "output")
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def awakened(u: int, features: int = 4, **args: object) -> DRRN:
    """A network in float64 whose biases, batch norms and statistics are no mere zeros and ones."""
    torch.manual_seed(1)
    network = DRRN(scale=2, u=u, features=features, **args).double()
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.is_floating_point():
            tensor.data += 0.1 * torch.rand_like(tensor)
    return network


def unrolled(t: dict[str, Tensor], x: Tensor, u: int, training: bool) -> Tensor:
    """The network written out; batch norms on the batch, or on the stored statistics."""

    def norm(x: Tensor, name: str) -> Tensor:
        if training:
            mean = x.mean((0, 2, 3), keepdim=True)
            var = x.var((0, 2, 3), correction=0, keepdim=True)
        else:
            mean, var = (t[f"{name}.running_{k}"][None, :, None, None] for k in ("mean", "var"))
        scale, shift = (t[f"{name}.{k}"][None, :, None, None] for k in ("weight", "bias"))
        return (x - mean) / torch.sqrt(var + 1e-5) * scale + shift

    def conv(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x.clamp(min=0), t[f"{name}.weight"], t[f"{name}.bias"], padding=1)

    first = h = conv(norm(x, "bn_input"), "input")
    for i in range(u):
        h = first + conv(norm(conv(norm(h, f"bn1.{i}"), "conv1"), f"bn2.{i}"), "conv2")
    return x + conv(norm(h, "bn_output"), "output")


@pytest.mark.parametrize(
    ("args", "count", "weights"),
    [
        ({}, 310_659, 297_216),  # the paper: 297K for B1U9 and B1U25, the weights of the convs
        ({"u": 9}, 302_467, 297_216),
        ({"channels": "rgb"}, 315_273, 301_824),
    ],
    ids=["B1U25", "B1U9", "rgb"],
)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_parameters_are_those_published(
    args: dict[str, object], count: int, weights: int, scale: int
) -> None:
    with torch.device("meta"):
        network = DRRN(scale=scale, **args)
    assert parameter_count(network) == count
    assert sum(network.get_submodule(n).weight.numel() for n in CONVOLUTIONS) == weights


def test_tensor_names() -> None:
    expected = [f"bn_input.{k}" for k in NORM] + ["input.weight", "input.bias"]
    for i in (1, 2):
        expected += [f"bn{i}.{u}.{k}" for u in range(3) for k in NORM]
        expected += [f"conv{i}.weight", f"conv{i}.bias"]
    expected += [f"bn_output.{k}" for k in NORM] + ["output.weight", "output.bias"]
    assert list(DRRN(scale=2, u=3, features=2).state_dict()) == expected


def test_files_may_lack_the_counters_alone() -> None:
    names = list(DRRN(scale=2, u=2, features=2).state_dict())
    constants = [name for name in names if re.fullmatch(DRRN.constants, name)]
    assert constants == [name for name in names if name.endswith("num_batches_tracked")]
    assert len(constants) == 6


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("channels", ["y", "rgb"])
def test_convs_are_shared_and_batch_norms_are_not(channels: str, training: bool) -> None:
    network = awakened(u=3, channels=channels)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    x = torch.rand(2, {"y": 1, "rgb": 3}[channels], 9, 7, dtype=torch.float64)
    output = network.train(training)(x)
    assert torch.allclose(output, unrolled(state, x, 3, training), rtol=0, atol=1e-12)
    # The test must see which batch norm stands where.
    state["bn1.1.weight"], state["bn1.2.weight"] = state["bn1.2.weight"], state["bn1.1.weight"]
    assert not torch.allclose(output, unrolled(state, x, 3, training), rtol=0, atol=1e-6)


def test_each_recursion_gathers_its_own_statistics() -> None:
    network = awakened(u=3)
    network.train()(torch.rand(2, 1, 9, 7, dtype=torch.float64))
    for norms in (network.bn1, network.bn2):
        means = [norm.running_mean for norm in norms]
        assert not any(torch.allclose(a, b) for a, b in itertools.pairwise(means))
        assert [int(norm.num_batches_tracked) for norm in norms] == [1, 1, 1]


def test_without_its_last_conv_the_network_gives_its_input() -> None:
    network = awakened(u=2).eval()
    x = torch.rand(1, 1, 6, 5, dtype=torch.float64)
    assert not torch.equal(network(x), x)
    torch.nn.init.zeros_(network.output.weight)
    torch.nn.init.zeros_(network.output.bias)
    assert torch.equal(network(x), x)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", ["y", "rgb"])
def test_the_scale_does_not_change_the_size(scale: int, channels: str) -> None:
    network = DRRN(scale=scale, channels=channels, u=1, features=2)
    x = torch.rand(2, {"y": 1, "rgb": 3}[channels], 5, 7)
    assert network(x).shape == x.shape


def test_first_weights_are_normal_with_the_stated_deviation() -> None:
    torch.manual_seed(0)
    network = DRRN(scale=2, u=2, features=96)
    for name in CONVOLUTIONS:
        layer = network.get_submodule(name)
        std = math.sqrt(2 / layer.weight[0].numel())
        values = layer.weight.detach().flatten().double().numpy()
        assert values.std() == pytest.approx(std, rel=4 / math.sqrt(2 * values.size))
        assert stats.kstest(values, "norm", args=(0, std)).pvalue > 1e-3
        assert not layer.bias.any()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert not layer.bias.any()


@pytest.mark.parametrize("u", [1, 3])
def test_rim_is_exactly_what_padding_spoils(u: int) -> None:
    network = awakened(u).eval()
    image = torch.rand(1, 1, 44, 40, dtype=torch.float64)
    top, left, height, width = 11, 10, 26, 24
    with torch.inference_mode():
        alone = network(image[:, :, top : top + height, left : left + width])
        within = network(image)[:, :, top : top + height, left : left + width]
    apart = (alone - within).abs()[0, 0]
    rim = network.rim
    assert apart[rim:-rim, rim:-rim].max() < 1e-12
    middle = slice(rim, -rim)
    for line in (
        apart[rim - 1, middle],
        apart[-rim, middle],
        apart[middle, rim - 1],
        apart[middle, -rim],
    ):
        assert line.max() > 1e-9


@pytest.mark.parametrize(("u", "rim"), [(9, 20), (25, 52)])
def test_rim_of_the_published_networks(u: int, rim: int) -> None:
    network = DRRN(scale=2, u=u, features=2).double().eval()
    for name in CONVOLUTIONS:  # positive, so that no influence cancels another
        torch.nn.init.constant_(network.get_submodule(name).weight, 0.1)
    x = torch.rand(1, 1, 2 * rim + 11, 3, dtype=torch.float64, requires_grad=True)
    row = rim + 5
    network(x)[0, 0, row].sum().backward()
    felt = x.grad[0, 0].any(1).nonzero().flatten()
    assert network.rim == rim
    assert (felt.min(), felt.max()) == (row - rim, row + rim)


@pytest.mark.parametrize("channels", ["y", "rgb"])
def test_tensors_tell_the_arguments(channels: str) -> None:
    args = {"channels": channels, "u": 12, "features": 3}
    assert DRRN.arguments_of(DRRN(scale=3, **args).state_dict()) == args


def test_files_of_the_port_without_batch_norm_are_of_another_network() -> None:
    state = DRRN(scale=2, u=2, features=3).state_dict()
    port = {name: tensor for name, tensor in state.items() if not name.startswith("bn")}
    with pytest.raises(KeyError):
        DRRN.arguments_of(port)


def test_last_layer_is_the_one_that_makes_the_image() -> None:
    network = DRRN(scale=2, u=2, features=3)
    assert network.get_submodule(network.last_layer) is [*network.children()][-1]
