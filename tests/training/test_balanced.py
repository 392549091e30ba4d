"""BDLoss against a slow rendering of the printed equation, and where its value is known."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

torch = pytest.importorskip("torch")
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import srprune.training.balanced as balanced  # noqa: E402
from srprune.training.balanced import SIGMA_FLOOR, BalancedLoss  # noqa: E402
from srprune.training.mixture import Mixture  # noqa: E402

no_deadline = settings(deadline=None, max_examples=25)


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def mixture_of(dimension: int, components: int = 3, seed: int = 0, width: float = 0.2) -> Mixture:
    """A mixture of full covariances with standard deviations of about ``width``."""
    rng = np.random.default_rng(seed)
    roots_LDD = width * rng.normal(size=(components, dimension, dimension))
    covariances_LDD = roots_LDD @ roots_LDD.transpose(0, 2, 1) + 1e-4 * np.eye(dimension)
    weights_L = rng.random(components) + 0.1
    means_LD = rng.random((components, dimension))
    return Mixture(weights_L / weights_L.sum(), means_LD, covariances_LDD)


def one(mean: float, variance: float) -> Mixture:
    return Mixture(np.ones(1), np.array([[mean]]), np.array([[[variance]]]))


def pair(*shape: int, seed: int = 0, error: float = 0.1) -> tuple[Tensor, Tensor]:
    """Output and target, in the default precision."""
    random = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=random, dtype=torch.float64)
    output = target + error * torch.randn(shape, generator=random, dtype=torch.float64)
    return output.to(torch.get_default_dtype()), target.to(torch.get_default_dtype())


def as_printed(output: np.ndarray, target: np.ndarray, mixture: Mixture, sigma: float) -> float:
    """Equation 14 without the penalty, mean over pixels; not multiplied by 2 sigma^2."""
    dimension = mixture.dimension
    noise_DD = sigma**2 * np.eye(dimension)
    if dimension == 3:
        output, target = (each.transpose(0, 2, 3, 1) for each in (output, target))
    output_PD, target_PD = (each.reshape(-1, dimension) for each in (output, target))
    noise_P = multivariate_normal(np.zeros(dimension), noise_DD).logpdf(target_PD - output_PD)
    density_P = sum(
        phi * multivariate_normal(mu_D, sigma_DD + noise_DD).pdf(output_PD)
        for phi, mu_D, sigma_DD in zip(
            mixture.weights_L, mixture.means_LD, mixture.covariances_LDD, strict=True
        )
    )
    return float(np.mean(-noise_P + np.log(density_P)))


def by_differences(
    output: np.ndarray, target: np.ndarray, mixture: Mixture, sigma: float
) -> tuple[np.ndarray, float]:
    """Gradients of :func:`as_printed` in the output and in log sigma, by central differences."""
    step, gradient = 1e-5, np.zeros_like(output)
    for place in np.ndindex(output.shape):
        ends = []
        for sign in (1, -1):
            moved = output.copy()
            moved[place] += sign * step
            ends.append(as_printed(moved, target, mixture, sigma))
        gradient[place] = (ends[0] - ends[1]) / (2 * step)
    up, down = (
        as_printed(output, target, mixture, sigma * math.exp(sign * step)) for sign in (1, -1)
    )
    return gradient, (up - down) / (2 * step)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("dimension", [1, 3])
@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5])
def test_value_and_gradients_are_those_of_the_equation(dimension: int, sigma: float) -> None:
    mixture = mixture_of(dimension)
    output, target = pair(2, 3, 2, 2)
    loss = BalancedLoss(mixture, sigma=sigma)
    output.requires_grad_()
    value = loss(output, target)
    value.backward()
    arrays = output.detach().numpy(), target.numpy()
    factor = 2 * sigma**2
    assert value.item() == pytest.approx(factor * as_printed(*arrays, mixture, sigma), rel=1e-10)
    of_output, of_log_sigma = by_differences(*arrays, mixture, sigma)
    np.testing.assert_allclose(output.grad.numpy(), factor * of_output, rtol=1e-5, atol=1e-9)
    # 2 sigma^2 is held fixed: the derivative of the equation, times the factor
    assert loss.log_sigma.grad.item() == pytest.approx(factor * of_log_sigma, rel=1e-5)


@pytest.mark.usefixtures("in_float64")
@no_deadline
@given(
    dimension=st.sampled_from([1, 3]),
    components=st.integers(1, 9),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    sigma=st.floats(0.005, 2),
    seed=st.integers(0, 99),
)
def test_any_shape_and_mixture_is_the_equation(
    dimension: int, components: int, shape: tuple[int, int, int], sigma: float, seed: int
) -> None:
    mixture = mixture_of(dimension, components, seed)
    batch, height, width = shape
    output, target = pair(batch, 3, height, width, seed=seed)
    loss = BalancedLoss(mixture, sigma=sigma)
    expected = 2 * sigma**2 * as_printed(output.numpy(), target.numpy(), mixture, sigma)
    assert loss(output, target).item() == pytest.approx(expected, rel=1e-8, abs=1e-10)
    by_crop_B = loss.by_crop(output, target)
    assert by_crop_B.shape == (batch,)
    last = loss(output[-1:], target[-1:])
    assert by_crop_B[-1].item() == pytest.approx(last.item(), rel=1e-8, abs=1e-10)
    assert by_crop_B.mean().item() == pytest.approx(expected, rel=1e-8, abs=1e-10)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("dimension", [1, 3])
def test_autograd_agrees_with_differences_of_the_loss_itself(dimension: int) -> None:
    output, _ = pair(2, 3, 2, 3)
    columns = output.reshape(1, -1) if dimension == 1 else output.movedim(1, 0).reshape(3, -1)
    loss = BalancedLoss(mixture_of(dimension), learn_sigma=False)
    variance = torch.tensor(0.01, requires_grad=True)
    constants = loss._mixture()
    assert torch.autograd.gradcheck(
        lambda values_DP, s: balanced._LogRatio.apply(values_DP, s, *constants),
        (columns.clone().requires_grad_(), variance),
    )


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("dimension", [1, 3])
def test_under_a_flat_mixture_it_is_mse(dimension: int) -> None:
    """All values are as frequent: nothing to push away from."""
    output, target = pair(2, 3, 4, 4)
    flat = Mixture(np.ones(1), np.zeros((1, dimension)), 1e9 * np.eye(dimension)[None])
    loss = BalancedLoss(flat, sigma=0.1)
    output.requires_grad_()
    value = loss(output, target)
    value.backward()
    mse = F.mse_loss(output.detach(), target).item() * dimension
    constant = -dimension * 0.1**2 * math.log1p(1e9 / 0.1**2)  # the flat density itself
    assert value.item() == pytest.approx(mse + constant, rel=1e-9)
    expected = 2 * (output.detach() - target) / (output.numel() / dimension)
    torch.testing.assert_close(output.grad, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("dimension", [1, 3])
def test_without_noise_it_is_mse(dimension: int) -> None:
    """sigma -> 0: 2 sigma^2 times a finite log of the mixture's density is nothing."""
    output, target = pair(2, 3, 4, 4)
    output.requires_grad_()
    value = BalancedLoss(mixture_of(dimension), sigma=1e-6)(output, target)
    value.backward()
    mse = dimension * F.mse_loss(output.detach(), target).item()
    assert value.item() == pytest.approx(mse, abs=1e-9)
    expected = 2 * (output.detach() - target) / (output.numel() / dimension)
    torch.testing.assert_close(output.grad, expected, rtol=1e-4, atol=1e-8)


@pytest.mark.usefixtures("in_float64")
def test_one_component_under_endless_noise() -> None:
    """2S [e^2/2S - log1p(v/S)/2 - d^2/2(v+S)] -> e^2 - v - d^2, e = y - y^ and d = y^ - mu.

    The squares of y^ cancel: its gradient, 2 (mu - y), no longer depends on it.
    """
    output, target = pair(2, 1, 4, 4)
    output.requires_grad_()
    value = BalancedLoss(one(0.4, 0.06), sigma=1e4)(output, target)
    value.backward()
    made = output.detach()
    expected = ((target - made).square() - 0.06 - (made - 0.4).square()).mean()
    assert value.item() == pytest.approx(expected.item(), abs=1e-6)
    torch.testing.assert_close(output.grad, 2 * (0.4 - target) / 32, rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("in_float64")
@given(y=st.floats(0, 1), variance=st.floats(0.001, 0.1), sigma=st.floats(0.01, 0.3))
@no_deadline
def test_one_component_is_least_beyond_the_target(y: float, variance: float, sigma: float) -> None:
    """At mu + (y - mu)(1 + s^2 / v): what the noise shrinks towards the mean, it stretches."""
    best = 0.4 + (y - 0.4) * (1 + sigma**2 / variance)
    output = torch.full((1, 1, 1, 1), best, requires_grad=True)
    BalancedLoss(one(0.4, variance), sigma=sigma)(output, torch.full((1, 1, 1, 1), y)).backward()
    assert output.grad.item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize(("value", "sign"), [(0.25, 1), (0.35, -1), (0.75, 1), (0.85, -1)])
def test_it_pushes_away_from_frequent_values(value: float, sign: int) -> None:
    """Two narrow peaks at 0.3 and 0.8; at a perfect output only the push is left."""
    mixture = Mixture(np.array([0.5, 0.5]), np.array([[0.3], [0.8]]), np.full((2, 1, 1), 0.05**2))
    output = torch.full((1, 1, 2, 2), value, requires_grad=True)
    BalancedLoss(mixture, sigma=0.05)(output, output.detach()).backward()
    assert (output.grad.sign() == sign).all()  # descent goes against the gradient


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("sigma", [0.03, 0.2])
def test_colours_of_independent_channels_are_the_sum_of_values(sigma: float) -> None:
    """One component with a diagonal covariance: the density of a colour is a product."""
    output, target = pair(2, 3, 4, 4)
    means_D, variances_D = np.array([0.3, 0.5, 0.6]), np.array([0.01, 0.04, 0.09])
    colour = BalancedLoss(
        Mixture(np.ones(1), means_D[None], np.diag(variances_D)[None]), sigma=sigma
    )
    values = [
        BalancedLoss(one(mean, variance), sigma=sigma)(output[:, c : c + 1], target[:, c : c + 1])
        for c, (mean, variance) in enumerate(zip(means_D, variances_D, strict=True))
    ]
    assert colour(output, target).item() == pytest.approx(sum(values).item(), rel=1e-10)


@pytest.mark.usefixtures("in_float64")
def test_turning_colours_and_mixture_alike_changes_nothing() -> None:
    """Full covariances: the loss knows no axes of its own."""
    output, target = pair(2, 3, 4, 4)
    mixture = mixture_of(3)
    turn_DD, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turned = Mixture(
        mixture.weights_L,
        mixture.means_LD @ turn_DD.T,
        turn_DD @ mixture.covariances_LDD @ turn_DD.T,
    )
    made, wanted = (
        torch.einsum("ij,bjhw->bihw", torch.from_numpy(turn_DD), each) for each in (output, target)
    )
    expected = BalancedLoss(mixture)(output, target).item()
    assert BalancedLoss(turned)(made, wanted).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("dimension", [1, 3])
@pytest.mark.parametrize("sigma", [1e-3, 0.03, 0.3])
@pytest.mark.parametrize("far", [0.0, 5.0])
def test_float32_is_float64_to_rounding(dimension: int, sigma: float, far: float) -> None:
    """Spikes nearly as narrow as 8-bit rounding, a small sigma, values far from every mean."""
    mixture = mixture_of(dimension, 8, width=0.01)
    mixture.covariances_LDD[1:] /= 50
    output, target = pair(4, 3, 16, 16, error=0.03)
    output = output + far
    results = []
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        loss = BalancedLoss(mixture, sigma=sigma)
        torch.set_default_dtype(torch.float32)
        made = output.to(dtype).detach().clone().requires_grad_()
        value = loss(made, target.to(dtype))
        value.backward()
        results.append([value.detach(), made.grad * output.numel(), loss.log_sigma.grad])
    for single, double in zip(*results, strict=True):
        assert single.dtype == torch.float32 and single.isfinite().all()
        torch.testing.assert_close(single.double(), double, rtol=2e-4, atol=2e-5)


def test_a_value_far_from_every_narrow_peak_has_a_finite_log() -> None:
    """The density is 0 in any float: exp(-d^2 / 2v) = exp(-10^8)."""
    sigma, mixture = 1e-3, one(0.5, 1e-6)
    output = torch.full((1, 1, 1, 1), 20.5)
    expected = 2 * sigma**2 * norm(0.5, math.sqrt(1e-6 + sigma**2)).logpdf(20.5)
    expected -= 2 * sigma**2 * norm(0, sigma).logpdf(0)
    value = BalancedLoss(mixture, sigma=sigma)(output, output)
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize("dimension", [1, 3])
def test_piece_by_piece_is_the_same_as_whole(
    dimension: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for chunk in (1 << 20, 100):
        monkeypatch.setattr(balanced, "CHUNK", chunk)
        output, target = pair(2, 3, 7, 5)
        loss = BalancedLoss(mixture_of(dimension))
        value = loss(output.requires_grad_(), target)
        value.backward()
        by_crop_B = loss.by_crop(output, target)
        results.append((value.detach(), output.grad, loss.log_sigma.grad, by_crop_B))
    for whole, pieces in zip(*results, strict=True):
        torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dimension", [1, 3])
def test_channels_last_changes_nothing(dimension: int) -> None:
    output, target = pair(2, 3, 6, 4)
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        loss = BalancedLoss(mixture_of(dimension))
        made = output.contiguous(memory_format=memory_format).detach().requires_grad_()
        loss(made, target.contiguous(memory_format=memory_format)).backward()
        results.append(made.grad)
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-9)


def test_the_penalty_is_the_norm_of_all_weights_and_not_its_square() -> None:
    output, target = pair(1, 1, 4, 4)
    layer = nn.Conv2d(1, 2, 3)
    weights = list(layer.parameters())
    norm_of_all = math.sqrt(sum(w.detach().square().sum().item() for w in weights))
    plain = BalancedLoss(mixture_of(1))
    loss = BalancedLoss(mixture_of(1), penalty=0.5, weights=weights)
    value = loss(output, target)
    assert value.item() - plain(output, target).item() == pytest.approx(0.5 * norm_of_all, rel=1e-5)
    value.backward()
    torch.testing.assert_close(layer.weight.grad, 0.5 * layer.weight.detach() / norm_of_all)
    assert loss.by_crop(output, target).item() == pytest.approx(plain(output, target).item())
    assert [name for name, _ in loss.named_parameters()] == ["log_sigma"]  # not the network's


def test_sigma_is_a_parameter_or_stays_what_it_is() -> None:
    learned, fixed = BalancedLoss(mixture_of(1)), BalancedLoss(mixture_of(1), learn_sigma=False)
    assert len(list(learned.parameters())) == 1 and list(fixed.parameters()) == []
    assert learned.sigma().item() == pytest.approx(0.03) == fixed.sigma().item()
    output, target = pair(2, 3, 4, 4)
    values = [loss(output.requires_grad_(), target) for loss in (learned, fixed)]
    assert values[0].item() == values[1].item()
    values[1].backward()
    assert fixed.log_sigma.grad is None and output.grad is not None
    # the mixture has a file of its own: a checkpoint holds sigma alone
    assert list(learned.state_dict()) == list(fixed.state_dict()) == ["log_sigma"]


@pytest.mark.usefixtures("in_float64")
def test_sigma_learns_the_error_where_nothing_is_frequent() -> None:
    """Under a flat mixture the likeliest sigma is the root of the mean squared error."""
    output, target = pair(2, 1, 16, 16, error=0.03)
    loss = BalancedLoss(one(0, 1e9), sigma=0.1)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss(output, target).backward()
        optimizer.step()
    expected = F.mse_loss(output, target).sqrt().item()
    assert loss.sigma().item() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("sigma", "collapsed"),
    [(0.1, False), (1e-3, False), (SIGMA_FLOOR * 1.01, False), (SIGMA_FLOOR * 0.99, True),
     (1e-30, True), (math.inf, True), (math.nan, True)],
)  # fmt: skip
def test_a_sigma_below_what_8_bits_tell_has_collapsed(sigma: float, collapsed: bool) -> None:
    loss = BalancedLoss(mixture_of(1))
    with torch.no_grad():
        loss.log_sigma.fill_(math.log(sigma))
    fault = loss.fault()
    assert (fault is not None) is collapsed
    if fault:
        finite = "has collapsed to" if math.isfinite(sigma) else "is no longer finite"
        assert fault.what.startswith(f"sigma of the loss bd {finite}")


def test_a_perfect_output_makes_sigma_collapse() -> None:
    """What the check is for: with no error left, each step makes sigma smaller."""
    _, target = pair(1, 1, 8, 8)
    loss = BalancedLoss(mixture_of(1), sigma=2e-4)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        loss(target, target).backward()
        optimizer.step()
    assert loss.fault() is not None


def test_a_mixture_of_colours_is_not_for_luma() -> None:
    output, target = pair(3, 1, 4, 4)
    with pytest.raises(AssertionError, match="no RGB"):
        BalancedLoss(mixture_of(3))(output, target)


@pytest.mark.filterwarnings("ignore:.* should not be instantiated:DeprecationWarning")  # torch 2.6
def test_it_is_one_graph_for_the_compiler() -> None:
    """No synchronisation, no shape that depends on values: what CUDA graphs ask for, too."""
    torch.compiler.reset()
    output, target = pair(2, 3, 5, 4)
    results = []
    loss = BalancedLoss(mixture_of(3))
    for call in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True)):
        loss.zero_grad()
        made = output.clone().requires_grad_()
        value = call(made, target)
        value.backward()
        results.append((value.detach(), made.grad, loss.log_sigma.grad.clone()))
    for plain, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-7)
