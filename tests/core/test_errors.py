"""The tree of errors is the one that its documentation draws."""

from __future__ import annotations

import re

from srprune.core import errors
from srprune.core.errors import ConfigError, SrpruneError, UserError


def drawn() -> dict[str, str | None]:
    """Each name of the drawing with its parent there."""
    above: list[tuple[int, str]] = []
    found: dict[str, str | None] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([ │├└─]*)([A-Z]\w+)  ?", line)
        if match:
            depth, name = len(match[1]), match[2]
            above = [each for each in above if each[0] < depth]
            found[name] = above[-1][1] if above else None
            above.append((depth, name))
    return found


def test_the_tree_is_as_drawn() -> None:
    classes = {
        name: each
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, BaseException)
    }
    real = {name: each.__bases__[0].__name__ for name, each in classes.items()}
    assert drawn() == {**real, "SrpruneError": None}
    assert real["SrpruneError"] == "Exception" and len(real) >= 12


def test_faults_of_the_user_exit_with_2_and_ours_with_1() -> None:
    assert SrpruneError.exit_status == 1
    for name in drawn():
        error = getattr(errors, name)
        usual = 2 if issubclass(error, UserError) else 1
        assert error.exit_status == {"Stopped": 143}.get(name, usual)


def test_faults_of_a_config_stand_below_each_other() -> None:
    error = ConfigError(["a is 1.", "b is 2."])
    assert error.faults == ("a is 1.", "b is 2.")
    assert [line.strip() for line in str(error).splitlines()] == ["a is 1.", "b is 2."]
