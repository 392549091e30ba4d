"""SRCNN: its published counts, its first weights, and the rim that zero padding spoils."""

from __future__ import annotations

import math

import pytest
from scipy import stats

torch = pytest.importorskip("torch")
from srprune.models.build import parameter_count  # noqa: E402
from srprune.models.srcnn import SRCNN  # noqa: E402

COUNTS = {  # (channels, variant): scalars with biases, weights alone; TPAMI 2016, "8K" and "57K"
    ("y", "9-1-5"): (8_129, 8_032),
    ("y", "9-3-5"): (24_513, 24_416),
    ("y", "9-5-5"): (57_281, 57_184),
    ("rgb", "9-1-5"): (20_099, 20_000),
    ("rgb", "9-3-5"): (36_483, 36_384),
    ("rgb", "9-5-5"): (69_251, 69_152),
}
VARIANTS = ("9-1-5", "9-3-5", "9-5-5")


@pytest.mark.parametrize(("channels", "variant"), COUNTS)
def test_parameters_are_those_published(channels: str, variant: str) -> None:
    network = SRCNN(scale=2, channels=channels, variant=variant)
    weights = sum(p.numel() for n, p in network.named_parameters() if n.endswith("weight"))
    assert (parameter_count(network), weights) == COUNTS[channels, variant]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_scale_changes_neither_count_nor_size(scale: int) -> None:
    network = SRCNN(scale=scale)
    assert parameter_count(network) == SRCNN.spec.parameters
    assert network(torch.rand(2, 1, 13, 17)).shape == (2, 1, 13, 17)


def test_tensor_names() -> None:
    names = [f"conv{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")]
    assert list(SRCNN(scale=2).state_dict()) == names


@pytest.mark.parametrize("init", ["published", "he"])
def test_first_weights_are_normal_with_the_stated_deviation(init: str) -> None:
    torch.manual_seed(0)
    network = SRCNN(scale=2, variant="9-5-5", init=init)
    gains = {"conv1": 2, "conv2": 2, "conv3": 1}  # ReLU behind the first two alone
    for name, gain in gains.items():
        layer = network.get_submodule(name)
        fan_in = layer.weight[0].numel()
        std = 0.001 if init == "published" else math.sqrt(gain / fan_in)
        values = layer.weight.detach().flatten().double().numpy()
        assert values.std() == pytest.approx(std, rel=4 / math.sqrt(2 * values.size))
        assert stats.kstest(values, "norm", args=(0, std)).pvalue > 1e-3
        assert not layer.bias.any()


def test_init_changes_the_first_weights_alone() -> None:
    published, he = SRCNN(scale=2, init="published"), SRCNN(scale=2, init="he")
    assert {n: t.shape for n, t in published.state_dict().items()} == {
        n: t.shape for n, t in he.state_dict().items()
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_rim_is_exactly_what_padding_spoils(variant: str) -> None:
    torch.manual_seed(1)
    network = SRCNN(scale=2, variant=variant, init="he").double()
    for parameter in network.parameters():  # biases too, so that padding meets no mere zeros
        parameter.data += 0.01 * torch.randn_like(parameter)
    image = torch.rand(1, 1, 64, 60, dtype=torch.float64)
    top, left, height, width = 14, 13, 36, 32
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


def test_last_layer_is_the_one_that_makes_the_image() -> None:
    network = SRCNN(scale=2)
    assert network.get_submodule(network.last_layer) is [*network.children()][-1]
