"""RDN: its published counts and names, its layers, and the rim that zero padding spoils."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from srprune.models.build import parameter_count
from srprune.models.edsr import EDSRBaseline
from srprune.models.rdn import RDN
from tests.models.rims import check_rim

A = {"d": 20, "c": 6, "g": 32}  # EDSR-PyTorch's smaller one
TINY = {"d": 2, "c": 3, "g": 4, "g0": 5}
COUNTS = [
    ({}, 2, 22_123_395),
    ({}, 3, 22_308_035),
    ({}, 4, 22_271_107),
    (A, 2, 5_541_795),
    (A, 3, 5_634_115),
    (A, 4, 5_578_787),
]
every_scale = pytest.mark.parametrize("scale", [2, 3, 4])


def both(layers: list[str]) -> list[str]:
    return [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]


def names_of_edsr_pytorch(d: int, c: int, scale: int) -> list[str]:
    layers = ["SFENet1", "SFENet2"]
    for i in range(d):
        layers += [*(f"RDBs.{i}.convs.{j}.conv.0" for j in range(c)), f"RDBs.{i}.LFF"]
    layers += ["GFF.0", "GFF.1", "UPNet.0", "UPNet.2"]
    return both([*layers, *(["UPNet.4"] if scale == 4 else [])])


def names_of_yjn870(d: int, c: int, scale: int) -> list[str]:
    layers = ["sfe1", "sfe2"]
    for i in range(d):
        layers += [*(f"rdbs.{i}.layers.{j}.conv" for j in range(c)), f"rdbs.{i}.lff"]
    layers += ["gff.0", "gff.1", "upscale.0"]
    return both([*layers, *(["upscale.2"] if scale == 4 else []), "output"])


def noisy(scale: int, **args: Any) -> RDN:
    """A tiny network in float64 with weights that let every layer be felt."""
    torch.manual_seed(1)
    network = RDN(scale=scale, **{**TINY, **args}).double()
    for parameter in network.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize(("size", "scale", "count"), COUNTS, ids=str)
def test_parameters_are_those_published(size: dict[str, int], scale: int, count: int) -> None:
    with torch.device("meta"):
        assert parameter_count(RDN(scale=scale, **size)) == count


@every_scale
@pytest.mark.parametrize("size", [{}, A], ids=["B", "A"])
def test_tensor_names_are_those_of_edsr_pytorch(size: dict[str, int], scale: int) -> None:
    with torch.device("meta"):
        names = list(RDN(scale=scale, **size).state_dict())
    assert names == names_of_edsr_pytorch(size.get("d", 16), size.get("c", 8), scale)


@every_scale
@pytest.mark.parametrize(("d", "c"), [(1, 1), (3, 2), (16, 8), (20, 12)])
def test_names_of_yjn870(scale: int, d: int, c: int) -> None:
    theirs = names_of_yjn870(d, c, scale)
    (naming,) = RDN.namings
    assert naming.source == "yjn870/RDN-pytorch"
    assert naming.implies == {"value_range": 1}
    translated = naming.translate(theirs)
    assert translated == dict(zip(theirs, names_of_edsr_pytorch(d, c, scale), strict=True))
    assert naming.translate(reversed(theirs)) == translated


@every_scale
@pytest.mark.parametrize("channels", ["y", "rgb"])
@pytest.mark.parametrize("size", [{}, A, TINY, {"d": 1, "c": 11, "g": 9, "g0": 2}], ids=str)
def test_tensors_tell_the_arguments(scale: int, channels: Any, size: dict[str, int]) -> None:
    with torch.device("meta"):
        told = RDN.arguments_of(RDN(scale=scale, channels=channels, **size).state_dict())
    default = {"d": 16, "c": 8, "g": 64, "g0": 64}
    assert told == {"scale": scale, "channels": channels, **default, **size}


@pytest.mark.parametrize(
    "lost", ["SFENet1.weight", "RDBs.0.convs.0.conv.0.weight", "UPNet.0.weight"]
)
def test_other_tensors_tell_nothing(lost: str) -> None:
    tensors = RDN(scale=4, **TINY).state_dict()
    del tensors[lost]
    with pytest.raises(KeyError, match=lost):
        RDN.arguments_of(tensors)
    with pytest.raises(KeyError):
        RDN.arguments_of(EDSRBaseline(scale=2, features=4, blocks=2).state_dict())


def test_first_weights_are_those_of_torch() -> None:
    torch.manual_seed(0)
    for layer in RDN(scale=2, d=1, c=2, g=32, g0=32).modules():
        if isinstance(layer, torch.nn.Conv2d):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for values in (layer.weight, layer.bias):
                assert values.abs().max() <= bound
                assert values.abs().max() > 0.4 * bound
            std = layer.weight.std().item()
            assert std == pytest.approx(bound / math.sqrt(3), rel=0.1)


@every_scale
@pytest.mark.parametrize("value_range", [1, 255])
def test_layers_are_those_of_the_table(scale: int, value_range: Any) -> None:
    network = noisy(scale, value_range=value_range)
    tensors = network.state_dict()

    def conv(name: str, x: Any) -> Any:
        weight = tensors[f"{name}.weight"]
        return F.conv2d(x, weight, tensors[f"{name}.bias"], padding=weight.shape[-1] // 2)

    image = torch.rand(2, 3, 7, 5, dtype=torch.float64)
    first = conv("SFENet1", value_range * image)
    x = conv("SFENet2", first)
    by_block = []
    for i in range(2):
        maps = [x]
        for j in range(3):
            maps.append(conv(f"RDBs.{i}.convs.{j}.conv.0", torch.cat(maps, 1)).clamp(min=0))
        x = x + conv(f"RDBs.{i}.LFF", torch.cat(maps, 1))
        by_block.append(x)
    assert tensors["GFF.0.weight"].shape[-1] == tensors["RDBs.0.LFF.weight"].shape[-1] == 1
    x = first + conv("GFF.1", conv("GFF.0", torch.cat(by_block, 1)))
    x = F.pixel_shuffle(conv("UPNet.0", x), 2 if scale == 4 else scale)
    if scale == 4:
        x = F.pixel_shuffle(conv("UPNet.2", x), 2)
    expected = conv("UPNet.4" if scale == 4 else "UPNet.2", x) / value_range
    with torch.inference_mode():
        output = network(image)
    assert output.shape == (2, 3, 7 * scale, 5 * scale)
    assert torch.allclose(output, expected, rtol=1e-10, atol=1e-10)


def test_published_range_is_that_of_edsr_pytorch() -> None:
    network, byte, unit = (
        noisy(2, **args) for args in ({}, {"value_range": 255}, {"value_range": 1})
    )
    image = torch.rand(1, 3, 6, 6, dtype=torch.float64)
    with torch.inference_mode():
        assert torch.equal(network(image), byte(image))
        assert torch.allclose(255 * byte(image), unit(255 * image), rtol=1e-12)
        assert not torch.allclose(byte(image), unit(image), rtol=1e-2)


@every_scale
@pytest.mark.parametrize(("d", "c"), [(1, 2), (2, 1)])
def test_rim_is_what_padding_spoils_to_less_than_one_lr_px(scale: int, d: int, c: int) -> None:
    network = noisy(scale, channels="y", d=d, c=c, g=8, g0=8)
    image = torch.rand(1, 1, 50, 48, dtype=torch.float64)
    check_rim(network, scale, image, (12, 11, 26, 24), same=1e-10, spoiled=1e-7)


@every_scale
def test_last_layer_is_the_one_that_makes_the_image(scale: int) -> None:
    network = RDN(scale=scale, **TINY)
    last = network.get_submodule(network.last_layer)
    assert last is network.UPNet[-1]
    assert isinstance(last, torch.nn.Conv2d)
