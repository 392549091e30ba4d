"""The domain of a network: its channels, and LR as it is or enlarged."""

from __future__ import annotations

import dataclasses

import pytest

torch = pytest.importorskip("torch")
from srprune.images import tensor  # noqa: E402
from srprune.models.domain import Domain  # noqa: E402

RGB = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))


def test_target_of_y_is_luma_in_studio_range() -> None:
    target = Domain("y", False, 2).target(RGB)
    assert torch.equal(target, tensor.rgb_to_y(RGB))
    white = Domain("y", False, 2).target(torch.ones(1, 3, 2, 2))
    assert torch.allclose(white, torch.full((1, 1, 2, 2), 235 / 255))


def test_target_of_rgb_is_the_image() -> None:
    assert torch.equal(Domain("rgb", True, 2).target(RGB), RGB)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", ["y", "rgb"])
def test_input_is_lr_enlarged_only_for_a_pre_upsampled_network(channels: str, scale: int) -> None:
    plain, enlarged = Domain(channels, False, scale), Domain(channels, True, scale)
    own = plain.target(RGB)
    assert torch.equal(plain.input(RGB), own)
    assert torch.equal(enlarged.input(RGB), tensor.upscale(own, scale))
    assert torch.equal(enlarged.enlarged(own), enlarged.input(RGB))
    assert torch.equal(plain.enlarged(own), own)


@pytest.mark.parametrize("pre_upsampled", [False, True])
def test_input_lies_channels_last_in_memory(pre_upsampled: bool) -> None:
    x = Domain("rgb", pre_upsampled, 2).input(RGB)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert not x.is_contiguous()


def test_luma_of_the_enlarged_is_the_enlarged_luma() -> None:
    """Both are linear, so the order in which SRCNN's input is made does not matter."""
    y = Domain("y", True, 3).input(RGB)
    assert torch.allclose(y, tensor.rgb_to_y(tensor.upscale(RGB, 3)), rtol=0, atol=1e-6)


def test_a_domain_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Domain("y", False, 2).scale = 3  # type: ignore[misc]
