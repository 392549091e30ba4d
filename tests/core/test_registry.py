"""Tables of names: lazy, closed, and every line of them leads somewhere."""

from __future__ import annotations

import subprocess
import sys

import pytest

from srprune.core.errors import UnknownName
from srprune.core.registry import Table
from srprune.models import MODELS
from srprune.scoring import SCORERS
from srprune.selection import RULES
from srprune.selection.rule import Rule

TABLES = (RULES, SCORERS, MODELS)
LINES = [(table, name) for table in TABLES for name in table]


@pytest.mark.parametrize(("table", "name"), LINES, ids=[name for _, name in LINES])
def test_every_target_is_there(table: Table, name: str) -> None:
    loaded = table.load(name)
    module, attribute = table[name].split(":")
    assert callable(loaded)
    if isinstance(loaded, Rule):
        assert (loaded.prepare.__module__, loaded.name) == (module, name)
    else:
        assert (loaded.__module__, loaded.__qualname__) == (module, attribute)


def test_a_table_is_a_mapping() -> None:
    assert {"asc", "des", "random"} < set(RULES) and len(RULES) == len(list(RULES))
    assert "des" in RULES and "DES" not in RULES and 3 not in RULES


def test_an_unknown_name_lists_what_is_near() -> None:
    with pytest.raises(UnknownName, match=r"unknown rule 'desc'. Did you mean: des"):
        RULES.load("desc")
    with pytest.raises(UnknownName, match=r"unknown scoring method 'xyzzy'. Known: bicubic,"):
        SCORERS["xyzzy"]


def test_a_table_loads_nothing_before_it_is_asked() -> None:
    table = Table("thing", {"broken": "srprune.no_such_module:x"})
    assert "broken" in table
    with pytest.raises(ModuleNotFoundError):
        table.load("broken")
    code = (
        "import sys, srprune.selection; assert 'srprune.selection.rank_window' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
