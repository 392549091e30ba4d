"""Networks and bicubic as restorers: RGB in, RGB out, and Y where it is theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from srprune.core.errors import InputError  # noqa: E402
from srprune.core.restorer import LumaRestorer, Restorer  # noqa: E402
from srprune.images import bicubic, tensor  # noqa: E402
from srprune.models.build import build  # noqa: E402
from srprune.models.domain import Domain  # noqa: E402
from srprune.models.fsrcnn import FSRCNN  # noqa: E402
from srprune.models.restorer import BicubicRestorer, restorer_of  # noqa: E402
from srprune.models.srcnn import SRCNN  # noqa: E402

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


# --- what a network takes -----------------------------------------------------------------------


class Picky(FSRCNN):
    spec = replace(FSRCNN.spec, minimum=8, multiple=8)


class PickyEnlarged(SRCNN):
    spec = replace(SRCNN.spec, minimum=9, multiple=6)


@pytest.mark.parametrize("planes", [1, 2, 4])
@pytest.mark.parametrize("channels", ["y", "rgb"])
def test_other_than_three_channels_are_refused(channels: str, planes: int) -> None:
    with pytest.raises(
        InputError, match=rf"\(1, {planes}, 7, 9\); it restores RGB, \(B, 3, h, w\)"
    ):
        network_restorer("fsrcnn", channels)(torch.rand(1, planes, 7, 9))


def test_luma_takes_one_channel() -> None:
    with pytest.raises(InputError, match=r"\(1, 3, 7, 9\); it restores Y, \(B, 1, h, w\)"):
        network_restorer("fsrcnn", "y").luma(torch.rand(1, 3, 7, 9))


def test_an_image_without_a_batch_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(3, 7, 9\); it restores RGB"):
        network_restorer("fsrcnn", "rgb")(torch.rand(3, 7, 9))


@pytest.mark.parametrize("size", [(7, 20), (20, 7)])
def test_a_side_below_the_minimum_is_refused(size: tuple[int, int]) -> None:
    restorer = restorer_of("picky", Picky(scale=2), Domain("y", False, 2), "0")
    said = f"the image has {size[1]}x{size[0]} px at LR; picky takes at least 8 px a side."
    for restore, planes in ((restorer, 3), (restorer.luma, 1)):
        with pytest.raises(InputError) as caught:
            restore(torch.rand(1, planes, *size))
        assert str(caught.value) == said
    assert restorer(torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize(
    ("scale", "minimum", "multiple"), [(2, 5, 3), (3, 3, 2), (4, 3, 3)]
)  # 9 px and 6 px of the enlarged image
def test_limits_of_a_pre_upsampled_network_are_told_in_lr_px(
    scale: int, minimum: int, multiple: int
) -> None:
    domain = Domain("y", True, scale)
    restorer = restorer_of("picky", PickyEnlarged(scale=scale), domain, "0")
    assert (restorer.minimum, restorer.multiple) == (minimum, multiple)
    assert restorer(torch.rand(1, 3, minimum, 20)).shape[2] == scale * minimum
    with pytest.raises(InputError, match=f"takes at least {minimum}"):
        restorer(torch.rand(1, 3, minimum - 1, 20))


# --- how far it sees ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "args", "scale", "radius"),
    [
        ("fsrcnn", {}, 2, 8),  # 2 + 4 of the convs, 2 of the last layer
        ("fsrcnn", {"m": 1}, 3, 5),
        ("srcnn", {}, 2, 5),  # (6 + 4) / 2
        ("srcnn", {}, 4, 4),  # (6 + 8) / 4, rounded up
        ("srcnn", {"variant": "9-5-5"}, 3, 5),  # (8 + 6) / 3, rounded up
    ],
)
def test_radius_counts_rim_and_bicubic_in_lr_px(
    model: str, args: dict[str, Any], scale: int, radius: int
) -> None:
    network, domain = build(model, scale, args)
    assert restorer_of("tiny", network, domain, "0").radius == radius


def test_a_network_that_sees_all_or_says_nothing_has_no_radius() -> None:
    class Global(FSRCNN):
        spec = replace(FSRCNN.spec, sees_all=True)

    domain = Domain("rgb", False, 2)
    assert restorer_of("all", Global(scale=2), domain, "0").radius is None
    foreign = restorer_of("foreign", torch.nn.Upsample(scale_factor=2), domain, "0")
    assert (foreign.radius, foreign.minimum, foreign.multiple) == (None, 1, 1)
    assert foreign(torch.rand(1, 3, 1, 1)).shape == (1, 3, 2, 2)


# --- precision ----------------------------------------------------------------------------------

TOLERANCE = {"bf16": 0.02, "fp16": 0.002}  # 8 and 11 bits, of values up to 1


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("model", ["srcnn", "fsrcnn"])
@pytest.mark.parametrize("channels", ["y", "rgb"])
def test_the_network_alone_computes_in_reduced_precision(
    model: str, channels: str, precision: Any
) -> None:
    plain = network_restorer(model, channels)
    reduced = plain.at(precision)
    seen: dict[str, Any] = {}
    last = plain.network.get_submodule(plain.network.last_layer)
    last.register_forward_hook(lambda module, given, out: seen.update(out=out.dtype))
    plain.network.register_forward_pre_hook(lambda module, given: seen.update(x=given[0]))
    lr = as_tensor(lr_bytes())
    exact = plain(lr)
    x = seen["x"]
    assert seen["out"] == torch.float32
    sr = reduced(lr)
    assert seen["out"] == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert torch.equal(seen["x"], x)  # bicubic and Y of the input, in fp32
    assert sr.dtype == torch.float32
    assert 0 < (sr - exact).abs().max() < TOLERANCE[precision]
    if channels == "y":
        with torch.inference_mode():
            ycbcr = tensor.rgb_to_ycbcr(lr)
            y, colour = reduced.luma(ycbcr[:, :1]), tensor.upscale(ycbcr[:, 1:], 2)
            assert torch.equal(sr, tensor.ycbcr_to_rgb(torch.cat([y, colour], dim=1)))


def test_luma_of_doubles_comes_back_as_doubles_in_any_precision() -> None:
    y = tensor.rgb_to_y(as_tensor(lr_bytes(), torch.float64))
    assert network_restorer("fsrcnn", "y").at("bf16").luma(y).dtype == torch.float64


def test_overflow_in_fp16_is_told() -> None:
    restorer = network_restorer("srcnn", "y")
    restorer.network.conv1.weight.data *= 1e6
    lr = as_tensor(lr_bytes())
    assert restorer(lr).isfinite().all()
    assert restorer.at("bf16")(lr).isfinite().all()
    with pytest.raises(InputError, match="tiny overflows in fp16"):
        restorer.at("fp16")(lr)


def test_another_precision_is_the_same_model() -> None:
    restorer = network_restorer("fsrcnn", "y")
    again = restorer.at("bf16")
    assert type(again) is type(restorer)
    assert again.network is restorer.network
    assert (again.name, again.scale, again.fingerprint, again.domain) == (
        restorer.name,
        restorer.scale,
        restorer.fingerprint,
        restorer.domain,
    )
