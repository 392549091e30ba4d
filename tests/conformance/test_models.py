"""What every network of the table must keep to; a new one needs no new test here."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from srprune.core.errors import InputError, UnknownName
from srprune.models import MODELS
from srprune.models.build import (
    build,
    load_weights,
    parameter_count,
    save_weights,
)
from srprune.models.network import ModelSpec, Network

CHANNELS = {"y": 1, "rgb": 3}
SCALES = {name: MODELS.load(name).spec.scales for name in MODELS}
EVERY_SCALE = [(name, scale) for name, scales in SCALES.items() for scale in scales]
ARGUMENTS = [
    (name, argument)
    for name in MODELS
    for argument in inspect.signature(MODELS.load(name)).parameters
    if argument != "scale"
]

every_model = pytest.mark.parametrize("model", list(MODELS))
every_channel = pytest.mark.parametrize("channels", list(CHANNELS))


def rgb(scale: int, batch: int = 2) -> Any:
    """HR of sides that every scale divides, and an LR of its own."""
    generator = torch.Generator().manual_seed(3)
    hr = torch.rand(batch, 3, 24, 36, generator=generator)
    return hr, torch.rand(batch, 3, 24 // scale, 36 // scale, generator=generator)


@every_model
def test_spec_describes_the_network(model: str) -> None:
    kind = MODELS.load(model)
    assert issubclass(kind, Network)
    assert isinstance(kind.spec, ModelSpec)
    assert kind.spec.name == model
    assert kind.spec.paper
    assert set(kind.spec.scales) <= {2, 3, 4}
    network, domain = build(model, 2, {})
    assert parameter_count(network) == kind.spec.parameters
    assert domain.pre_upsampled == kind.spec.pre_upsampled


@every_channel
@pytest.mark.parametrize(("model", "scale"), EVERY_SCALE)
def test_output_has_the_shape_of_the_target(model: str, scale: int, channels: str) -> None:
    network, domain = build(model, scale, {"channels": channels})
    assert (domain.channels, domain.scale) == (channels, scale)
    hr, lr = rgb(scale)
    output, target = network(domain.input(lr)), domain.target(hr)
    assert output.shape == target.shape == (2, CHANNELS[channels], 24, 36)
    assert output.dtype == torch.float32
    assert torch.isfinite(output).all()


@every_model
def test_neighbours_in_the_batch_change_nothing(model: str) -> None:
    network, domain = build(model, 2, {})
    x = domain.input(rgb(2, batch=5)[1])
    with torch.inference_mode():
        together = network.eval()(x)
        alone = torch.cat([network(x[i : i + 1]) for i in range(5)])
    assert torch.allclose(together, alone, rtol=1e-5, atol=1e-7)


@every_model
def test_default_channels_are_those_of_the_domain(model: str) -> None:
    network, domain = build(model, 2, {})
    default = inspect.signature(MODELS.load(model)).parameters["channels"].default
    assert domain.channels == default
    assert network(domain.input(rgb(2)[1])).shape[1] == CHANNELS[default]


@every_model
def test_rim_and_last_layer(model: str) -> None:
    network, _ = build(model, 2, {})
    assert isinstance(network.rim, int)
    assert network.rim >= 0
    last = list(network.get_submodule(network.last_layer).parameters())
    assert last
    assert all(any(p is q for q in network.parameters()) for p in last)
    assert len(last) < len(list(network.parameters()))


@every_channel
@pytest.mark.parametrize(("model", "scale"), EVERY_SCALE)
def test_weights_file_gives_the_same_network(
    model: str, scale: int, channels: str, tmp_path: Path
) -> None:
    args = {"channels": channels}
    torch.manual_seed(5)
    network, domain = build(model, scale, args)
    path = tmp_path / "weights.safetensors"
    params = {"model": model, "model_args": args, "scale": scale}
    written = save_weights(path, network, parents={}, params=params, made={}, info={})
    torch.manual_seed(6)
    again, domain_again, header = load_weights(path)
    assert domain_again == domain
    assert header == written
    x = domain.input(rgb(scale)[1])
    with torch.inference_mode():
        assert torch.equal(network.eval()(x), again.eval()(x))


@every_model
def test_unknown_argument_lists_the_known_ones(model: str) -> None:
    with pytest.raises(UnknownName, match="chanels") as caught:
        build(model, 2, {"chanels": "y"})
    assert "Did you mean: channels" in str(caught.value)
    with pytest.raises(UnknownName, match="scale"):
        build(model, 2, {"scale": 2})


@pytest.mark.parametrize(("model", "argument"), ARGUMENTS)
@pytest.mark.parametrize("value", ["none of these", -1, 0, 2.5, None, True, ["y"]], ids=repr)
def test_wrong_value_names_the_argument(model: str, argument: str, value: object) -> None:
    with pytest.raises(InputError, match=f"model_args.{argument}") as caught:
        build(model, 2, {argument: value})
    assert repr(value) in str(caught.value)


@every_model
@pytest.mark.parametrize("scale", [1, 5, 0])
def test_wrong_scale_names_the_right_ones(model: str, scale: int) -> None:
    with pytest.raises(InputError, match=f"not for {scale}") as caught:
        build(model, scale, {})
    assert all(str(right) in str(caught.value) for right in SCALES[model])


def test_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        build("srcn", 2, {})
    assert "Did you mean: srcnn" in str(caught.value)
    assert all(name in str(caught.value) for name in MODELS)


@every_model
def test_seed_decides_the_first_weights(model: str) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(build(model, 2, {})[0].state_dict())
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@every_channel
@every_model
def test_gradient_reaches_every_parameter(model: str, channels: str) -> None:
    torch.manual_seed(0)
    network, domain = build(model, 2, {"channels": channels})
    hr, lr = rgb(2)
    (network(domain.input(lr)) - domain.target(hr)).square().mean().backward()
    still = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert still == []


@every_model
def test_every_combination_of_choices_can_be_built(model: str) -> None:
    hints = inspect.get_annotations(MODELS.load(model).__init__, eval_str=True)
    choices = {
        name: getattr(hint, "__args__", ())
        for name, hint in hints.items()
        if getattr(hint, "__args__", ())
    }
    for values in itertools.product(*choices.values()):
        network, domain = build(model, 2, dict(zip(choices, values, strict=True)))
        assert parameter_count(network) > 0
        assert network(domain.input(rgb(2, batch=1)[1])).shape[2:] == (24, 36)
