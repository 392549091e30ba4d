"""MSRResNet: its published counts, names and first weights, its layers, and its rim."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from srprune.models.build import parameter_count
from srprune.models.msrresnet import MSRResNet
from srprune.models.srresnet import SRResNet
from tests.models.rims import check_rim

TINY = {"features": 6, "blocks": 2}
every_scale = pytest.mark.parametrize("scale", [2, 3, 4])


def both(*layers: str) -> list[str]:
    return [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]


def names_of_basicsr(
    blocks: int, scale: int, body: str = "body", conv_hr: str = "conv_hr"
) -> list[str]:
    convs = [f"{body}.{i}.conv{j}" for i in range(blocks) for j in (1, 2)]
    upconvs = ["upconv1", "upconv2"] if scale == 4 else ["upconv1"]
    return both("conv_first", *convs, *upconvs, conv_hr, "conv_last")


def noisy(scale: int, **args: Any) -> MSRResNet:
    """A tiny network in float64 with weights that let every layer be felt."""
    torch.manual_seed(1)
    network = MSRResNet(scale=scale, **{**TINY, **args}).double()
    for parameter in network.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize(
    ("scale", "count"), [(2, 1_369_859), (3, 1_554_499), (4, 1_517_571)], ids=["2", "3", "4"]
)
def test_parameters_are_those_published(scale: int, count: int) -> None:
    with torch.device("meta"):
        assert parameter_count(MSRResNet(scale=scale)) == count


@every_scale
def test_tensor_names_are_those_of_basicsr(scale: int) -> None:
    with torch.device("meta"):
        assert list(MSRResNet(scale=scale).state_dict()) == names_of_basicsr(16, scale)


@every_scale
@pytest.mark.parametrize("blocks", [1, 16])
def test_older_names(scale: int, blocks: int) -> None:
    theirs = names_of_basicsr(blocks, scale, body="recon_trunk", conv_hr="HRconv")
    (naming,) = MSRResNet.namings
    assert naming.implies == {}
    own = names_of_basicsr(blocks, scale)
    assert naming.translate(theirs) == dict(zip(theirs, own, strict=True))


@every_scale
@pytest.mark.parametrize("channels", ["y", "rgb"])
@pytest.mark.parametrize("size", [{}, TINY, {"features": 3, "blocks": 11}], ids=str)
def test_tensors_tell_the_arguments(scale: int, channels: Any, size: dict[str, int]) -> None:
    with torch.device("meta"):
        network = MSRResNet(scale=scale, channels=channels, **size)
        told = MSRResNet.arguments_of(network.state_dict())
    default = {"features": 64, "blocks": 16}
    assert told == {"scale": scale, "channels": channels, **default, **size}


@pytest.mark.parametrize(
    "lost", ["conv_first.weight", "upconv1.weight", "conv_hr.weight", "body.0.conv2.weight"]
)
def test_other_tensors_tell_nothing(lost: str) -> None:
    tensors = MSRResNet(scale=4, **TINY).state_dict()
    del tensors[lost]
    with pytest.raises(KeyError, match=lost):
        MSRResNet.arguments_of(tensors)
    with pytest.raises(KeyError):
        MSRResNet.arguments_of(SRResNet(scale=2, **TINY).state_dict())


def test_first_weights_are_normal_with_the_stated_deviation() -> None:
    torch.manual_seed(0)
    network = MSRResNet(scale=4, features=24, blocks=1)
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert len(layers) == 7
    for layer in layers:
        std = 0.1 * math.sqrt(2 / layer.weight[0].numel())
        values = layer.weight.detach().flatten().double().numpy()
        assert values.std() == pytest.approx(std, rel=4 / math.sqrt(2 * values.size))
        assert stats.kstest(values, "norm", args=(0, std)).pvalue > 1e-3
        assert not layer.bias.any()


@every_scale
def test_layers_are_those_of_the_table(scale: int) -> None:
    network = noisy(scale)
    tensors = network.state_dict()

    def conv(name: str, x: Any) -> Any:
        return F.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=1)

    def leaky(x: Any) -> Any:
        return torch.maximum(x, 0.1 * x)

    image = torch.rand(2, 3, 7, 5, dtype=torch.float64)
    before = image.clone()
    x = leaky(conv("conv_first", image))
    for i in range(2):
        x = x + conv(f"body.{i}.conv2", conv(f"body.{i}.conv1", x).clamp(min=0))
    for name in ["upconv1", "upconv2"] if scale == 4 else ["upconv1"]:
        x = leaky(F.pixel_shuffle(conv(name, x), 2 if scale == 4 else scale))
    skip = F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)
    expected = conv("conv_last", leaky(conv("conv_hr", x))) + skip
    with torch.inference_mode():
        output = network(image)
    assert output.shape == (2, 3, 7 * scale, 5 * scale)
    assert torch.allclose(output, expected, rtol=1e-10, atol=1e-10)
    assert torch.equal(image, before)


@every_scale
def test_without_its_last_conv_it_enlarges_bilinearly(scale: int) -> None:
    network = noisy(scale)
    for parameter in network.get_submodule(network.last_layer).parameters():
        parameter.data.zero_()
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    plane = (3 * y + x + 5).double().expand(1, 3, 6, 9)
    # Pixel centres: HR pixel i lies at (i + 1/2) / s - 1/2 LR px, held at the edges.
    rows = ((torch.arange(6.0 * scale) + 0.5) / scale - 0.5).clamp(0, 5).double()[:, None]
    columns = ((torch.arange(9.0 * scale) + 0.5) / scale - 0.5).clamp(0, 8).double()
    expected = (3 * rows + columns + 5).expand(1, 3, 6 * scale, 9 * scale)
    assert torch.allclose(network(plane), expected, rtol=0, atol=1e-5)


def test_first_output_is_almost_the_skip() -> None:
    torch.manual_seed(0)
    network = MSRResNet(scale=2, features=16, blocks=2)
    x = torch.rand(1, 3, 8, 8)
    skip = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert 0 < (network(x) - skip).abs().max() < 0.01


@every_scale
@pytest.mark.parametrize("blocks", [1, 3])
def test_rim_is_what_padding_spoils_to_less_than_one_lr_px(scale: int, blocks: int) -> None:
    network = noisy(scale, channels="y", blocks=blocks)
    image = torch.rand(1, 1, 50, 48, dtype=torch.float64)
    check_rim(network, scale, image, (12, 11, 26, 24), same=1e-10, spoiled=1e-7)


def test_last_layer_is_the_one_that_makes_the_image() -> None:
    network = MSRResNet(scale=2, **TINY)
    assert network.get_submodule(network.last_layer) is [*network.children()][-1]
