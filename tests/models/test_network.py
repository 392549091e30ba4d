"""Naming: names of another code base to ours."""

from __future__ import annotations

import pytest
import torch

from srprune.models.network import Naming, Network, count_names

THEIRS = ["first.weight", "trunk.0.conv.weight", "trunk.1.conv.weight", "after.weight"]
NAMING = Naming(
    source="somebody",
    pairs=(
        (r"first\.(\w+)", r"head.\1"),
        (r"trunk\.(\d+)\.conv\.(\w+)", r"body.\1.\2"),
        (r"after\.(\w+)", r"body.{blocks}.\1"),
    ),
    counts={"blocks": r"trunk\.\d+\.conv\.weight"},
)


def test_names_are_translated_in_their_order() -> None:
    assert list(NAMING.translate(THEIRS).items()) == [
        ("first.weight", "head.weight"),
        ("trunk.0.conv.weight", "body.0.weight"),
        ("trunk.1.conv.weight", "body.1.weight"),
        ("after.weight", "body.2.weight"),
    ]


def test_a_count_is_of_the_names_given() -> None:
    assert NAMING.translate(["after.bias"]) == {"after.bias": "body.0.bias"}
    more = [f"trunk.{i}.conv.weight" for i in range(12)]
    assert NAMING.translate([*more, "after.bias"])["after.bias"] == "body.12.bias"


def test_names_may_come_once_and_only_once() -> None:
    assert NAMING.translate(iter(THEIRS)) == NAMING.translate(THEIRS)
    tensors = {name: torch.zeros(1) for name in THEIRS}
    assert NAMING.translate(tensors) == NAMING.translate(THEIRS)


def test_what_no_pair_matches_is_left_out() -> None:
    others = ["first", "my.first.weight", "first.weight.0", "second.weight"]
    assert NAMING.translate(others) == {}
    assert NAMING.translate([*others, "first.bias"]) == {"first.bias": "head.bias"}
    assert NAMING.translate([]) == {}


def test_the_first_pair_that_matches_is_taken() -> None:
    naming = Naming("somebody", pairs=((r"a\.(\w+)", r"b.\1"), (r"a\.weight", "c.weight")))
    assert naming.translate(["a.weight"]) == {"a.weight": "b.weight"}


def test_a_word_without_a_count_is_a_fault() -> None:
    naming = Naming("somebody", pairs=((r"a\.(\w+)", r"b.{blocks}.\1"),))
    with pytest.raises(KeyError, match="blocks"):
        naming.translate(["a.weight"])


def test_a_naming_implies_nothing_of_itself() -> None:
    assert NAMING.implies == {}
    assert Naming("somebody", pairs=()).counts == {}


def test_count_is_of_whole_names() -> None:
    assert count_names(r"a\.\d", ["a.0", "a.1", "a.10", "b.a.0", "a.0.weight"]) == 2
    assert count_names("a", {"a": 1}) == 1


def test_a_network_says_its_arguments_itself() -> None:
    with pytest.raises(NotImplementedError):
        Network.arguments_of({})
