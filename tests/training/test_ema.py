"""The moving average of the weights, against a slow loop in float64."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from srprune.models import MODELS  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.training.ema import MovingAverage  # noqa: E402


def tiny(model: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build(model, 2, dict(MODELS.load(model).spec.tiny))[0]


def train(network: Any, steps: int) -> Any:
    """Give the state after each step, in the precision in which it is held."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network.train()
    side = 16 * (2 if network.spec.pre_upsampled else 1)
    planes = 3 if network.spec.channels == "rgb" else 1
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.rand(2, planes, side, side)).square().mean().backward()
        optimizer.step()
        yield copied(network.state_dict())


def copied(state: Any) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in state.items()}


def same(a: Any, b: Any) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("model", ["srresnet", "drrn", "swinir"])
def test_averages_are_those_of_a_slow_loop(model: str, decay: float) -> None:
    network = tiny(model)
    average = MovingAverage(network, decay)
    expected = {name: each.double() for name, each in copied(network.state_dict()).items()}
    for state in train(network, 4):
        average.update(network)
        for name, now in state.items():
            if now.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * now.double()
            else:
                expected[name] = now
    found = average.state_dict()
    assert list(found) == list(expected)
    for name, tensor in found.items():
        assert tensor.dtype == network.state_dict()[name].dtype
        torch.testing.assert_close(tensor.double(), expected[name].double(), rtol=1e-5, atol=1e-6)
    moved = not all(torch.equal(each, found[name]) for name, each in network.named_parameters())
    assert moved == (decay > 0)


def test_counts_are_copied_and_statistics_averaged() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    average = MovingAverage(network, 0.75)
    for step in range(1, 4):
        network(torch.rand(2, 1, 6, 6))
        before = average.network[1].running_mean.clone()
        average.update(network)
        assert average.network[1].num_batches_tracked.item() == step
        expected = 0.75 * before + 0.25 * network[1].running_mean
        torch.testing.assert_close(average.network[1].running_mean, expected)


@pytest.mark.parametrize("model", MODELS)
def test_it_starts_as_a_copy_in_eval_mode(model: str) -> None:
    network = tiny(model).train()
    next(network.parameters()).grad = torch.ones_like(next(network.parameters()))
    average = MovingAverage(network, 0.9)
    assert same(average.state_dict(), network.state_dict())
    assert not any(module.training for module in average.network.modules())
    assert all(each.grad is None for each in average.network.parameters())
    assert not any(each.requires_grad for each in average.network.parameters())
    theirs = {each.data_ptr() for each in network.state_dict().values()}
    assert not theirs & {each.data_ptr() for each in average.state_dict().values()}
    layouts = [[each.stride() for each in n.parameters()] for n in (network, average.network)]
    assert layouts[0] == layouts[1]
    average.update(network)  # a network of each kind can be averaged
    for name, tensor in average.state_dict().items():
        torch.testing.assert_close(tensor, network.state_dict()[name])


def test_the_trained_network_is_not_touched() -> None:
    alone, followed = tiny("srresnet"), tiny("srresnet")
    torch.manual_seed(1)
    expected = list(train(alone, 3))
    average = MovingAverage(followed, 0.5)
    torch.manual_seed(1)
    for state, plain in zip(train(followed, 3), expected, strict=True):
        gradients = [each.grad.clone() for each in followed.parameters()]
        average.update(followed)
        assert same(followed.state_dict(), plain) and same(state, plain)
        kept = [each.grad for each in followed.parameters()]
        assert all(map(torch.equal, gradients, kept))
        assert all(module.training for module in followed.modules())
        assert all(each.requires_grad for each in followed.parameters())


def test_tied_weights_stay_tied() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].weight = network[0].weight
    average = MovingAverage(network, 0.5)
    before = network[0].weight.detach().clone()
    with torch.no_grad():
        network[0].weight += 1
    average.update(network)
    assert average.network[0].weight is average.network[1].weight
    torch.testing.assert_close(average.network[0].weight.data, before + 0.5)  # once, not twice


def test_a_state_goes_on_to_the_bit() -> None:
    network = tiny("srresnet")
    average = MovingAverage(network, 0.9)
    for _ in train(network, 2):
        average.update(network)
    other = MovingAverage(tiny("srresnet", seed=1), 0.9)
    other.load_state_dict(copied(average.state_dict()))
    assert same(other.state_dict(), average.state_dict())
    for _ in train(network, 2):
        average.update(network)
        other.update(network)
    assert same(other.state_dict(), average.state_dict())
