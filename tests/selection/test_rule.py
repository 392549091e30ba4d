"""Settings of a rule: checked by name, type and bounds, each fault in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from srprune.core.errors import InputError, UnknownName
from srprune.selection import RULES
from srprune.selection.ccs import ccs
from srprune.selection.hes import hes
from srprune.selection.rank_window import des
from srprune.selection.rule import Rule
from srprune.selection.stratified import stratified


def test_defaults_stand_in_the_function() -> None:
    assert ccs.defaults == ccs.checked({}) == {"strata": 50}
    assert des.defaults == {} and des.name == "des"
    assert hes.checked({"delta": 1})["delta"] == 1


def test_lists_of_configs_become_tuples() -> None:
    values = stratified.checked({"classes": 2, "shares": [1, 2.5]})
    assert values == {"classes": 2, "cuts": "quantile", "shares": (1, 2.5)}


@pytest.mark.parametrize(
    ("rule", "settings", "said"),
    [
        (ccs, {"strata": 0}, "args.strata is 0; with ccs it must be at least 1"),
        (ccs, {"strata": 2.5}, "args.strata is 2.5; with ccs it must be a whole number"),
        (ccs, {"strata": True}, "args.strata is True; with ccs it must be a whole number"),
        (ccs, {"strata": "5"}, "args.strata is '5'; with ccs it must be a whole number"),
        (hes, {"delta": 0}, "args.delta is 0; with hes it must be greater than 0"),
        (hes, {"delta": float("nan")}, "args.delta is nan; with hes it must be"),
        (hes, {"delta": None}, "args.delta is None; with hes it must be a number"),
        (hes, {"features": 3}, "args.features is 3; with hes it must be text"),
        (
            stratified,
            {"cuts": "widths"},
            "args.cuts is 'widths'; with stratified it must be one of quantile, width",
        ),
        (stratified, {"shares": 3}, "args.shares is 3; with stratified it must be"),
        (stratified, {"shares": [1, -1]}, r"shares is \[1, -1\]; .* its value 2 must be greater"),
    ],
)
def test_a_wrong_value_is_one_clear_line(rule: Rule, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        rule.checked(settings, "args.")
    assert len(str(caught.value).splitlines()) == 1


def test_a_name_that_is_none_says_which_was_meant() -> None:
    with pytest.raises(UnknownName, match=r"unknown ccs setting 'args.strat'. Did you mean: strat"):
        ccs.checked({"strat": 5}, "args.")
    with pytest.raises(UnknownName, match=r"unknown des setting 'strata'. Known: none"):
        des.checked({"strata": 5})


def test_a_call_checks_its_settings_and_its_window() -> None:
    with pytest.raises(UnknownName, match="strat"):
        ccs(np.arange(9.0), 0.5, strat=5)
    with pytest.raises(InputError, match="1 more than the 9 there are"):
        ccs(np.arange(9.0), 1.0, 0.1)


@pytest.mark.parametrize("name", list(RULES))
def test_a_rule_is_called_what_the_table_calls_it(name: str) -> None:
    assert RULES.load(name).name == name
