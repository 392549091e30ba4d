"""Commands that do not compute start without torch, which takes seconds to load."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.processes import Child

# The command as it is, and then the question whether torch has been loaded.
ASK = """
import sys
from srprune.cli.main import main
try:
    main()
except SystemExit as end:
    print("exit", end.code, "torch", "torch" in sys.modules)
"""


@pytest.fixture
def loads_torch(start: Callable[..., Child]) -> Callable[..., bool]:
    """Run a command; whether torch was loaded by it."""

    def ask(*arguments: str) -> bool:
        child = start(*arguments, code=ASK, light=True)
        out, err = child.communicate(timeout=120)
        last = out.splitlines()[-1]
        assert last.startswith("exit 0 torch "), out + err
        return last == "exit 0 torch True"

    return ask


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "--version",
        "train --help",
        "select --ratio 0.5",
        "select --ratio 0.5 --rule random --json",
        "inspect workspace/scores/mse_x2.parquet",
        "inspect workspace/scorers/srcnn_x2/weights.safetensors",
        "list scorers",
        "list rules",
        "list routers",
        "list benchmarks",
        "list configs",
        "list exports",
        "list datasets",
        "inspect",
        "inspect mse_x2",
        "inspect {0} {0}",
        "report",
        "export --to list",
        "download --dry-run set5",
        "completion bash",
    ],
)
def test_a_light_command_leaves_torch_out(loads_torch, prepared, command):
    command = command.format("des_r0.50_o0.05__mse_x2")
    assert not loads_torch(*command.split())


def test_the_check_sees_torch_where_it_is_needed(loads_torch):
    assert loads_torch("list", "models")
