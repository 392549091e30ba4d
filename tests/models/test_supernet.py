"""Supernets: their subnets are the published networks on leading slices of one set of weights."""

from __future__ import annotations

import copy
import pickle
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402
from torch._dynamo.testing import CompileCounter  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from srprune.core.errors import ArtifactError, InputError  # noqa: E402
from srprune.models import MODELS  # noqa: E402
from srprune.models.build import build, parameter_count, save_weights  # noqa: E402
from srprune.models.foreign import load_foreign  # noqa: E402
from srprune.models.supernet import Subnet, Supernet  # noqa: E402
from srprune.models.warm_start import warm_start  # noqa: E402

SUPERNETS = ("msrresnet_supernet", "rcan_supernet")
REDUCTION = 2
every_supernet = pytest.mark.parametrize("model", SUPERNETS)


def tiny(model: str, scale: int = 2, **args: Any) -> Any:
    """Widths 4, 6, 8 and depths 1, 2, with weights large enough for every layer to count."""
    torch.manual_seed(5)
    network, _ = build(model, scale, {**MODELS.load(model).spec.tiny, **args})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3)
    return network


@cache
def published(model: str) -> Any:
    """The largest network of the paper, without values; not to be changed."""
    with torch.device("meta"):
        return build(model, 4, {})[0]


def image(network: Any, side: int = 7) -> Any:
    planes = next(iter(network.state_dict().values())).shape[0]
    planes = 1 if planes == 1 else 3
    return torch.rand(2, planes, side, side + 2, generator=torch.Generator().manual_seed(2))


def masked(network: Any, subnet: Subnet, scale: int = 2) -> dict[str, Any]:
    """The weights of the largest, 0 wherever the subnet has none.

    Maps that are 0 stay 0 through every layer, and a block of zeros adds nothing to its input: the
    largest network then computes what the subnet does, without a slice or another number of blocks.
    """
    largest, w, shuffled = network.largest, subnet.width, 9 if scale == 3 else 4
    kept = {
        largest.width: w,
        largest.width * shuffled: w * shuffled,
        largest.width // REDUCTION: w // REDUCTION,
    }
    state = {}
    for name, tensor in network.state_dict().items():
        part = torch.zeros_like(tensor)
        block = re.match(r"body\.(\d+)\.conv|body\.\d+\.body\.(\d+)\.body", name)
        number = int(block[1] or block[2]) if block else -1
        constant = re.fullmatch(network.constants, name)
        leading = tuple(slice(n if constant else kept.get(n, n)) for n in tensor.shape)
        if number < subnet.depth:
            part[leading] = tensor[leading]
        state[name] = part
    return state


# --- what the paper prints ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "parameters", "flops"),
    [
        ("msrresnet_supernet", 1_517_571, 5_193_990_144),
        ("rcan_supernet", 15_592_355, 32_599_777_280),
    ],
)
def test_the_largest_has_the_size_that_the_paper_prints(
    model: str, parameters: int, flops: int
) -> None:
    """1.52 M and 15.59 M parameters, 5.19 G and 32.60 G FLOPs: Yu et al. 2024, x4, 32x32 px."""
    network = published(model)
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, 32, 32, device="meta"))
    assert parameter_count(network) == parameters
    assert counter.get_total_flops() == flops
    assert network.flops(network.largest, 32, 32) == flops
    assert (round(parameters / 1e6, 2), round(flops / 1e9, 2)) in [(1.52, 5.19), (15.59, 32.60)]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("msrresnet_supernet", "36_4 36_8 36_16 52_4 52_8 64_4 52_16 64_8 64_16"),
        ("rcan_supernet", "36_5 36_10 52_5 64_5 36_20 52_10 64_10 52_20 64_20"),
    ],
)
def test_the_nine_subnets_stand_in_the_order_of_their_flops(model: str, expected: str) -> None:
    network = published(model)
    assert [f"{s.width}_{s.depth}" for s in network.subnets] == expected.split()
    flops = [network.flops(subnet, 32, 32) for subnet in network.subnets]
    assert flops == sorted(set(flops))
    assert network.subnets[-1] == network.largest == network.in_use
    assert network.subnets[0].label == f"w36_d{network.depths[0]}"


@every_supernet
@pytest.mark.parametrize(("scale", "channels"), [(2, "y"), (4, "rgb")])
def test_flops_are_those_that_the_subnet_takes(model: str, scale: int, channels: str) -> None:
    network = tiny(model, scale, channels=channels, widths=[4, 6], depths=[1, 3])
    x = torch.rand(1, 1 if channels == "y" else 3, 6, 9)
    for subnet in network.subnets:
        network.use(subnet)
        with FlopCounterMode(display=False) as counter:
            network(x)
        assert network.flops(subnet, 6, 9) == counter.get_total_flops()


# --- what a subnet computes ---------------------------------------------------------------------


@every_supernet
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_subnet_is_the_leading_maps_and_the_first_blocks(model: str, scale: int) -> None:
    network, whole = (tiny(model, scale).double().eval() for _ in range(2))
    x, seen = image(network).double(), []
    for subnet in network.subnets:
        network.use(subnet)
        whole.load_state_dict(masked(network, subnet, scale))
        with torch.inference_mode():
            seen.append(network(x))
            torch.testing.assert_close(seen[-1], whole(x), rtol=1e-9, atol=1e-9)
    for i, one in enumerate(seen):
        assert all(float((one - other).abs().max()) > 1e-3 for other in seen[:i])


@every_supernet
@pytest.mark.parametrize("args", [{}, {"channels": "y"}], ids=["rgb", "y"])
def test_what_is_cut_out_is_an_ordinary_network_of_the_same_output(
    model: str, args: dict[str, Any]
) -> None:
    network = tiny(model, **args).eval()
    plain = model.removesuffix("_supernet")
    others = {"groups": 2, "reduction": REDUCTION} if plain == "rcan" else {}
    x = torch.rand(2, 1 if args else 3, 7, 9)
    before = torch.get_rng_state()
    for subnet in network.subnets:
        network.use(subnet)
        name, told, cut = network.cut(subnet)
        assert name == plain
        assert told == {**args, **others, "features": subnet.width, "blocks": subnet.depth}
        assert type(cut) is MODELS.load(plain)
        assert not cut.training
        with torch.inference_mode():
            torch.testing.assert_close(cut(x), network(x), rtol=1e-4, atol=1e-4)
    assert torch.equal(torch.get_rng_state(), before)  # cutting draws no random numbers
    again, _ = build(name, 2, told)
    again.load_state_dict(cut.state_dict())


@every_supernet
def test_what_is_cut_out_is_a_copy(model: str) -> None:
    network = tiny(model)
    for subnet in (network.subnets[0], network.largest):
        cut = network.cut(subnet)[2]
        assert cut.training
        x, before = image(network), copy.deepcopy(network.state_dict())
        cut(x).square().mean().backward()
        torch.optim.SGD(cut.parameters(), lr=1.0).step()
        assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


@every_supernet
def test_the_gradient_of_a_subnet_is_that_of_its_own_weights(model: str) -> None:
    """And nothing reaches the others."""
    network = tiny(model)
    subnet, x = Subnet(6, 1), image(network)
    cut = network.cut(subnet)[2]
    cut(x).square().mean().backward()
    network.use(subnet)
    network(x).square().mean().backward()
    used = masked(network, subnet)
    total = 0
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            assert not parameter.grad[used[name] == 0].any(), name
            total += int(parameter.grad.count_nonzero())
    expected = [p.grad for p in cut.parameters()]
    assert total == sum(int(grad.count_nonzero()) for grad in expected) > 100
    found = torch.cat([p.grad[p.grad != 0] for p in network.parameters() if p.grad is not None])
    wanted = torch.cat([grad[grad != 0] for grad in expected])
    torch.testing.assert_close(found.abs().sum(), wanted.abs().sum())


@every_supernet
def test_copies_run_on_their_own_weights(model: str) -> None:
    """The moving average of the weights is such a copy."""
    network = tiny(model).eval()
    network.use(network.subnets[1])
    x = image(network)
    with torch.inference_mode():
        expected = network(x)
        for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
            assert other.in_use == network.in_use
            assert torch.equal(other(x), expected)
            for parameter in other.parameters():
                parameter.mul_(0.5)
            assert not torch.equal(other(x), expected)
            assert torch.equal(network(x), expected)


@every_supernet
def test_moved_and_cast_it_takes_its_subnets_along(model: str) -> None:
    network = tiny(model).eval()
    network.use(network.subnets[0])
    x = image(network)
    with torch.inference_mode():
        expected = network(x)
        for kind in (torch.contiguous_format, torch.channels_last):
            found = network.to(memory_format=kind)(x)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(x)
        assert 0 < float((half.float() - expected).abs().max()) < 0.1 * float(expected.abs().max())
        double = network.double()(x.double())
    torch.testing.assert_close(double.float(), expected, rtol=1e-4, atol=1e-4)


def test_each_subnet_is_compiled_once_and_whole() -> None:
    network = tiny("msrresnet_supernet")
    counter, x = CompileCounter(), image(network)
    compiled = torch.compile(network, backend=counter, fullgraph=True)
    chosen = (network.largest, *network.subnets[:2])
    for _ in range(2):
        for subnet in chosen:
            network.use(subnet)
            torch.testing.assert_close(compiled(x), network(x))
    assert counter.frame_count == len(chosen)
    torch.compiler.reset()


# --- what it is told ----------------------------------------------------------------------------


@every_supernet
@pytest.mark.parametrize("ask", ["use", "cut", "flops"])
def test_a_subnet_that_is_not_there_is_one_line_with_those_that_are(model: str, ask: str) -> None:
    network = tiny(model)
    size = (8, 8) if ask == "flops" else ()
    for subnet in (Subnet(5, 1), Subnet(4, 3)):
        with pytest.raises(InputError) as caught:
            getattr(network, ask)(subnet, *size)
        assert str(caught.value) == (
            f"{model} has no subnet of width {subnet.width} and depth {subnet.depth}. "
            "Widths: 4, 6, 8; depths: 1, 2."
        )
    assert network.in_use == network.largest


@every_supernet
@pytest.mark.parametrize("argument", ["widths", "depths"])
@pytest.mark.parametrize("value", [[], [8, 4], [4, 4], [0, 4], [4, True], [4.0], (4, "8"), 4, {}])
def test_sizes_that_make_no_sense_are_one_line(model: str, argument: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        build(model, 2, {argument: value})
    said = str(caught.value)
    assert argument in said
    assert "\n" not in said


@every_supernet
def test_a_list_and_a_tuple_are_the_same(model: str) -> None:
    for kind in (list, tuple):
        network = tiny(model, widths=kind([4, 8]), depths=kind([1, 3]))
        assert (network.widths, network.depths) == ((4, 8), (1, 3))
        assert len(network.subnets) == 4


def test_a_reduction_that_leaves_the_smallest_without_attention_is_refused() -> None:
    with pytest.raises(InputError, match=r"rcan_supernet: reduction is 5; .*exceed widths, 4\."):
        tiny("rcan_supernet", reduction=5)


# --- files --------------------------------------------------------------------------------------


@every_supernet
def test_its_tensors_have_the_names_of_the_plain_network(model: str) -> None:
    network, plain = tiny(model), model.removesuffix("_supernet")
    other, _ = build(plain, 2, network.cut(network.largest)[1])
    assert list(network.state_dict()) == list(other.state_dict())
    assert issubclass(MODELS.load(model), Supernet)


def test_a_file_of_tensors_is_taken_for_the_plain_network(tmp_path: Path) -> None:
    """It cannot tell; at the published size both fit alike, and the first of the table is taken."""
    network, _ = build("msrresnet_supernet", 2, {})
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, tmp_path / "m.safetensors")
    assert load_foreign(tmp_path / "m.safetensors", None).model == "msrresnet"
    table = list(MODELS)
    for model in SUPERNETS:
        assert table.index(model.removesuffix("_supernet")) < table.index(model)


@every_supernet
def test_a_plain_network_of_the_largest_size_is_a_start(model: str, tmp_path: Path) -> None:
    network = tiny(model)
    for number, subnet in enumerate((network.largest, network.subnets[0])):
        name, args, source = network.cut(subnet)
        path = tmp_path / f"{number}.safetensors"
        params = {"model": name, "model_args": args, "scale": 2}
        save_weights(path, source, parents={}, params=params, made={}, info={})
    fresh, _ = build(model, 2, dict(MODELS.load(model).spec.tiny))
    with pytest.raises(ArtifactError, match="of another shape"):
        warm_start(fresh, model, tmp_path / "1.safetensors", strict=True)
    started = warm_start(fresh, model, tmp_path / "0.safetensors", strict=True)
    assert started.taken == len(list(fresh.parameters()))
    assert all(torch.equal(t, network.state_dict()[n]) for n, t in fresh.state_dict().items())
