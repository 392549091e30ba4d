"""What every network of the table must keep to; a new one needs no new test here."""

from __future__ import annotations

import inspect
import itertools
import math
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from srprune.core.errors import InputError, UnknownName
from srprune.models import MODELS
from srprune.models.build import (
    build,
    load_weights,
    parameter_count,
    save_weights,
)
from srprune.models.domain import Domain
from srprune.models.network import ModelSpec, Network
from srprune.models.restorer import restorer_of

CHANNELS = {"y": 1, "rgb": 3}
TINY = {name: dict(MODELS.load(name).spec.tiny) for name in MODELS}
SCALES = {name: MODELS.load(name).spec.scales for name in MODELS}
EVERY_SCALE = [(name, scale) for name, scales in SCALES.items() for scale in scales]
ARGUMENTS = [
    (name, argument)
    for name in MODELS
    for argument in inspect.signature(MODELS.load(name)).parameters
    if argument != "scale"
]

# variants of a network share its layers, so that one of them is traced for all
ONE_OF_A_FILE = {MODELS[name].split(":")[0]: name for name in reversed(list(MODELS))}.values()

every_model = pytest.mark.parametrize("model", list(MODELS))
every_channel = pytest.mark.parametrize("channels", list(CHANNELS))


def rgb(scale: int, batch: int = 2) -> Any:
    """HR of sides that every scale divides, and an LR of its own."""
    generator = torch.Generator().manual_seed(3)
    hr = torch.rand(batch, 3, 24, 36, generator=generator)
    return hr, torch.rand(batch, 3, 24 // scale, 36 // scale, generator=generator)


def tiny(model: str, scale: int = 2, **args: Any) -> tuple[Network, Domain]:
    """The network, narrow and shallow, with the same first weights at each call."""
    torch.manual_seed(5)
    return build(model, scale, {**TINY[model], **args})


def largest_difference(a: Any, b: Any) -> float:
    return float((a - b).detach().abs().max())


@every_model
def test_spec_describes_the_network(model: str) -> None:
    kind = MODELS.load(model)
    assert issubclass(kind, Network)
    assert isinstance(kind.spec, ModelSpec)
    assert kind.spec.name == model
    assert kind.spec.paper
    assert kind.spec.source
    assert set(kind.spec.scales) <= {2, 3, 4}
    with torch.device("meta"):  # no arithmetic: operations are counted, not done
        network, domain = build(model, 2, {})
        assert parameter_count(network) == kind.spec.parameters
        assert (domain.channels, domain.pre_upsampled) == (
            kind.spec.channels,
            kind.spec.pre_upsampled,
        )
        side = 1 if domain.pre_upsampled else 2
        x = torch.empty(1, CHANNELS[domain.channels], 720 // side, 1280 // side)
        with FlopCounterMode(display=False) as counter:
            assert network.eval()(x).shape[2:] == (720, 1280)
    assert counter.get_total_flops() == kind.spec.flops
    radius = math.ceil((network.rim + domain.reach) / 2)
    assert 2 * radius + 1 == kind.spec.receptive_field


@every_channel
@pytest.mark.parametrize(("model", "scale"), EVERY_SCALE)
def test_output_has_the_shape_of_the_target(model: str, scale: int, channels: str) -> None:
    network, domain = tiny(model, scale, channels=channels)
    assert (domain.channels, domain.scale) == (channels, scale)
    hr, lr = rgb(scale)
    output, target = network(domain.input(lr)), domain.target(hr)
    assert output.shape == target.shape == (2, CHANNELS[channels], 24, 36)
    assert output.dtype == torch.float32
    assert torch.isfinite(output).all()


@every_model
def test_neighbours_in_the_batch_change_nothing(model: str) -> None:
    network, domain = tiny(model)
    x = domain.input(rgb(2, batch=5)[1])
    with torch.inference_mode():
        together = network.eval()(x)
        alone = torch.cat([network(x[i : i + 1]) for i in range(5)])
    assert torch.allclose(together, alone, rtol=1e-5, atol=1e-6)


@every_model
def test_default_channels_are_those_of_the_domain(model: str) -> None:
    network, domain = tiny(model)
    default = inspect.signature(MODELS.load(model)).parameters["channels"].default
    assert domain.channels == default
    assert network(domain.input(rgb(2)[1])).shape[1] == CHANNELS[default]


@every_model
def test_rim_and_last_layer(model: str) -> None:
    network, _ = tiny(model)
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
    args = {**TINY[model], "channels": channels}
    network, domain = tiny(model, scale, channels=channels)
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
        states.append(build(model, 2, TINY[model])[0].state_dict())
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@every_channel
@every_model
def test_gradient_reaches_every_parameter(model: str, channels: str) -> None:
    network, domain = tiny(model, channels=channels)
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
    choices = {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}
    for values in itertools.product(*choices.values()):
        network, domain = tiny(model, **dict(zip(choices, values, strict=True)))
        assert parameter_count(network) > 0
        assert network(domain.input(rgb(2, batch=1)[1])).shape[2:] == (24, 36)


@every_model
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_size_from_the_minimum_can_be_restored(model: str, scale: int) -> None:
    """The rule of sizes is measured: all sides from ``minimum`` on, odd ones too; none below."""
    network, domain = tiny(model, scale)
    restorer = restorer_of("tiny", network, domain, "")
    least = restorer.minimum
    for height, width in itertools.product(range(least, least + 5), (least, 9, 16, 19)):
        sr = restorer(torch.rand(1, 3, height, width))
        assert sr.shape == (1, 3, height * scale, width * scale)
        assert torch.isfinite(sr).all()
    spec = MODELS.load(model).spec
    if spec.minimum > 1:
        short = torch.rand(1, CHANNELS[domain.channels], spec.minimum - 1, 16)
        with pytest.raises(RuntimeError), torch.inference_mode():
            network(short)
        with pytest.raises(InputError, match=f"at least {least} px"):
            restorer(torch.rand(1, 3, least - 1, 16))


@every_model
def test_other_channels_are_one_clear_line(model: str) -> None:
    restorer = restorer_of("tiny", *tiny(model), "")
    for planes in (1, 4):
        with pytest.raises(InputError, match=rf"\(1, {planes}, 12, 16\).*RGB"):
            restorer(torch.rand(1, planes, 12, 16))


@every_model
def test_training_lowers_the_loss(model: str) -> None:
    network, domain = tiny(model)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    hr, lr = rgb(2)
    losses = []
    for _ in range(8):
        loss = (network(domain.input(lr)) - domain.target(hr)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@every_model
def test_bf16_is_near_fp32(model: str) -> None:
    restorer = restorer_of("tiny", *tiny(model), "")
    lr = rgb(2)[1]
    full, half = restorer(lr), restorer.at("bf16")(lr)
    assert half.dtype == torch.float32
    assert largest_difference(full, half) < 0.03 * max(1, float(full.abs().max()))
    assert not torch.equal(full, half)


@every_model
def test_gradients_flow_in_bf16(model: str) -> None:
    network, domain = tiny(model)
    hr, lr = rgb(2)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(domain.input(lr))
    (output.float() - domain.target(hr)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("model", ONE_OF_A_FILE)
def test_compiled_it_gives_the_same(model: str) -> None:
    """Traced whole, forwards and backwards; the code generator itself is left out for its time.

    So are copies of a part: the second block is traced as the first one is.
    """
    once = {name: 1 for name in ("groups", "blocks") if name in TINY[model]}
    network, domain = tiny(model, **once)
    x = domain.input(rgb(2)[1])
    torch.manual_seed(7)  # paths that are dropped
    wanted = network(x)
    torch.manual_seed(7)
    found = torch.compile(network, backend="aot_eager", fullgraph=True)(x)
    found.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert largest_difference(found, wanted) < 1e-5


@every_model
@pytest.mark.parametrize("channels_last", [True, False])
def test_the_memory_format_changes_nothing(model: str, channels_last: bool) -> None:
    network, domain = tiny(model)
    kind = torch.channels_last if channels_last else torch.contiguous_format
    x = domain.input(rgb(2)[1])
    with torch.inference_mode():
        wanted = network.eval()(x)
        found = network.to(memory_format=kind)(x.contiguous(memory_format=kind))
    assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-5)


class NoHostConstants(TorchDispatchMode):
    """Refuses tensors of Python numbers: on a GPU each is a copy that no graph can capture."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket not in (torch.ops.aten.lift_fresh, torch.ops.aten.lift), func
        return func(*args, **(kwargs or {}))


@every_model
def test_forward_makes_no_tensor_of_python_numbers(model: str) -> None:
    network, domain = tiny(model)
    x = domain.input(rgb(2)[1])
    with NoHostConstants():
        network.train()(x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@every_model
def test_cuda_agrees_with_the_cpu(model: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    network, domain = tiny(model)
    x = domain.input(rgb(2)[1])
    with torch.inference_mode():
        here = network.eval()(x)
        there = network.to("cuda")(x.to("cuda")).cpu()
    assert largest_difference(here, there) < 1e-4


@every_model
def test_tensors_tell_the_arguments(model: str) -> None:
    network, _ = tiny(model)
    kind = type(network)
    told = kind.arguments_of(network.state_dict()) if model != "edsr_large" else TINY[model]
    assert {**TINY[model], **told} == {**told, **TINY[model]}
    with pytest.raises(KeyError):
        kind.arguments_of({"another.weight": torch.zeros(1)})
