"""Steps of a run: those of the paper, and exact arithmetic behind them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srprune.core.config import BudgetConfig
from srprune.training.plan import StepPlan, plan_steps

FULL = 31_216  # with two a step, one pass over them is the paper's 15,608 steps
PAPER = {1.0: 15_608, 0.75: 11_706, 0.5: 7_804, 0.25: 3_902}  # Moser et al. 2024, table 1

numbers = st.integers(1, 100_000)


@pytest.mark.parametrize("budget", [{"epochs": 1}, {"steps": 15_608}], ids=["epochs", "steps"])
@pytest.mark.parametrize("share", PAPER)
def test_the_steps_of_the_paper(budget: dict[str, int], share: float) -> None:
    def plan(matching: bool) -> StepPlan:
        return plan_steps(
            BudgetConfig(**budget),
            batch=2,
            num_full=FULL,
            num_patches=round(FULL * share),
            step_matching=matching,
        )

    assert plan(False).steps == PAPER[share]
    assert plan(True).steps == 15_608
    assert plan(True).full_steps == plan(False).full_steps == 15_608
    assert plan(False).epochs == pytest.approx(1)
    assert plan(True).epochs == pytest.approx(1 / share)


@given(st.integers(1, 100_000), numbers, numbers, st.integers(1, 512))
def test_epochs_become_steps_by_an_exact_ceiling(
    hundredths: int, num_full: int, kept: int, batch: int
) -> None:
    kept = min(kept, num_full)
    budget = BudgetConfig(epochs=hundredths / 100)
    sizes = {"batch": batch, "num_full": num_full, "num_patches": kept}
    matched = plan_steps(budget, **sizes, step_matching=True)
    alone = plan_steps(budget, **sizes, step_matching=False)
    full = -(-hundredths * num_full // (100 * batch))  # whole numbers only
    assert matched.steps == matched.full_steps == alone.full_steps == full
    assert alone.steps == -(-hundredths * kept // (100 * batch))


@given(numbers, numbers, numbers, st.integers(1, 512))
def test_steps_shrink_with_the_patches_by_an_exact_ceiling(
    steps: int, num_full: int, kept: int, batch: int
) -> None:
    kept = min(kept, num_full)
    sizes = {"batch": batch, "num_full": num_full, "num_patches": kept}
    budget = BudgetConfig(steps=steps)
    assert plan_steps(budget, **sizes, step_matching=True).steps == steps
    assert plan_steps(budget, **sizes, step_matching=False).steps == -(-steps * kept // num_full)


def test_what_floats_would_get_wrong() -> None:
    """1.1 * 100 is a hair over 110 in floating point; its ceiling would be 111."""
    budget = BudgetConfig(epochs=1.1)
    assert 1.1 * 100 > 110
    assert plan_steps(budget, batch=1, num_full=100, num_patches=9, step_matching=True).steps == 110


def test_a_run_has_a_step_at_least() -> None:
    budget = BudgetConfig(epochs=1e-6)
    plan = plan_steps(budget, batch=16, num_full=100, num_patches=1, step_matching=False)
    assert plan.steps == plan.full_steps == 1


def test_plan_in_words() -> None:
    assert str(StepPlan(15_608, 15_608, 2, 7_804, 31_216)) == (
        "full set: 31,216 patches, 15,608 steps of 2 crops = 1.0 epochs\n"
        "this run: 7,804 patches, 15,608 steps of 2 crops = 4.0 epochs (steps matched)"
    )
    assert str(StepPlan(3_902, 15_608, 2, 7_804, 31_216)).endswith(
        "3,902 steps of 2 crops = 1.0 epochs (same epochs, fewer steps)"
    )
    assert str(StepPlan(15_608, 15_608, 2, 31_216, 31_216)).endswith("(the full set)")
