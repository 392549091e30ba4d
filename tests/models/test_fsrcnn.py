"""FSRCNN: its published counts, its first weights, and the rim that zero padding spoils."""

from __future__ import annotations

import math

import pytest
from scipy import stats

torch = pytest.importorskip("torch")
from srprune.models.build import parameter_count  # noqa: E402
from srprune.models.fsrcnn import FSRCNN  # noqa: E402
from tests.models.rims import check_rim  # noqa: E402

SMALL = {"d": 32, "s": 5, "m": 1}  # FSRCNN-s
CONVOLUTIONS = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)


def convolutions(network: FSRCNN) -> dict[str, torch.nn.Module]:
    return {n: layer for n, layer in network.named_modules() if isinstance(layer, CONVOLUTIONS)}


@pytest.mark.parametrize(
    ("args", "count", "weights"),
    [
        ({}, 12_809, 12_464),  # the figure of the paper is that of the weights
        ({"channels": "rgb"}, 24_683, 24_336),
        (SMALL, 4_086, 3_937),
    ],
    ids=["y", "rgb", "small"],
)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_parameters_are_those_published(
    args: dict[str, object], count: int, weights: int, scale: int
) -> None:
    network = FSRCNN(scale=scale, **args)
    assert parameter_count(network) == count
    assert sum(layer.weight.numel() for layer in convolutions(network).values()) == weights


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_output_is_scale_times_the_input(scale: int, channels: int) -> None:
    network = FSRCNN(scale=scale, channels={1: "y", 3: "rgb"}[channels])
    assert network(torch.rand(2, channels, 5, 7)).shape == (2, channels, 5 * scale, 7 * scale)


def test_tensor_names() -> None:
    expected = ["first_part.0.weight", "first_part.0.bias", "first_part.1.weight"]
    for i in range(0, 12, 2):
        expected += [f"mid_part.{i}.weight", f"mid_part.{i}.bias", f"mid_part.{i + 1}.weight"]
    assert list(FSRCNN(scale=2).state_dict()) == [
        *expected,
        "last_part.weight",
        "last_part.bias",
    ]


def test_first_weights_are_normal_with_the_stated_deviation() -> None:
    torch.manual_seed(0)
    network = FSRCNN(scale=2, d=80, s=24)
    for name, layer in convolutions(network).items():
        fan = layer.out_channels * math.prod(layer.kernel_size)
        std = 0.001 if name == "last_part" else math.sqrt(2 / fan)
        values = layer.weight.detach().flatten().double().numpy()
        assert values.std() == pytest.approx(std, rel=4 / math.sqrt(2 * values.size))
        assert stats.kstest(values, "norm", args=(0, std)).pvalue > 1e-3
        assert not layer.bias.any()


def test_one_slope_a_map_behind_every_layer_but_the_last() -> None:
    network = FSRCNN(scale=2, d=7, s=3, m=2)
    slopes = [p.num_parameters for p in network.modules() if isinstance(p, torch.nn.PReLU)]
    assert slopes == [7, 3, 3, 3, 7]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("args", [{}, SMALL, {"d": 6, "s": 4, "m": 3}], ids=["full", "small", "m3"])
def test_rim_is_what_padding_spoils_to_less_than_one_lr_px(
    scale: int, args: dict[str, int]
) -> None:
    torch.manual_seed(1)
    network = FSRCNN(scale=scale, **args).double()
    for parameter in network.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    image = torch.rand(1, 1, 50, 48, dtype=torch.float64)
    check_rim(network, scale, image, (12, 11, 26, 24), same=1e-12, spoiled=1e-9)


def test_last_layer_is_the_one_that_makes_the_image() -> None:
    network = FSRCNN(scale=2)
    assert network.get_submodule(network.last_layer) is [*network.children()][-1]
    assert isinstance(network.get_submodule(network.last_layer), torch.nn.ConvTranspose2d)
