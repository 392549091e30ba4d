"""The torch twin: equal to numpy, differentiable, and the same whatever the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import InputError
from srprune.images import bicubic, color

torch = pytest.importorskip("torch")
tensor = pytest.importorskip("srprune.images.tensor")

RESIZES = ("downscale", "upscale")
SCALES = (2, 3, 4)
BORDERS = ("symmetric", "replicate")


def batch(*shape: int, dtype: Any = None) -> Any:
    """Random colours in 0..1, the same in every run."""
    values = np.random.default_rng(7).random(shape)
    return torch.from_numpy(values).to(dtype or torch.float64)


def by_image(function: Callable[..., Any], x: Any, *args: Any) -> Any:
    """A numpy function of (H, W, C) applied to each image of (B, C, H, W)."""
    return np.stack([function(i.permute(1, 2, 0).numpy(), *args).transpose(2, 0, 1) for i in x])


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(RESIZES),
    st.sampled_from((*SCALES, 5)),
    st.sampled_from(BORDERS),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_resizing_equals_numpy(name: str, scale: int, border: str, steps: tuple[int, int]) -> None:
    x = batch(2, 3, steps[0] * scale, steps[1] * scale)
    ours, theirs = getattr(tensor, name), getattr(bicubic, name)
    expected = by_image(theirs, x, scale, border)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        result = ours(x.to(dtype), scale, border=border)
        assert result.dtype == dtype
        np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", RESIZES)
def test_indices_go_to_the_device_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they came there without gradients, and are wanted with them."""
    resize = getattr(tensor, name)
    with torch.inference_mode():
        expected = resize(batch(1, 1, 26, 34), 2)
    monkeypatch.delattr("torch.from_numpy")
    x = torch.tensor(np.random.default_rng(7).random((1, 1, 26, 34))).requires_grad_()
    found = resize(x, 2)
    found.sum().backward()
    assert torch.equal(found, expected) and x.grad.isfinite().all()


@pytest.mark.parametrize("name", RESIZES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("border", BORDERS)
def test_resizing_gradient(name: str, scale: int, border: str) -> None:
    x = batch(1, 2, 2 * scale, scale).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: getattr(tensor, name)(v, scale, border), x)


@pytest.mark.parametrize("name", RESIZES)
def test_neighbours_in_the_batch_change_nothing(name: str) -> None:
    x = batch(8, 3, 48, 96, dtype=torch.float32)
    resize = getattr(tensor, name)
    together = resize(x, 2)
    assert all(torch.equal(together[i : i + 1], resize(x[i : i + 1], 2)) for i in range(8))


def test_resizing_errors() -> None:
    with pytest.raises(InputError, match="crop both to multiples"):
        tensor.downscale(batch(1, 1, 5, 4), 2)
    with pytest.raises(InputError, match="2 or more"):
        tensor.upscale(batch(1, 1, 4, 4), 1)
    with pytest.raises(InputError, match="without pixels"):
        tensor.upscale(batch(0, 1, 4, 4), 2)
    with pytest.raises(TypeError, match="float32 or float64"):
        tensor.upscale(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), 2)
    with pytest.raises(ValueError, match="border must be"):
        tensor.upscale(batch(1, 1, 4, 4), 2, border="reflect")


@pytest.mark.parametrize("name", ["rgb_to_ycbcr", "ycbcr_to_rgb"])
def test_colour_equals_numpy(name: str) -> None:
    x = batch(2, 3, 4, 5)
    ours, theirs = getattr(tensor, name), getattr(color, name)
    expected = by_image(theirs, x * 255) / 255
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        result = ours(x.to(dtype))
        assert result.dtype == dtype
        np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=tolerance)


def test_luma() -> None:
    x = batch(2, 3, 4, 5)
    y = tensor.rgb_to_y(x)
    assert y.shape == (2, 1, 4, 5)
    assert torch.allclose(y, tensor.rgb_to_ycbcr(x)[:, :1], rtol=0, atol=1e-12)
    single = tensor.rgb_to_y(x.float())
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), y, rtol=0, atol=1e-6)
    black_and_white = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(1, 3, 1, 2)
    expected = torch.tensor([[[[16 / 255, 235 / 255]]]], dtype=torch.float64)
    assert torch.allclose(tensor.rgb_to_y(black_and_white), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["rgb_to_y", "rgb_to_ycbcr", "ycbcr_to_rgb"])
def test_colour_gradient(name: str) -> None:
    x = batch(1, 3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(getattr(tensor, name), x)


def test_bytes_come_back_from_floats() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 8, 2)
    floats = tensor.from_uint8(pixels)
    assert (floats.shape, floats.dtype) == ((1, 2, 16, 8), torch.float32)
    assert (floats.min(), floats.max()) == (0, 1)
    assert torch.equal(tensor.round_uint8(floats).permute(0, 2, 3, 1), pixels)


def test_round_uint8() -> None:
    bytes_ = torch.arange(256, dtype=torch.uint8)
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(tensor.round_uint8(bytes_.to(dtype) / 255), bytes_)
    halves = torch.tensor([-0.2, 0.5 / 255, 1.5 / 255, 2.49 / 255, 1.2], dtype=torch.float64)
    assert tensor.round_uint8(halves).tolist() == [0, 1, 2, 2, 255]


def test_bytes_resized_once_rounded_are_near_the_two_step_bytes() -> None:
    """Without the rounding between the passes about one pixel in eight differs, by very little."""
    image = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255
    once = tensor.round_uint8(tensor.downscale(x, 2))[0].permute(1, 2, 0).numpy()
    apart = np.abs(once.astype(int) - bicubic.downscale(image, 2))
    assert apart.max() <= 2
    assert 0.02 < (apart > 0).mean() < 0.3
