"""Networks and bicubic as restorers: RGB in, RGB out, and Y where it is theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from srprune.core.restorer import LumaRestorer, Restorer  # noqa: E402
from srprune.images import bicubic, tensor  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.models.restorer import BicubicRestorer, restorer_of  # noqa: E402

SCALES = (2, 3, 4)


def lr_bytes(batch: int = 2) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (batch, 7, 9, 3), dtype=np.uint8)


def as_tensor(images_BHWC: np.ndarray, dtype: Any = None) -> Any:
    x = torch.from_numpy(images_BHWC).permute(0, 3, 1, 2)
    return x.to(dtype or torch.float32) / 255


def network_restorer(model: str, channels: str, scale: int = 2) -> Any:
    torch.manual_seed(2)
    args = {"channels": channels} | ({"init": "he"} if model == "srcnn" else {})
    network, domain = build(model, scale, args)
    return restorer_of("tiny", network, domain, "0123456789abcdef")


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_rgb_is_the_eight_bit_resize(scale: int) -> None:
    images = lr_bytes()
    sr = BicubicRestorer(scale)(as_tensor(images))
    expected = np.stack([bicubic.upscale(image, scale) for image in images])
    assert torch.equal(sr, as_tensor(expected))
    assert torch.equal(tensor.round_uint8(sr).permute(0, 2, 3, 1), torch.from_numpy(expected))


def test_bicubic_rgb_rounds_and_clips_its_input() -> None:
    x = torch.tensor([-0.3, 0.4 / 255, 0.5 / 255, 1.7]).view(1, 1, 1, 4).expand(1, 3, 4, 4)
    clean = torch.tensor([0.0, 0.0, 1 / 255, 1.0]).view(1, 1, 1, 4).expand(1, 3, 4, 4)
    assert torch.equal(BicubicRestorer(2)(x), BicubicRestorer(2)(clean))


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_luma_is_the_unrounded_resize(scale: int) -> None:
    y = np.random.default_rng(5).random((2, 1, 6, 5))
    sr = BicubicRestorer(scale).luma(torch.from_numpy(y))
    assert sr.dtype == torch.float64
    expected = np.stack([bicubic.upscale(image[0], scale)[None] for image in y])
    np.testing.assert_allclose(sr.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("model", ["srcnn", "fsrcnn"])
def test_network_on_y_takes_colour_from_bicubic(model: str, scale: int) -> None:
    restorer = network_restorer(model, "y", scale)
    lr = as_tensor(lr_bytes())
    sr = restorer(lr)
    assert sr.shape == (2, 3, 7 * scale, 9 * scale)
    ycbcr, lr_ycbcr = tensor.rgb_to_ycbcr(sr), tensor.rgb_to_ycbcr(lr)
    colour = tensor.upscale(lr_ycbcr[:, 1:], scale)
    assert torch.allclose(ycbcr[:, 1:], colour, rtol=0, atol=1e-5)
    luma = restorer.luma(lr_ycbcr[:, :1])
    assert torch.allclose(ycbcr[:, :1], luma, rtol=0, atol=1e-5)
    assert not torch.allclose(luma, tensor.upscale(lr_ycbcr[:, :1], scale), rtol=0, atol=1e-3)


@pytest.mark.parametrize("model", ["srcnn", "fsrcnn"])
def test_network_on_y_computes_y_of_the_enlarged_or_of_lr(model: str) -> None:
    restorer = network_restorer(model, "y")
    y = tensor.rgb_to_y(as_tensor(lr_bytes()))
    x = tensor.upscale(y, 2) if model == "srcnn" else y
    with torch.inference_mode():
        assert torch.allclose(restorer.luma(y), restorer.network(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", ["srcnn", "fsrcnn"])
def test_network_on_rgb_gives_what_the_network_gives(model: str) -> None:
    restorer = network_restorer(model, "rgb")
    lr = as_tensor(lr_bytes())
    x = tensor.upscale(lr, 2) if model == "srcnn" else lr
    with torch.inference_mode():
        assert torch.allclose(restorer(lr), restorer.network(x), rtol=0, atol=1e-6)


def test_nothing_is_clipped() -> None:
    restorer = network_restorer("srcnn", "rgb")
    restorer.network.conv3.bias.data += 5
    assert restorer(as_tensor(lr_bytes())).min() > 1


def test_luma_of_doubles_is_computed_in_the_network_s_dtype() -> None:
    restorer = network_restorer("fsrcnn", "y")
    y = tensor.rgb_to_y(as_tensor(lr_bytes(), torch.float64))
    sr = restorer.luma(y)
    assert sr.dtype == torch.float64
    assert torch.equal(sr, restorer.luma(y.float()).double())


def test_who_keeps_to_which_protocol() -> None:
    of_y, of_rgb = network_restorer("fsrcnn", "y"), network_restorer("fsrcnn", "rgb")
    plain = BicubicRestorer(3)
    assert all(isinstance(r, Restorer) for r in (plain, of_y, of_rgb))
    assert [isinstance(r, LumaRestorer) for r in (plain, of_y, of_rgb)] == [True, True, False]
    assert (plain.name, plain.scale, plain.fingerprint) == ("bicubic", 3, "bicubic")
    assert (of_y.name, of_y.scale, of_y.fingerprint) == ("tiny", 2, "0123456789abcdef")


def test_networks_restore_in_evaluation_mode_without_gradients() -> None:
    for channels in ("y", "rgb"):
        restorer = network_restorer("srcnn", channels)
        assert not restorer.network.training
        assert not restorer(as_tensor(lr_bytes())).requires_grad
