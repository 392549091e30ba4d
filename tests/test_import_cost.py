"""Commands that do not compute start without torch, which takes seconds to load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# The command as it is, and then the question whether torch has been loaded.
ASK = """
import sys
from srprune.cli.main import main
try:
    main()
except SystemExit as end:
    print("exit", end.code, "torch", "torch" in sys.modules)
"""


def loads_torch(folder: Path, *arguments: str) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", ASK, *arguments],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("SRPRUNE_")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    last = done.stdout.splitlines()[-1]
    assert last.startswith("exit 0 torch "), done.stdout + done.stderr
    return last == "exit 0 torch True"


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
def test_a_light_command_leaves_torch_out(prepared, command):
    command = command.format("des_r0.50_o0.05__mse_x2")
    assert not loads_torch(prepared.parent, *command.split())


def test_the_check_sees_torch_where_it_is_needed(prepared, tiny):
    assert loads_torch(prepared.parent, *tiny.train, "--dry-run")
