"""The words about a name that stands in no table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srprune.core.errors import UnknownName
from srprune.core.names import near, unknown

RULES = ("random", "asc", "des", "clustered")


@pytest.mark.parametrize(
    ("name", "meant"),
    [("desc", "des"), ("DES", "des"), ("cluster", "clustered"), ("xyzzy", None), ("", None)],
)
def test_near_finds_what_was_meant(name: str, meant: str | None) -> None:
    assert near(name, RULES) == meant


def test_near_gives_the_name_as_it_is_known() -> None:
    assert near("edsr", ["EDSR", "SwinIR"]) == "EDSR"


def test_unknown_with_a_near_name() -> None:
    error = unknown("rule", "desc", iter(RULES))
    assert isinstance(error, UnknownName)
    assert str(error) == (
        "unknown rule 'desc'. Did you mean: des? Known: asc, clustered, des, random."
    )


def test_unknown_with_nothing_near() -> None:
    assert str(unknown("rule", "xyzzy", RULES)) == (
        "unknown rule 'xyzzy'. Known: asc, clustered, des, random."
    )


def test_unknown_without_any_known() -> None:
    assert str(unknown("rule", "des", [])) == "unknown rule 'des'. Known: none."


def test_unknown_compares_without_the_prefix() -> None:
    assert str(unknown("key", "rato", ["ratio", "rule"], within="select.")) == (
        "unknown key 'select.rato'. Did you mean: ratio? Known: ratio, rule."
    )


@given(st.text(), st.lists(st.text()))
def test_near_is_one_of_the_known(name: str, known: list[str]) -> None:
    assert near(name, known) in {None, *known}
