"""The walls between the packages stand, and no lazy name points at nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from srprune.cli.main import COMMANDS
from srprune.distill import FEATURES as DISTILL_FEATURES
from srprune.exports import EXPORTS
from srprune.images.descriptors import FEATURES
from srprune.models import MODELS
from srprune.scoring import RECONSTRUCTION, SCORERS
from srprune.selection import RULES
from srprune.training import LOSSES
from srprune.wbsr import ROUTERS

ROOT = Path(__file__).parents[1]


LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def test_the_contracts_of_the_packages_are_kept():
    if find_spec("importlinter") is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run(
        [sys.executable, "-c", LINT], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


TABLES = [MODELS, SCORERS, RULES, ROUTERS, LOSSES, EXPORTS, DISTILL_FEATURES]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
def test_every_name_of_a_table_loads(table):
    assert len(table) > 0
    for name in table:
        assert callable(table.load(name)), name


def test_every_feature_has_columns():
    for name in FEATURES:
        assert FEATURES.load(name).names


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_under_its_name(name):
    module, attribute = COMMANDS[name].split(":")
    command = getattr(import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.name == name


def test_special_names_stand_in_the_tables():
    assert set(RECONSTRUCTION) <= set(SCORERS)
