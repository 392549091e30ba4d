"""RCAN: its published counts and names, its layers, and the same network in spandrel."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from srprune.models.build import parameter_count
from srprune.models.edsr import EDSRBaseline
from srprune.models.rcan import RCAN
from tests.models.rims import check_rim

MEAN = 255 * torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]  # kept in float32
TINY = {"features": 6, "groups": 2, "blocks": 2, "reduction": 2}
every_scale = pytest.mark.parametrize("scale", [2, 3, 4])


def both(layers: list[str]) -> list[str]:
    return [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]


def names_of_the_authors(groups: int, blocks: int, scale: int) -> list[str]:
    layers = ["sub_mean", "add_mean", "head.0"]
    for i in range(groups):
        for j in range(blocks):
            block = f"body.{i}.body.{j}.body"
            layers += [f"{block}.0", f"{block}.2", f"{block}.3.conv_du.0", f"{block}.3.conv_du.2"]
        layers.append(f"body.{i}.body.{blocks}")
    layers += [f"body.{groups}", "tail.0.0"]
    return both([*layers, *(["tail.0.2"] if scale == 4 else []), "tail.1"])


def names_of_basicsr(groups: int, blocks: int, scale: int) -> list[str]:
    layers = ["conv_first"]
    for i in range(groups):
        for j in range(blocks):
            block = f"body.{i}.residual_group.{j}.rcab"
            layers += [f"{block}.0", f"{block}.2"]
            layers += [f"{block}.3.attention.1", f"{block}.3.attention.3"]
        layers.append(f"body.{i}.conv")
    layers += ["conv_after_body", "upsample.0"]
    return both([*layers, *(["upsample.2"] if scale == 4 else []), "conv_last"])


def noisy(scale: int, **args: Any) -> RCAN:
    """A tiny network in float64 with weights that let every layer be felt."""
    torch.manual_seed(1)
    network = RCAN(scale=scale, **{**TINY, **args}).double()
    for parameter in network.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    return network


def near_the_mean(batch: int, height: int, width: int) -> torch.Tensor:
    """An image that leaves the numbers of the channel attention well between 0 and 1."""
    return (MEAN + torch.rand(batch, 3, height, width, dtype=torch.float64)) / 255


@pytest.mark.parametrize(
    ("scale", "count"), [(2, 15_444_643), (3, 15_629_283), (4, 15_592_355)], ids=["2", "3", "4"]
)
def test_parameters_are_those_published(scale: int, count: int) -> None:
    with torch.device("meta"):
        network = RCAN(scale=scale)
    assert parameter_count(network) == count
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == count + 24


@every_scale
def test_tensor_names_are_those_of_the_authors(scale: int) -> None:
    with torch.device("meta"):
        names = list(RCAN(scale=scale).state_dict())
    assert names == names_of_the_authors(10, 20, scale)


@every_scale
@pytest.mark.parametrize(("groups", "blocks"), [(1, 1), (2, 3), (12, 11), (10, 20)])
def test_names_of_basicsr(scale: int, groups: int, blocks: int) -> None:
    own = [n for n in names_of_the_authors(groups, blocks, scale) if "mean" not in n]
    theirs = names_of_basicsr(groups, blocks, scale)
    (naming,) = RCAN.namings
    assert naming.source == "BasicSR"
    assert naming.translate(theirs) == dict(zip(theirs, own, strict=True))
    assert naming.translate(reversed(theirs)) == naming.translate(theirs)


def test_constants_are_the_buffers() -> None:
    network = RCAN(scale=2, **TINY)
    constants = {n for n in network.state_dict() if re.fullmatch(network.constants, n)}
    assert constants == {name for name, _ in network.named_buffers()}
    assert len(constants) == 4


@every_scale
@pytest.mark.parametrize("channels", ["y", "rgb"])
@pytest.mark.parametrize(
    "size", [{}, TINY, {"features": 8, "groups": 1, "blocks": 3, "reduction": 8}], ids=str
)
def test_tensors_tell_the_arguments(scale: int, channels: Any, size: dict[str, int]) -> None:
    with torch.device("meta"):
        told = RCAN.arguments_of(RCAN(scale=scale, channels=channels, **size).state_dict())
    default = {"features": 64, "groups": 10, "blocks": 20, "reduction": 16}
    assert told == {"scale": scale, "channels": channels, **default, **size}


@pytest.mark.parametrize(("features", "reduction", "hidden"), [(20, 16, 1), (10, 3, 3), (8, 8, 1)])
def test_a_reduction_that_does_not_divide_the_features(
    features: int, reduction: int, hidden: int
) -> None:
    with torch.device("meta"):
        network = RCAN(scale=2, features=features, groups=1, blocks=1, reduction=reduction)
        again = RCAN(**RCAN.arguments_of(network.state_dict()))
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert shapes["body.0.body.0.body.3.conv_du.0.weight"] == (hidden, features, 1, 1)
    assert {name: tensor.shape for name, tensor in again.state_dict().items()} == shapes


def test_channel_attention_keeps_a_value() -> None:
    with pytest.raises(ValueError, match="reduction is 9; it must not exceed features, 8"):
        RCAN(scale=2, features=8, groups=1, blocks=1, reduction=9)


@pytest.mark.parametrize(
    "lost", ["head.0.weight", "tail.0.0.weight", "body.0.body.0.body.3.conv_du.0.weight"]
)
def test_other_tensors_tell_nothing(lost: str) -> None:
    tensors = RCAN(scale=4, **TINY).state_dict()
    del tensors[lost]
    with pytest.raises(KeyError, match=lost):
        RCAN.arguments_of(tensors)
    with pytest.raises(KeyError):
        RCAN.arguments_of(EDSRBaseline(scale=2, features=4, blocks=2).state_dict())


def test_first_weights_are_those_of_torch() -> None:
    torch.manual_seed(0)
    for layer in RCAN(scale=2, features=32, groups=1, blocks=1, reduction=1).modules():
        if isinstance(layer, torch.nn.Conv2d):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for values in (layer.weight, layer.bias):
                assert values.abs().max() <= bound
                assert values.abs().max() > 0.4 * bound
            std = layer.weight.std().item()
            assert std == pytest.approx(bound / math.sqrt(3), rel=0.1)


@every_scale
def test_layers_are_those_of_the_table(scale: int) -> None:
    network = noisy(scale)
    tensors = network.state_dict()

    def conv(name: str, x: Any) -> Any:
        weight = tensors[f"{name}.weight"]
        return F.conv2d(x, weight, tensors[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def block(name: str, x: Any) -> Any:
        inner = conv(f"{name}.2", conv(f"{name}.0", x).clamp(min=0))
        mean = inner.sum(dim=(2, 3), keepdim=True) / inner[0, 0].numel()
        squeezed = conv(f"{name}.3.conv_du.0", mean).clamp(min=0)
        gate = 1 / (1 + torch.exp(-conv(f"{name}.3.conv_du.2", squeezed)))
        assert ((gate - 0.5).abs() < 0.4).any()
        return x + inner * gate

    image = near_the_mean(2, 7, 5)
    head = conv("head.0", 255 * image - MEAN)
    x = head
    for i in range(2):
        inner = x
        for j in range(2):
            inner = block(f"body.{i}.body.{j}.body", inner)
        x = x + conv(f"body.{i}.body.2", inner)
    x = head + conv("body.2", x)
    x = F.pixel_shuffle(conv("tail.0.0", x), 2 if scale == 4 else scale)
    if scale == 4:
        x = F.pixel_shuffle(conv("tail.0.2", x), 2)
    expected = (conv("tail.1", x) + MEAN) / 255
    with torch.inference_mode():
        output = network(image)
    assert output.shape == (2, 3, 7 * scale, 5 * scale)
    assert torch.allclose(output, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("channels", ["y", "rgb"])
def test_without_its_last_conv_it_gives_the_mean_colour(channels: Any) -> None:
    network = noisy(2, channels=channels)
    for parameter in network.get_submodule(network.last_layer).parameters():
        parameter.data.zero_()
    planes = {"y": 1, "rgb": 3}[channels]
    output = network(torch.rand(1, planes, 4, 4, dtype=torch.float64))
    mean = MEAN.double() / 255 if channels == "rgb" else torch.zeros(1, 1, 1).double()
    assert torch.allclose(output, mean.expand(1, planes, 8, 8), rtol=0, atol=1e-12)


@every_scale
@pytest.mark.parametrize("groups", [1, 2])
def test_rim_is_what_padding_spoils_but_for_the_attention(scale: int, groups: int) -> None:
    network = noisy(scale, channels="y", groups=groups, blocks=1)
    for name, parameter in network.named_parameters():
        if "conv_du" in name and name.endswith("weight"):
            parameter.data.zero_()  # what is left is a constant
    image = torch.rand(1, 1, 62, 60, dtype=torch.float64)
    check_rim(network, scale, image, (14, 13, 34, 32), same=1e-10, spoiled=1e-7)


def test_attention_sees_all() -> None:
    network = noisy(2, groups=1, blocks=1)
    x = near_the_mean(1, 40, 8)
    other = x.clone()
    other[:, :, -2:] += 0.01
    with torch.inference_mode():
        apart = (network(x) - network(other)).abs()
    assert network.spec.sees_all
    assert network.rim < 60
    assert apart[:, :, 0].max() > 1e-7


def test_last_layer_is_the_one_that_makes_the_image() -> None:
    network = RCAN(scale=4, **TINY)
    assert network.get_submodule(network.last_layer) is network.tail[-1]


@every_scale
def test_spandrel_loads_it_and_gives_the_same(scale: int) -> None:
    spandrel = pytest.importorskip("spandrel")
    torch.manual_seed(3)
    network = RCAN(scale=scale, **TINY).eval()
    loaded = spandrel.ModelLoader(device="cpu").load_from_state_dict(network.state_dict())
    assert (loaded.architecture.id, loaded.scale) == ("RCAN", scale)
    image = torch.rand(2, 3, 9, 7)
    with torch.inference_mode():
        theirs = loaded.model.eval()(image.clone())  # it multiplies its input in place
        assert torch.allclose(network(image), theirs, rtol=0, atol=1e-5)


@every_scale
def test_it_loads_what_spandrel_holds(scale: int) -> None:
    pytest.importorskip("spandrel")
    from spandrel.architectures.RCAN import RCAN as Theirs

    torch.manual_seed(4)
    theirs = Theirs(
        scale=scale, n_resgroups=2, n_resblocks=3, n_feats=8, reduction=4, rgb_range=255
    ).eval()
    tensors = theirs.state_dict()
    network = RCAN(**RCAN.arguments_of(tensors)).eval()
    network.load_state_dict(tensors, strict=True)
    image = torch.rand(1, 3, 8, 6)
    with torch.inference_mode():
        assert torch.allclose(network(image), theirs(image.clone()), rtol=0, atol=1e-5)


def test_its_names_and_shapes_at_default_size_are_those_of_spandrel() -> None:
    pytest.importorskip("spandrel")
    from spandrel.architectures.RCAN import RCAN as Theirs

    with torch.device("meta"):
        ours = RCAN(scale=4).state_dict()
    theirs = Theirs(scale=4).state_dict()
    assert [(n, t.shape) for n, t in theirs.items()] == [(n, t.shape) for n, t in ours.items()]
