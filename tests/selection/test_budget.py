"""Budgets: what is written, what is meant, and the largest that fits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.errors import InputError
from srprune.selection.budget import UNITS, Budget, largest

no_deadline = settings(deadline=None)


@pytest.mark.parametrize(
    ("text", "patches", "num_bytes", "name"),
    [
        ("8000", 8000, None, "n8000"),
        (" 0012 ", 12, None, "n12"),
        ("2GB", None, 2_000_000_000, "2GB"),
        ("2 gb", None, 2_000_000_000, "2GB"),
        ("1.5GiB", None, 1_610_612_736, "1.5GiB"),
        ("01.50 kib", None, 1536, "1.5KiB"),
        ("2.0MB", None, 2_000_000, "2MB"),
        ("0.5KB", None, 500, "0.5kB"),
        ("100B", None, 100, "100B"),
        ("0.1TB", None, 100_000_000_000, "0.1TB"),
    ],
)
def test_patches_and_bytes(
    text: str, patches: int | None, num_bytes: int | None, name: str
) -> None:
    assert Budget.parse(text) == Budget(patches, num_bytes, name)


@no_deadline
@given(st.integers(1, 10**6), st.sampled_from(sorted(UNITS)))
def test_a_name_read_again_is_the_same_budget(number: int, unit: str) -> None:
    budget = Budget.parse(f"{number}{unit}")
    assert Budget.parse(budget.name) == budget and budget.num_bytes == number * UNITS[unit]


@pytest.mark.parametrize("text", ["", "many", "-5", "1e6", "2 GBs", "1.5", "nan", "GB", "٣"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="it must be a number of patches such as 8000, or bytes"):
        Budget.parse(text)


def test_no_patches_are_refused() -> None:
    with pytest.raises(InputError, match="budget is 0 patches"):
        Budget.parse("0")


@no_deadline
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_the_largest_that_fits(limit: int, most: int) -> None:
    asked = []

    def fits(number: int) -> bool:
        assert 1 <= number <= most
        asked.append(number)
        return number <= limit

    assert largest(fits, most) == min(limit, most)
    assert len(asked) <= most.bit_length() + 1
