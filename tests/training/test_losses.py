"""Losses by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from srprune.core.config import BalanceConfig, TrainConfig  # noqa: E402
from srprune.training import LOSSES  # noqa: E402
from srprune.training.criterion import Given, Loss  # noqa: E402
from srprune.training.losses import euclidean, l1, mse  # noqa: E402
from srprune.training.mixture import Mixture  # noqa: E402

OUTPUT = torch.tensor([[[[0.0, 0.5], [1.0, 0.25]]], [[[0.0, 0.0], [0.0, 1.0]]]])
TARGET = torch.tensor([[[[0.0, 0.0], [0.5, 0.25]]], [[[0.0, 0.0], [0.0, 0.0]]]])


def test_l1_is_the_mean_distance() -> None:
    assert l1().of_batch(OUTPUT, TARGET).item() == pytest.approx((0.5 + 0.5 + 1) / 8)


def test_mse_is_the_mean_square() -> None:
    assert mse().of_batch(OUTPUT, TARGET).item() == pytest.approx((0.25 + 0.25 + 1) / 8)


def test_euclidean_is_half_the_sum_of_squares_of_an_image() -> None:
    assert euclidean().of_batch(OUTPUT, TARGET).item() == pytest.approx((0.25 + 0.25 + 1) / 2 / 2)


def test_a_config_can_name_each_of_them_and_no_other() -> None:
    assert set(get_args(TrainConfig.model_fields["loss"].annotation)) == set(LOSSES)


@pytest.mark.parametrize("make", [l1, mse, euclidean])
def test_each_has_a_loss_of_single_crops_whose_mean_it_is(make: Callable[[], Loss]) -> None:
    loss = make()
    crops_B = loss.of_crops(OUTPUT, TARGET)
    assert crops_B.shape == (2,)
    assert crops_B.mean().item() == pytest.approx(loss.of_batch(OUTPUT, TARGET).item())
    assert crops_B[1].item() == pytest.approx(loss.of_batch(OUTPUT[1:], TARGET[1:]).item())


def test_bd_is_made_of_the_mixture_of_its_run(tmp_path: Path) -> None:
    values_M1 = np.random.default_rng(0).normal([[0.2], [0.8]], 0.05, (2, 500)).reshape(-1, 1)
    Mixture.fit(values_M1, 2, 0, domain="rgb").write(tmp_path / "mixture.json")
    network = torch.nn.Conv2d(1, 1, 1)
    given = Given(network, BalanceConfig(sigma=0.05, penalty=0.5), tmp_path / "mixture.json")
    loss = LOSSES.load("bd")(given)
    assert loss.of_batch.facts() == {"sigma": pytest.approx(0.05)}
    norm = torch.cat([each.flatten() for each in network.parameters()]).norm().item()
    crops_B = loss.of_crops(OUTPUT, TARGET)
    assert loss.of_batch(OUTPUT, TARGET).item() == pytest.approx(
        crops_B.mean().item() + 0.5 * norm, rel=1e-5
    )
