"""Losses by name."""

from __future__ import annotations

from typing import get_args

import pytest

torch = pytest.importorskip("torch")
from srprune.core.config import TrainConfig  # noqa: E402
from srprune.training.losses import BY_CROP, LOSSES  # noqa: E402

OUTPUT = torch.tensor([[[[0.0, 0.5], [1.0, 0.25]]], [[[0.0, 0.0], [0.0, 1.0]]]])
TARGET = torch.tensor([[[[0.0, 0.0], [0.5, 0.25]]], [[[0.0, 0.0], [0.0, 0.0]]]])


def test_l1_is_the_mean_distance() -> None:
    assert LOSSES["l1"](OUTPUT, TARGET).item() == pytest.approx((0.5 + 0.5 + 1) / 8)


def test_mse_is_the_mean_square() -> None:
    assert LOSSES["mse"](OUTPUT, TARGET).item() == pytest.approx((0.25 + 0.25 + 1) / 8)


def test_euclidean_is_half_the_sum_of_squares_of_an_image() -> None:
    assert LOSSES["euclidean"](OUTPUT, TARGET).item() == pytest.approx((0.25 + 0.25 + 1) / 2 / 2)


def test_a_config_can_name_each_of_them_and_no_other() -> None:
    assert set(get_args(TrainConfig.model_fields["loss"].annotation)) == {*LOSSES, "bd"}


@pytest.mark.parametrize("name", list(LOSSES))
def test_each_has_a_loss_of_single_crops_whose_mean_it_is(name: str) -> None:
    crops_B = BY_CROP[name](OUTPUT, TARGET)
    assert crops_B.shape == (2,)
    assert crops_B.mean().item() == pytest.approx(LOSSES[name](OUTPUT, TARGET).item())
    assert crops_B[1].item() == pytest.approx(LOSSES[name](OUTPUT[1:], TARGET[1:]).item())
    assert set(BY_CROP) == set(LOSSES)
