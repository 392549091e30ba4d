"""EDSR: its published counts and names, its layers, and the rim that zero padding spoils."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from srprune.models.build import parameter_count
from srprune.models.edsr import EDSRBaseline, EDSRLarge
from srprune.models.rcan import RCAN
from tests.models.rims import check_rim

MEAN = 255 * torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]  # kept in float32
TINY = {"features": 6, "blocks": 2}
COUNTS = [  # trainable; EDSR-PyTorch's files have 24 more
    (EDSRBaseline, 2, 1_369_859),
    (EDSRBaseline, 3, 1_554_499),
    (EDSRBaseline, 4, 1_517_571),
    (EDSRLarge, 2, 40_729_603),
    (EDSRLarge, 3, 43_680_003),
    (EDSRLarge, 4, 43_089_923),
]
every_scale = pytest.mark.parametrize("scale", [2, 3, 4])


def both(*layers: str) -> list[str]:
    return [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]


def names_of_edsr_pytorch(blocks: int, scale: int) -> list[str]:
    body = [f"body.{i}.body.{j}" for i in range(blocks) for j in (0, 2)]
    upsampler = ["tail.0.0", "tail.0.2"] if scale == 4 else ["tail.0.0"]
    return both("sub_mean", "add_mean", "head.0", *body, f"body.{blocks}", *upsampler, "tail.1")


def names_of_basicsr(blocks: int, scale: int) -> list[str]:
    body = [f"body.{i}.conv{j}" for i in range(blocks) for j in (1, 2)]
    upsampler = ["upsample.0", "upsample.2"] if scale == 4 else ["upsample.0"]
    return both("conv_first", *body, "conv_after_body", *upsampler, "conv_last")


def noisy(kind: type[EDSRBaseline] = EDSRBaseline, **args: Any) -> EDSRBaseline:
    """A tiny network in float64 with weights that let every layer be felt."""
    torch.manual_seed(1)
    network = kind(**{**TINY, **args}).double()
    for parameter in network.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize(("kind", "scale", "count"), COUNTS)
def test_parameters_are_those_published(kind: type[EDSRBaseline], scale: int, count: int) -> None:
    with torch.device("meta"):
        network = kind(scale=scale)
    assert parameter_count(network) == count
    assert sum(tensor.numel() for tensor in network.state_dict().values()) == count + 24


@every_scale
@pytest.mark.parametrize(("kind", "blocks"), [(EDSRBaseline, 16), (EDSRLarge, 32)])
def test_tensor_names_are_those_of_edsr_pytorch(
    kind: type[EDSRBaseline], blocks: int, scale: int
) -> None:
    with torch.device("meta"):
        names = list(kind(scale=scale).state_dict())
    assert names == names_of_edsr_pytorch(blocks, scale)


@every_scale
@pytest.mark.parametrize("blocks", [1, 3, 16])
def test_names_of_basicsr(scale: int, blocks: int) -> None:
    own = [n for n in names_of_edsr_pytorch(blocks, scale) if "mean" not in n]
    theirs = names_of_basicsr(blocks, scale)
    (naming,) = EDSRBaseline.namings
    assert naming.source == "BasicSR"
    assert naming.translate(theirs) == dict(zip(theirs, own, strict=True))
    assert naming.translate(reversed(theirs)) == naming.translate(theirs)


def test_constants_are_the_buffers() -> None:
    network = EDSRBaseline(scale=2, **TINY)
    constants = {n for n in network.state_dict() if re.fullmatch(network.constants, n)}
    assert constants == {name for name, _ in network.named_buffers()}
    assert len(constants) == 4


@every_scale
@pytest.mark.parametrize("channels", ["y", "rgb"])
@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (EDSRBaseline, {}),
        (EDSRBaseline, TINY),
        (EDSRBaseline, {"features": 3, "blocks": 11}),
        (EDSRLarge, {}),
        (EDSRLarge, {"blocks": 1}),
    ],
    ids=str,
)
def test_tensors_tell_the_arguments(
    kind: type[EDSRBaseline], scale: int, channels: Any, size: dict[str, int]
) -> None:
    with torch.device("meta"):
        network = kind(scale=scale, channels=channels, **size)
        told = kind.arguments_of(network.state_dict())
    features, blocks = {EDSRBaseline: (64, 16), EDSRLarge: (256, 32)}[kind]
    default = {"features": features, "blocks": blocks}
    assert told == {"scale": scale, "channels": channels, **default, **size}


def test_files_of_256_maps_and_no_others_are_taken_for_the_large_one() -> None:
    with pytest.raises(KeyError, match="another number of maps"):
        EDSRLarge.arguments_of(EDSRLarge(scale=2, **TINY).state_dict())
    with torch.device("meta"):
        wide = EDSRBaseline(scale=2, features=256).state_dict()
    with pytest.raises(KeyError, match="another number of maps"):
        EDSRBaseline.arguments_of(wide)
    assert EDSRLarge.arguments_of(wide)["blocks"] == 16


@pytest.mark.parametrize("lost", ["head.0.weight", "tail.0.0.weight"])
def test_other_tensors_tell_nothing(lost: str) -> None:
    tensors = EDSRBaseline(scale=4, **TINY).state_dict()
    del tensors[lost]
    with pytest.raises(KeyError, match=lost):
        EDSRBaseline.arguments_of(tensors)
    with pytest.raises(KeyError):
        EDSRBaseline.arguments_of(
            RCAN(scale=2, features=4, groups=2, blocks=2, reduction=2).state_dict()
        )


def test_first_weights_are_those_of_torch() -> None:
    torch.manual_seed(0)
    for layer in EDSRBaseline(scale=2, features=32, blocks=1).modules():
        if isinstance(layer, torch.nn.Conv2d):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for values in (layer.weight, layer.bias):
                assert values.abs().max() <= bound
                assert values.abs().max() > 0.4 * bound
            std = layer.weight.std().item()
            assert std == pytest.approx(bound / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize(("kind", "share"), [(EDSRBaseline, 1.0), (EDSRLarge, 0.1)])
@every_scale
def test_layers_are_those_of_the_table(kind: type[EDSRBaseline], share: float, scale: int) -> None:
    network = noisy(kind, scale=scale)
    tensors = network.state_dict()

    def conv(name: str, x: Any) -> Any:
        return F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1)

    image = torch.rand(2, 3, 7, 5, dtype=torch.float64)
    head = conv("head.0", 255 * image - MEAN)
    x = head
    for i in range(2):
        x = x + share * conv(f"body.{i}.body.2", conv(f"body.{i}.body.0", x).clamp(min=0))
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
    network = noisy(scale=2, channels=channels)
    for parameter in network.get_submodule(network.last_layer).parameters():
        parameter.data.zero_()
    planes = {"y": 1, "rgb": 3}[channels]
    output = network(torch.rand(1, planes, 4, 4, dtype=torch.float64))
    mean = MEAN.double() / 255 if channels == "rgb" else torch.zeros(1, 1, 1).double()
    assert torch.allclose(output, mean.expand(1, planes, 8, 8), rtol=0, atol=1e-12)


@every_scale
@pytest.mark.parametrize("blocks", [1, 3])
def test_rim_is_what_padding_spoils_to_less_than_one_lr_px(scale: int, blocks: int) -> None:
    network = noisy(scale=scale, channels="y", blocks=blocks)
    image = torch.rand(1, 1, 50, 48, dtype=torch.float64)
    check_rim(network, scale, image, (12, 11, 26, 24), same=1e-10, spoiled=1e-7)


def test_last_layer_is_the_one_that_makes_the_image() -> None:
    network = EDSRBaseline(scale=4, **TINY)
    assert network.get_submodule(network.last_layer) is network.tail[-1]
