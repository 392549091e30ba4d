"""Layers that several networks share."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402

from srprune.images import tensor  # noqa: E402
from srprune.models import paths  # noqa: E402
from srprune.models.layers import (  # noqa: E402
    BicubicSkip,
    MeanShift,
    PhaseConvTranspose2d,
    ShuffleUpsampler,
    scale_of,
    shuffle_reach,
)

every_scale = pytest.mark.parametrize("scale", [2, 3, 4])


@every_scale
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3), (9, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_skip_is_the_one_bicubic(scale: int, size: tuple[int, int], dtype: torch.dtype) -> None:
    x = torch.rand(2, 3, *size, dtype=dtype)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    found = BicubicSkip(scale)(x)
    assert found.dtype == dtype
    assert torch.allclose(found, tensor.upscale(x, scale), rtol=0, atol=tolerance)


def test_the_skip_keeps_its_precision_under_autocast() -> None:
    x = torch.rand(1, 1, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(BicubicSkip(2)(x), BicubicSkip(2)(x.clone()))
        assert torch.allclose(BicubicSkip(2)(x), tensor.upscale(x, 2), rtol=0, atol=1e-6)


# FSRCNN's last layer, IDN's at each scale, and one whose phases are lopsided.
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(9, 2, 4), (9, 3, 4), (9, 4, 4), (17, 2, 7), (17, 3, 6), (17, 4, 5), (5, 3, 0), (4, 2, 1)],
)
@pytest.mark.parametrize("by_phase", [True, False])
def test_a_transposed_convolution_by_phase_is_the_same(
    kernel: int, stride: int, padding: int, by_phase: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "phase_convolution", lambda x: by_phase)
    torch.manual_seed(0)
    layer = PhaseConvTranspose2d(5, 3, kernel, stride, padding).double()
    x = torch.rand(2, 5, 6, 7, dtype=torch.float64)
    found = layer(x)
    assert found.shape == (2, 3, 6 * stride, 7 * stride)
    # The full transposed convolution, zeros behind it, cut where ours begins.
    full = F.pad(F.conv_transpose2d(x, layer.weight, layer.bias, stride), (0, 9, 0, 9))
    reached = (6 - 1) * stride + kernel - padding, (7 - 1) * stride + kernel - padding
    rows, columns = (min(r, n * stride) for r, n in zip(reached, (6, 7), strict=True))
    wanted = full[:, :, padding : padding + rows, padding : padding + columns]
    assert torch.allclose(found[:, :, :rows, :columns], wanted, rtol=0, atol=1e-12)


def test_both_ways_have_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = PhaseConvTranspose2d(4, 2, 9, 3, 4).double()
    grads = []
    for by_phase in (True, False):
        monkeypatch.setattr(paths, "phase_convolution", lambda x, way=by_phase: way)
        x = torch.linspace(0, 1, 4 * 30, dtype=torch.float64).view(1, 4, 5, 6).requires_grad_()
        layer.zero_grad()
        layer(x).square().sum().backward()
        grads.append([x.grad, *(p.grad.clone() for p in layer.parameters())])
    for one, other in zip(*grads, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def test_its_weights_are_those_of_the_layer_of_torch() -> None:
    torch.manual_seed(0)
    ours = PhaseConvTranspose2d(4, 2, 9, 2, 4)
    theirs = torch.nn.ConvTranspose2d(4, 2, 9, 2, 4, output_padding=1)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.rand(1, 4, 5, 6)
    assert torch.allclose(ours(x), theirs(x), rtol=0, atol=1e-6)


@every_scale
def test_the_upsampler_tells_its_scale(scale: int) -> None:
    upsampler = ShuffleUpsampler(8, scale)
    assert upsampler(torch.rand(1, 8, 3, 4)).shape == (1, 8, 3 * scale, 4 * scale)
    state = {f"tail.0.{name}": value for name, value in upsampler.state_dict().items()}
    assert scale_of(state, "tail.0") == scale
    assert ("tail.0.2.weight" in state) == (scale == 4)


@every_scale
def test_reach_of_upsampler_and_tail_is_measured(scale: int) -> None:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        ShuffleUpsampler(4, scale), torch.nn.Conv2d(4, 1, 3, padding=1)
    ).double()
    x = torch.rand(1, 4, 40, 9, dtype=torch.float64)
    with torch.inference_mode():
        apart = (layers(x[:, :, :20]) - layers(x)[:, :, : 20 * scale]).abs()[0, 0].amax(1)
    spoiled = int((apart > 1e-12).sum())
    assert spoiled <= shuffle_reach(scale) < spoiled + scale


def test_mean_shift_takes_off_the_mean_colour_in_its_range() -> None:
    x = torch.rand(1, 3, 2, 2)
    mean = torch.tensor([0.4488, 0.4371, 0.4040])[:, None, None]
    assert torch.allclose(MeanShift("rgb", 255, -1)(255 * x), 255 * (x - mean), atol=1e-4)
    back = MeanShift("rgb", 255, 1)(MeanShift("rgb", 255, -1)(x))
    assert torch.allclose(back, x, atol=1e-4)
    assert list(MeanShift("rgb", 255, 1).parameters()) == []
    y = torch.rand(1, 1, 2, 2)
    assert torch.equal(MeanShift("y", 255, 1)(y), y)
