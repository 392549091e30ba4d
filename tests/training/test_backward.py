"""One step's gradient: cut into parts, at other precisions and layouts, compiled."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from inspect import signature
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from srprune.core.config import ComputeConfig  # noqa: E402
from srprune.core.errors import InputError  # noqa: E402
from srprune.models import MODELS  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.models.network import Network, RandomLayer  # noqa: E402
from srprune.training.backward import DTYPES, Backward, compile_errors, inside  # noqa: E402
from srprune.training.losses import euclidean, l1, mse  # noqa: E402

PLAIN = {"l1": l1(), "mse": mse(), "euclidean": euclidean()}
CPU = torch.device("cpu")
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
BATCH, SIDE = 4, 8
COMPILERS = ("c++", "g++", "clang++", "cl")

Tensors = dict[str, Any]


def tiny(model: str, drop: float | None = None, **args: Any) -> Any:
    """A small network with the same first weights at each call, in training.

    ``drop``: how often the layers that drop something do so.
    """
    torch.manual_seed(5)
    network, _ = build(model, 2, {**MODELS.load(model).spec.tiny, **args})
    for layer in network.modules():
        if drop is not None and isinstance(layer, RandomLayer):
            layer.drop_path = drop
    return network.train()


def batch(network: Any, count: int = BATCH) -> tuple[Any, Any]:
    """Input and target, channels last in memory as they come from the pool."""
    generator = torch.Generator().manual_seed(1)
    planes = 3 if network.spec.channels == "rgb" else 1
    side = SIDE * (2 if network.spec.pre_upsampled else 1)
    x_BHWC = torch.rand(count, side, side, planes, generator=generator)
    target_BHWC = torch.rand(count, 2 * SIDE, 2 * SIDE, planes, generator=generator)
    return x_BHWC.permute(0, 3, 1, 2), target_BHWC.permute(0, 3, 1, 2)


def parts_of(pair: tuple[Any, Any], count: int) -> Iterator[tuple[Any, Any]]:
    return zip(*(tensor.chunk(count) for tensor in pair), strict=True)


def step(
    network: Any, loss: str = "l1", number: int = 0, rim: int = 0, **compute: Any
) -> tuple[float, Tensors]:
    """Loss and gradient of one step."""
    config = ComputeConfig(**compute)
    backward = Backward(network, PLAIN[loss].of_batch, rim=rim, compute=config, device=CPU)
    value = backward(number, parts_of(batch(network), config.accumulate))
    assert (value.shape, value.requires_grad) == ((), False)
    return value.item(), gradient(network)


def gradient(network: Any) -> Tensors:
    return {name: p.grad.clone() for name, p in network.named_parameters()}


def difference(a: Tensors, b: Tensors) -> float:
    """The largest one, as a share of the largest value of its tensor."""
    assert a.keys() == b.keys()
    return max(float((a[n] - b[n]).abs().max() / b[n].abs().max()) for n in a if b[n].any())


# --- the gradient itself ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "criterion"),
    [
        ("l1", nn.L1Loss()),
        ("mse", nn.MSELoss()),
        ("euclidean", lambda output, target: nn.MSELoss(reduction="sum")(output, target) / 8),
    ],
)
def test_a_step_is_a_backward_pass_of_torch(loss: str, criterion: Any) -> None:
    network = tiny("fsrcnn")
    x, target = batch(network)
    expected = criterion(network(x), target)
    expected.backward()
    wanted = gradient(network)
    value, found = step(network, loss)
    assert value == expected.item()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_gradient_of_the_step_before_is_dropped() -> None:
    network = tiny("fsrcnn")
    backward = Backward(network, mse().of_batch, rim=0, compute=ComputeConfig(), device=CPU)
    once = []
    for number in range(2):
        backward(number, [batch(network)])
        once.append(gradient(network))
    assert difference(*once) == 0


def test_the_rim_is_left_out() -> None:
    network = tiny("fsrcnn")
    x, target = batch(network)
    expected = nn.functional.l1_loss(network(x)[:, :, 3:-3, 3:-3], target[:, :, 3:-3, 3:-3])
    value, _ = step(network, rim=3)
    assert value == expected.item()
    assert step(network, rim=2)[0] != value


def test_inside_cuts_the_rim_on_all_sides() -> None:
    image = torch.arange(2 * 1 * 7 * 9).view(2, 1, 7, 9)
    assert torch.equal(inside(image, 0), image)
    assert torch.equal(inside(image, 2), image[:, :, 2:5, 2:7])


# --- parts of a batch ---------------------------------------------------------------------------


@pytest.mark.parametrize("loss", list(PLAIN))
@pytest.mark.parametrize("model", ["fsrcnn", "swinir"])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(model: str, loss: str) -> None:
    """Where a network drops something at random, too."""
    whole_loss, whole = step(tiny(model, drop=0.5), loss)
    for count in (2, 4):
        value, found = step(tiny(model, drop=0.5), loss, accumulate=count)
        assert value == pytest.approx(whole_loss, rel=1e-5)
        assert difference(found, whole) < 1e-4


def test_each_step_drops_something_else() -> None:
    """And the same again at the same step, whatever was drawn before."""
    network = tiny("swinir", drop=0.5)
    undropped = step(tiny("swinir", drop=0.0))[1]
    by_step = [step(network, number=number)[1] for number in range(4)]
    torch.rand(7)
    again = step(network, number=2)[1]
    assert difference(again, by_step[2]) == 0
    for i, a in enumerate([*by_step, undropped]):
        for b in by_step[:i]:
            assert difference(a, b) > 1e-3


def test_another_seed_drops_something_else() -> None:
    found = []
    for seed in (0, 1):
        network = tiny("swinir", drop=0.5)
        backward = Backward(
            network, l1().of_batch, rim=0, compute=ComputeConfig(), device=CPU, seed=seed
        )
        backward(0, [batch(network)])
        found.append(gradient(network))
    assert difference(*found) > 1e-3


@given(st.integers(1, 6), st.integers(1, 5), st.floats(0.1, 0.9), st.integers(0, 2**31))
def test_parts_draw_what_the_whole_batch_draws(
    parts: int, size: int, keep: float, seed: int
) -> None:
    class Drops(Network):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(RandomLayer())

    network = Drops()
    layer = network.inner[0]
    x = torch.zeros(parts * size, 2, 3, 3)

    def drawn(part: Any) -> Any:
        torch.manual_seed(seed)
        return torch.stack([layer.drawn(part, keep) for _ in range(2)])

    whole = drawn(x)
    assert whole.shape == (2, parts * size, 1, 1, 1)
    assert set(whole.unique().tolist()) <= {0.0, 1.0}
    taken = []
    for number, part in enumerate(x.chunk(parts)):
        layer.part = (number, parts)
        taken.append(drawn(part))
    assert torch.equal(torch.cat(taken, 1), whole)


def test_what_is_kept_is_kept_as_often_as_asked_for() -> None:
    torch.manual_seed(0)
    share = RandomLayer().drawn(torch.zeros(10_000, 1, 1, 1), 0.8).mean().item()
    assert share == pytest.approx(0.8, abs=0.02)


# --- the losses of single crops -----------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)])
@pytest.mark.parametrize("loss", list(PLAIN))
@pytest.mark.parametrize(
    "compute",
    [{}, {"accumulate": 2}, {"precision": "bf16"}, {"cuda_graph": True}],
    ids=["whole", "parts", "bf16", "graph"],
)
def test_losses_of_crops_are_those_of_the_same_pass_and_change_nothing(
    compute: dict[str, Any], loss: str, device: str
) -> None:
    config = ComputeConfig(**compute)

    def backward_of(network: Any, **more: Any) -> Backward:
        there = torch.device(device)
        return Backward(network, PLAIN[loss].of_batch, rim=2, compute=config, device=there, **more)

    network = tiny("fsrcnn").to(device)
    pairs = [[x.to(device), y.to(device)] for x, y in parts_of(batch(network), config.accumulate)]
    plain = backward_of(network)(0, pairs)
    expected = gradient(network)
    backward = backward_of(network, by_crop=PLAIN[loss].of_crops)
    for _ in range(2):
        value = backward(0, pairs)
        crops = torch.cat(backward.crop_losses)
        assert value == plain
        assert all(torch.equal(found, expected[n]) for n, found in gradient(network).items())
        assert (crops.shape, crops.requires_grad) == ((BATCH,), False)
        assert crops.mean().item() == pytest.approx(value.item(), rel=1e-6)
    alone = [
        backward_of(network)(0, [[pair[0][i : i + 1], pair[1][i : i + 1]]] * config.accumulate)
        for pair in pairs
        for i in range(len(pair[0]))
        if not config.cuda_graph  # a graph is of one shape
    ]
    for one, crop in zip(alone, crops, strict=False):
        assert one.item() == pytest.approx(crop.item(), rel=1e-2 if compute else 1e-5)


def test_crops_are_not_looked_at_unless_asked_for() -> None:
    network = tiny("fsrcnn")
    backward = Backward(network, l1().of_batch, rim=0, compute=ComputeConfig(), device=CPU)
    backward(0, [batch(network)])
    assert backward.crop_losses == []


# --- subnets of a supernet ----------------------------------------------------------------------


def supernet() -> Any:
    return tiny("msrresnet_supernet", widths=[4, 6, 8], depths=[1, 2])


def step_of(network: Any, subnets: Any, loss: str = "l1", **compute: Any) -> tuple[Any, Tensors]:
    """Loss, and the gradient of the parameters that have one."""
    config = ComputeConfig(**compute)
    backward = Backward(
        network,
        PLAIN[loss].of_batch,
        rim=2,
        compute=config,
        device=CPU,
        by_crop=PLAIN[loss].of_crops,
        subnets_at=lambda step: subnets,
    )
    value = backward(0, parts_of(batch(network), config.accumulate))
    found = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    factor = backward.scaler.get_scale()
    return (value.item(), backward.crop_losses), {n: grad / factor for n, grad in found.items()}


def by_hand(network: Any, subnets: Any, precision: str) -> tuple[float, Tensors]:
    """The mean of the MSE of the subnets, and what it is to the weights."""
    x, target = batch(network)
    losses = []
    for subnet in subnets:
        network.use(subnet)
        with torch.autocast("cpu", DTYPES.get(precision), enabled=precision in DTYPES):
            output = network(x)
        losses.append(nn.functional.mse_loss(inside(output.float(), 2), inside(target, 2)))
    network.zero_grad(set_to_none=True)
    factor = 2**16 if precision == "fp16" else 1
    mean = sum(losses) / len(losses)
    (mean * factor).backward()
    found = {n: p.grad / factor for n, p in network.named_parameters() if p.grad is not None}
    return mean.item(), found


@pytest.mark.parametrize(
    ("compute", "rounding"),
    [
        ({}, 1e-5),
        ({"accumulate": 2}, 1e-4),
        ({"accumulate": 4, "channels_last": False}, 1e-4),
        ({"precision": "bf16"}, 0.05),
        ({"precision": "fp16", "accumulate": 2}, 0.02),
    ],
    ids=["whole", "parts", "layout", "bf16", "fp16"],
)
@pytest.mark.parametrize("places", [(0, 2, 5), (5,), (0,), (3, 1)], ids=str)
def test_a_step_is_the_mean_over_its_subnets(
    places: tuple[int, ...], compute: dict[str, Any], rounding: float
) -> None:
    network = supernet()
    subnets = [network.subnets[place] for place in places]
    expected, wanted = by_hand(network, subnets, compute.get("precision", "fp32"))
    (value, crops), found = step_of(network, subnets, "mse", **compute)
    assert value == pytest.approx(expected, rel=1e-3 if "precision" in compute else 1e-5)
    assert difference(found, wanted) <= rounding
    assert network.in_use == network.largest  # which is what validation measures
    assert len(crops) == compute.get("accumulate", 1)
    assert torch.cat(crops).shape == (BATCH,)


def test_losses_of_crops_are_those_of_the_last_subnet() -> None:
    network = supernet()
    (_, crops), _ = step_of(network, [network.subnets[0], network.largest], accumulate=2)
    (_, alone), _ = step_of(network, [network.largest], accumulate=2)
    (_, other), _ = step_of(network, [network.subnets[0]], accumulate=2)
    assert torch.equal(torch.cat(crops), torch.cat(alone))
    assert not torch.equal(torch.cat(crops), torch.cat(other))


def test_blocks_that_no_subnet_of_a_step_has_get_no_gradient() -> None:
    """Nor one of the step before, with which an optimizer would move them."""
    network = supernet()
    step_of(network, [network.largest])
    _, found = step_of(network, [network.subnets[0]])
    deeper = {name for name, _ in network.named_parameters() if name.startswith("body.1.")}
    assert deeper
    assert set(found) == {name for name, _ in network.named_parameters()} - deeper


def test_all_subnets_of_a_compiled_network_are_compiled() -> None:
    """By default torch gives up after eight."""
    network = tiny("msrresnet_supernet", widths=[2, 4, 6], depths=[1, 2, 3])
    compute = ComputeConfig(compile=True)
    more: dict[str, Any] = {"rim": 0, "compute": compute, "device": CPU}
    settings = torch._dynamo.config
    with settings.patch(cache_size_limit=8):
        Backward(network, l1().of_batch, **more)
        assert settings.cache_size_limit == 8
        Backward(network, l1().of_batch, **more, subnets_at=lambda step: network.subnets)
        assert settings.cache_size_limit == 9


# --- losses that learn --------------------------------------------------------------------------


class Weighted(nn.Module):
    """A loss with a number of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.sigma = nn.Parameter(torch.tensor(0.5))

    def forward(self, output: Any, target: Any) -> Any:
        return nn.functional.mse_loss(output, target) / self.sigma.square() + self.sigma.log()


@pytest.mark.parametrize("model", ["fsrcnn", "msrresnet_supernet"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_has_its_gradient_as_the_network_has(
    accumulate: int, precision: str, model: str
) -> None:
    network, criterion = tiny(model), Weighted()
    x, target = batch(network)
    subnets = getattr(network, "subnets", ())[-2:]
    backward = Backward(
        network,
        criterion,
        rim=0,
        compute=ComputeConfig(accumulate=accumulate, precision=precision),
        device=CPU,
        subnets_at=(lambda step: subnets) if subnets else None,
    )
    for _ in range(2):  # the gradient of the step before is dropped
        backward(0, parts_of((x, target), accumulate))
        found = criterion.sigma.grad / backward.scaler.get_scale()
    criterion.sigma.grad = None
    for subnet in subnets or (None,):
        if subnet:
            network.use(subnet)
        (criterion(network(x), target) / max(1, len(subnets))).backward()
    torch.testing.assert_close(found, criterion.sigma.grad, rtol=2e-2, atol=0)
    if precision == "fp32":
        torch.testing.assert_close(found, criterion.sigma.grad, rtol=1e-5, atol=0)


@NEEDS_CUDA
def test_a_graph_writes_the_gradient_of_a_loss_anew() -> None:
    network, criterion = tiny("fsrcnn").to("cuda"), Weighted().to("cuda")
    pair = [tensor.to("cuda") for tensor in batch(network)]
    compute, there = ComputeConfig(cuda_graph=True), torch.device("cuda")
    backward = Backward(network, criterion, rim=0, compute=compute, device=there)
    found = []
    for number in range(3):
        backward(number, [pair])
        found.append(criterion.sigma.grad.item())
    assert found[0] == found[1] == found[2] != 0


# --- precision, layout, compiling ---------------------------------------------------------------


def convolutions(network: Any) -> list[Any]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize(
    ("precision", "dtype", "rounding"),
    [("fp32", torch.float32, 0.0), ("bf16", torch.bfloat16, 0.1), ("fp16", torch.float16, 0.02)],
)
def test_the_network_runs_at_a_precision_and_weights_stay_fp32(
    precision: str, dtype: Any, rounding: float
) -> None:
    exact_loss, exact = step(tiny("fsrcnn"), "mse")
    network = tiny("fsrcnn")
    seen: set[Any] = set()
    for layer in (*convolutions(network), network):
        layer.register_forward_hook(lambda layer, args, output: seen.add(output.dtype))

    def loss(output: Any, target: Any) -> Any:
        assert output.dtype == target.dtype == torch.float32
        return nn.functional.mse_loss(output, target)

    compute = ComputeConfig(precision=precision)
    backward = Backward(network, loss, rim=0, compute=compute, device=CPU)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    value = backward(0, [batch(network)])
    backward.scaler.unscale_(optimizer)
    assert seen == {dtype}
    assert value.dtype == torch.float32
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in network.parameters()} == {torch.float32}
    assert value.item() == pytest.approx(exact_loss, rel=0.02)
    assert difference(gradient(network), exact) <= rounding
    assert backward.scaler.is_enabled() == (precision == "fp16")


def test_fp16_scales_the_loss_and_tells_the_unscaled_one() -> None:
    """Gradients that fp16 cannot hold are 0 without it."""
    network = tiny("edsr_baseline")
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(1e-3)
    compute = ComputeConfig(precision="fp16", accumulate=2)
    backward = Backward(network, mse().of_batch, rim=0, compute=compute, device=CPU)
    value = backward(0, parts_of(batch(network), 2))
    scaled = gradient(network)
    backward.scaler.unscale_(torch.optim.SGD(network.parameters(), lr=0.0))
    factor = backward.scaler.get_scale()
    assert factor > 1000
    assert value.item() < 10
    for name, tensor in gradient(network).items():
        torch.testing.assert_close(tensor * factor, scaled[name])


@pytest.mark.parametrize("channels_last", [True, False])
def test_activations_have_the_layout_that_was_asked_for(channels_last: bool) -> None:
    network = tiny("edsr_baseline")
    if not channels_last:
        network.to(memory_format=torch.contiguous_format)
    seen = []
    for layer in convolutions(network):
        if layer.out_channels > 3:
            layer.register_forward_hook(
                lambda layer, args, output: seen.append(output.is_contiguous())
            )
    _, found = step(network, channels_last=channels_last)
    assert seen
    assert set(seen) == {not channels_last}
    other = tiny("edsr_baseline").to(memory_format=torch.contiguous_format)
    assert difference(found, step(other, channels_last=False)[1]) < 1e-5


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what is old
def test_a_compiled_step_is_that_of_the_network_as_it_is() -> None:
    eager_loss, eager = step(tiny("srcnn"))
    network = tiny("srcnn")
    names = list(network.state_dict())
    value, found = step(network, compile=True)
    assert value == pytest.approx(eager_loss, rel=1e-5)
    assert difference(found, eager) < 1e-5
    assert list(network.state_dict()) == names


class Noisy(nn.Module):  # type: ignore[misc]
    """Multiplies by noise; on a GPU compiling would replace what drops paths, too."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Any) -> Any:
        return self.weight * x * torch.rand_like(x)


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what is old
def test_a_compiled_step_draws_what_it_draws_as_it_is() -> None:
    pair = torch.rand(16, 1, 8, 8), torch.zeros(16, 1, 8, 8)
    losses = []
    for on in (False, True):
        compute = ComputeConfig(compile=on)
        backward = Backward(Noisy(), mse().of_batch, rim=0, compute=compute, device=CPU)
        losses.append([backward(number, [pair]).item() for number in range(4)])
    assert len(set(losses[0])) == 4
    assert losses[1] == pytest.approx(losses[0])


def test_what_cannot_be_compiled_is_one_line_that_says_what_to_do() -> None:
    from torch._dynamo.exc import BackendCompilerFailed

    def fail() -> None:
        known = (fail, RuntimeError("no working C++ compiler found"), None)
        raise BackendCompilerFailed(*known[: len(signature(BackendCompilerFailed).parameters)])

    with (
        pytest.raises(
            InputError, match=r"\(.*no working C\+\+ compiler.*\)\. Install .*compile=false"
        ),
        compile_errors(ComputeConfig(compile=True)),
    ):
        fail()
    with pytest.raises(BackendCompilerFailed), compile_errors(ComputeConfig()):
        fail()
