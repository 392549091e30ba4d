"""Runs that lost their way, and those that only look like it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srprune.studies.divergence import lost_its_way

# refined50, seed 0 of docs/results/first_numbers.md: every third row of its log.
LOST = [
    (100, 0.020269695), (400, 0.0023524293), (700, 0.0012638396), (1000, 0.0010523026),
    (1300, 0.0015101622), (1600, 0.00080352036), (1900, 0.00087950415), (2200, 0.82267805),
    (2500, 0.0067334113), (2800, 0.0049668502), (3100, 0.0046810883), (3400, 0.0042374243),
    (3700, 0.0038924599), (4000, 0.0037040336), (4300, 0.0035125618), (4600, 0.003314233),
    (4900, 0.0032625114), (5200, 0.0031070841), (5500, 0.0031718722), (5800, 0.003089304),
]  # fmt: skip


def log(losses: np.ndarray) -> list[tuple[int, float]]:
    return [(100 * (n + 1), float(loss)) for n, loss in enumerate(losses)]


def falling(num: int, seed: int = 0, noise: float = 0.1) -> np.ndarray:
    """A loss that falls as a power of the step, with noise."""
    rng = np.random.default_rng(seed)
    return 0.02 * np.arange(1, num + 1) ** -0.5 * np.exp(rng.normal(0, noise, num))


def test_the_run_that_diverged():
    assert lost_its_way(LOST) == (
        "the training loss ended at 0.0031, 3.5 times the 0.00088 around step 1,900"
    )


def test_the_run_that_diverged_would_have_been_found_by_its_absolute_error():
    assert lost_its_way([(step, math.sqrt(loss)) for step, loss in LOST])


@pytest.mark.parametrize("num", [10, 13, 20, 60, 61, 1000])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.25])
def test_a_run_that_learns_has_not(num, noise):
    assert all(lost_its_way(log(falling(num, seed, noise))) is None for seed in range(20))


@pytest.mark.parametrize("num", [10, 20, 60, 1000])
def test_a_jump_that_stays_is_found_and_one_that_goes_is_not(num):
    losses = falling(num)
    stays, goes = losses.copy(), losses.copy()
    stays[num // 2 :] *= 4
    goes[num // 2 : num // 2 + max(1, num // 20)] *= 100
    assert "times the" in (lost_its_way(log(stays)) or "")
    assert lost_its_way(log(goes)) is None


def test_a_spike_in_the_last_rows_is_none():
    losses = falling(60)
    losses[-2] *= 1000
    assert lost_its_way(log(losses)) is None


@pytest.mark.parametrize("cycles", [2, 3, 4, 5])
def test_restarts_of_the_learning_rate_are_no_divergence(cycles):
    """Within a cycle the loss falls by half, and starts anew, a little lower."""
    place = np.arange(120) / 120
    within = place * cycles % 1
    losses = 0.01 * (1.5 - 0.5 * place) * (1 + np.cos(np.pi * within) ** 3)
    assert lost_its_way(log(losses)) is None


def test_a_warm_up_is_no_divergence():
    losses = np.concatenate([np.linspace(0.5, 2.0, 10), falling(90)])
    assert lost_its_way(log(losses)) is None


def test_a_core_set_that_grows_harder_is_judged_from_then_on():
    losses = falling(60)
    losses[12:] *= 4  # after step 1,200 the easy patches are gone
    assert lost_its_way(log(losses)) is not None
    assert lost_its_way(log(losses), since=1200) is None
    losses[40:] *= 5
    assert lost_its_way(log(losses), since=1200) is not None


@pytest.mark.parametrize("num", range(10))
def test_a_short_log_says_nothing(num):
    losses = np.linspace(0.001, 1.0, num)
    assert lost_its_way(log(losses)) is None
    assert lost_its_way(log(np.linspace(0.001, 1.0, 10))) is not None
    assert lost_its_way(log(np.linspace(0.001, 1.0, 30)), since=100 * (30 - num)) is None


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number(loss):
    rows = [(100, 0.1), (200, loss), (300, 0.1)]
    assert lost_its_way(rows) == f"the training loss is {loss} at step 200"


@given(st.lists(st.floats(1e-6, 1e3), min_size=10, max_size=80), st.integers(-20, 20))
def test_the_unit_of_the_loss_is_nothing(losses, power):
    some = np.array(losses)
    lost = lost_its_way(log(some)) is not None
    assert (lost_its_way(log(some * 2.0**power)) is not None) == lost
