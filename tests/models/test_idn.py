"""IDN: published counts, Caffe's layers and alignment, first weights, the rim."""

from __future__ import annotations

import math
import re

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from srprune.images import tensor as images
from srprune.models.build import parameter_count
from srprune.models.idn import IDN

CONVOLUTIONS = (torch.nn.Conv2d, torch.nn.ConvTranspose2d)
BLOCK = {  # IDN-Caffe's table: maps in, maps out, groups
    1: (64, 48, 1),
    2: (48, 32, 4),
    3: (32, 64, 1),
    4: (48, 64, 1),
    5: (64, 48, 4),
    6: (48, 80, 1),
}


def caffe_shapes(share: int = 1) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights in the authors' files, on Y, with a ``share``-th of the maps."""
    features = 64 // share
    shapes = {"conv1": (features, 1, 3, 3), "conv2": (features, features, 3, 3)}
    for block in (1, 2, 3, 4):
        for number, (inputs, outputs, groups) in BLOCK.items():
            shape = (outputs // share, inputs // share // groups, 3, 3)
            shapes[f"conv{block + 2}_{number}"] = shape
        shapes[f"down{block}"] = (features, 80 // share, 1, 1)
    return {**shapes, "upsample": (features, 1, 17, 17)}


def caffe_tensors(share: int) -> dict[str, Tensor]:
    """Random weights and biases in float64 under Caffe's names."""
    generator = torch.Generator().manual_seed(2)
    tensors = {}
    for name, shape in caffe_shapes(share).items():
        std = math.sqrt(4 / (shape[0] + shape[1])) / shape[2]
        weight = std * torch.randn(shape, generator=generator, dtype=torch.float64)
        outputs = shape[1] if name == "upsample" else shape[0]
        bias = 0.1 * torch.randn(outputs, generator=generator, dtype=torch.float64)
        tensors |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return tensors


def caffe_idn(t: dict[str, Tensor], lr: Tensor, scale: int) -> Tensor:
    """The authors' network and test script: rows and columns of HR from ``scale - 1`` on."""

    def conv(x: Tensor, name: str, groups: int = 1) -> Tensor:
        weight = t[f"{name}.weight"]
        y = F.conv2d(x, weight, t[f"{name}.bias"], padding=weight.shape[2] // 2, groups=groups)
        return torch.where(y > 0, y, 0.05 * y)

    x = conv(conv(lr, "conv1"), "conv2")
    for block in (1, 2, 3, 4):
        name = f"conv{block + 2}_"
        third = conv(conv(conv(x, name + "1"), name + "2", 4), name + "3")
        quarter = third.shape[1] // 4
        rest = conv(third[:, quarter:], name + "4")
        sixth = conv(conv(rest, name + "5", 4), name + "6")
        x = conv(torch.cat([x, third[:, :quarter]], 1) + sixth, f"down{block}")
    deconvolved = F.conv_transpose2d(
        x, t["upsample.weight"], t["upsample.bias"], stride=scale, padding=8
    )
    assert deconvolved.shape[2] == (lr.shape[2] - 1) * scale + 1
    return deconvolved + images.upscale(lr, scale)[:, :, scale - 1 :, scale - 1 :]


def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    (naming,) = IDN.namings
    return {
        next(
            match.expand(ours)
            for theirs, ours in naming.pairs
            if (match := re.fullmatch(theirs, name))
        ): tensor
        for name, tensor in tensors.items()
    }


@pytest.mark.parametrize(
    ("channels", "count"),
    [("y", 552_769), ("rgb", 590_915)],  # 552,769: README of Zheng222/IDN-Caffe
)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_parameters_are_those_published(channels: str, count: int, scale: int) -> None:
    with torch.device("meta"):
        network = IDN(scale=scale, channels=channels)
    assert parameter_count(network) == count


def test_shapes_are_those_of_the_caffe_files() -> None:
    with torch.device("meta"):
        network = IDN(scale=2)
        theirs = {f"{name}.weight": torch.empty(s) for name, s in caffe_shapes().items()}
    ours = {n: t.shape for n, t in network.state_dict().items() if n.endswith("weight")}
    assert {n: t.shape for n, t in renamed(theirs).items()} == ours


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_network_is_that_of_the_caffe_files(scale: int, dtype: torch.dtype) -> None:
    tensors = caffe_tensors(share=4)
    network = IDN(scale=scale, width=1).to(dtype)
    network.load_state_dict(renamed(tensors))
    lr = torch.rand(2, 1, 9, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    expected = caffe_idn(tensors, lr, scale)
    with torch.inference_mode():
        sr = network(lr.to(dtype))
    assert sr.shape == (2, 1, 9 * scale, 7 * scale)
    apart = sr[:, :, scale - 1 :, scale - 1 :] - expected
    assert apart.abs().max() < {torch.float64: 1e-12, torch.float32: 1e-4}[dtype]
    assert (sr - images.upscale(lr.to(dtype), scale)).std() > 0.1  # not of bicubic alone


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_rows_that_caffe_leaves_out_are_those_of_a_larger_image(scale: int) -> None:
    """With one LR row of zeros more above, Caffe would give them all."""
    network = IDN(scale=scale, width=1).double()
    features = torch.rand(1, 16, 5, 4, dtype=torch.float64)
    layer = network.upsample
    wider = F.pad(features, (1, 0, 1, 0))
    expected = F.conv_transpose2d(wider, layer.weight, layer.bias, stride=scale, padding=8)
    assert torch.allclose(layer(features), expected[:, :, 1:, 1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_output_is_scale_times_the_input(scale: int, channels: int) -> None:
    network = IDN(scale=scale, channels={1: "y", 3: "rgb"}[channels], blocks=1, width=1)
    assert network(torch.rand(2, channels, 5, 7)).shape == (2, channels, 5 * scale, 7 * scale)


def test_without_its_last_layer_the_network_is_bicubic() -> None:
    network = IDN(scale=3, blocks=1, width=1)
    torch.nn.init.zeros_(network.upsample.weight)
    x = torch.rand(1, 1, 6, 5)
    assert torch.allclose(network(x), images.upscale(x, 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_every_width_can_be_built(width: int) -> None:
    network = IDN(scale=2, blocks=1, width=width)
    assert network(torch.rand(1, 1, 3, 3)).shape == (1, 1, 6, 6)


def test_tensor_names() -> None:
    layers = ["features.0", "features.1"]
    for block in range(2):
        layers += [f"blocks.{block}.enhance{i}" for i in range(1, 7)]
        layers.append(f"blocks.{block}.compress")
    names = [f"{layer}.{kind}" for layer in [*layers, "upsample"] for kind in ("weight", "bias")]
    assert list(IDN(scale=2, blocks=2, width=1).state_dict()) == names


def test_first_weights_are_normal_with_the_stated_deviation() -> None:
    torch.manual_seed(0)
    network = IDN(scale=2, blocks=1)
    layers = [layer for layer in network.modules() if isinstance(layer, CONVOLUTIONS)]
    assert len(layers) == 2 + 7 + 1
    for layer in layers:
        first, second = layer.weight.shape[:2]
        taps = math.prod(layer.kernel_size)
        std = math.sqrt(2 / ((first + second) * taps / 2))  # Caffe's fans: of the blob's shape
        values = layer.weight.detach().flatten().double().numpy()
        assert values.std() == pytest.approx(std, rel=4 / math.sqrt(2 * values.size))
        assert stats.kstest(values, "norm", args=(0, std)).pvalue > 1e-3
        assert not layer.bias.any()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_rim_is_exactly_what_padding_spoils(scale: int) -> None:
    torch.manual_seed(1)
    network = IDN(scale=scale, blocks=1, width=1).double()
    for parameter in network.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    image = torch.rand(1, 1, 50, 48, dtype=torch.float64)
    top, left, height, width = 8, 7, 34, 32
    with torch.inference_mode():
        alone = network(image[:, :, top : top + height, left : left + width])
        within = network(image)[
            :, :, top * scale : (top + height) * scale, left * scale : (left + width) * scale
        ]
    apart = (alone - within).abs()[0, 0]
    rim = network.rim
    assert 2 * rim < min(apart.shape)
    assert apart[rim:-rim, rim:-rim].max() < 1e-12
    middle = slice(rim, -rim)
    assert apart[rim - 1, middle].max() > 1e-9  # the near edge decides
    assert apart[middle, rim - 1].max() > 1e-9


@pytest.mark.parametrize(("scale", "rim"), [(2, 60), (3, 86), (4, 112)])
def test_rim_of_the_published_network(scale: int, rim: int) -> None:
    network = IDN(scale=scale, width=1).double()
    for layer in network.modules():
        if isinstance(layer, CONVOLUTIONS):  # positive, so that no influence cancels another
            torch.nn.init.constant_(layer.weight, 0.05)
    x = torch.rand(1, 1, 61, 3, dtype=torch.float64, requires_grad=True)
    sr = network(x)
    spoiled = []
    for row in range(30 * scale, 31 * scale):
        (gradient,) = torch.autograd.grad(sr[0, 0, row].sum(), x, retain_graph=True)
        felt = gradient[0, 0].any(1).nonzero().flatten()
        # In an image that begins with the first LR row felt, or ends with the last one, this is
        # the first clean row of its phase; the one before lies beyond the edge by a row of LR.
        above = row - scale * int(felt.min())
        below = scale * (int(felt.max()) + 1) - 1 - row
        spoiled += [above - scale, below - scale]
    assert network.rim == max(spoiled) + 1 == rim


@pytest.mark.parametrize("channels", ["y", "rgb"])
def test_tensors_tell_the_arguments(channels: str) -> None:
    args = {"channels": channels, "blocks": 3, "width": 2}
    state = IDN(scale=3, **args).state_dict()
    assert IDN.arguments_of(state) == args
    for missing in ("upsample.weight", "blocks.0.compress.weight"):
        with pytest.raises(KeyError):
            IDN.arguments_of({n: t for n, t in state.items() if n != missing})


def test_last_layer_is_the_one_that_makes_the_image() -> None:
    network = IDN(scale=2, blocks=1, width=1)
    assert isinstance(network.get_submodule(network.last_layer), torch.nn.ConvTranspose2d)
