"""Shell completion: names behind the Tab key, fast, without torch, and never an error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pkgutil import iter_modules

import click
import pytest
from click.testing import CliRunner

import srprune.cli as package
from srprune.cli.completion import NAMES, answer, asked
from srprune.cli.main import COMMANDS
from srprune.cli.main import cli as cli_group
from srprune.core.configs import known_configs
from srprune.scoring import SCORERS
from srprune.selection import RULES


@pytest.fixture
def complete(tmp_path, monkeypatch, capsys):
    """What bash is offered behind a line; the last word is the one that is being typed."""
    monkeypatch.chdir(tmp_path)

    def run(line: str, status: int = 0, shell: str = "bash") -> list[str]:
        monkeypatch.setenv("_SRPRUNE_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        assert asked()
        assert answer(cli_group) == status
        said = capsys.readouterr()
        assert said.err == ""
        kinds = [text.partition(",")[::2] for text in said.out.splitlines()]
        return [name for kind, name in kinds if kind == "plain"]

    return run


def test_commands_are_completed(complete):
    assert complete("srprune sel") == ["select"]
    assert complete("srprune ") == list(COMMANDS)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("srprune select --rule ", sorted(RULES)),
        ("srprune score --method ", sorted(SCORERS)),
        ("srprune train --config ", known_configs()),
        ("srprune run fsrcnn", ["fsrcnn_x2.yaml", "fsrcnn_x3.yaml", "fsrcnn_x4.yaml"]),
        ("srprune eval --benchmark se", ["set14", "set5"]),
        ("srprune eval --device c", ["cpu", "cuda"]),
        ("srprune list mo", ["models"]),
        ("srprune completion z", ["zsh"]),
    ],
)
def test_names_of_tables_are_completed(complete, line, names):
    assert sorted(complete(line)) == names


def test_names_in_the_workspace_are_completed(complete, prepared, tiny):
    assert complete("srprune select --scores ") == ["mse_x2"]
    assert complete("srprune train --coreset des") == [tiny.coreset]
    assert complete("srprune eval b") == ["bicubic"]
    assert complete("srprune eval fsr") == [tiny.run]
    assert set(complete("srprune inspect ")) == {tiny.coreset, "mse_x2", tiny.run, "srcnn_x2"}


def test_the_workspace_of_the_line_counts_and_that_of_the_variable(complete, prepared, monkeypatch):
    prepared.rename(prepared.with_name("other"))
    assert complete("srprune select --scores ", status=1) == []
    assert complete("srprune select -w other --scores ") == ["mse_x2"]
    monkeypatch.setenv("SRPRUNE_WORKSPACE", "other")
    assert complete("srprune select --scores ") == ["mse_x2"]


@pytest.mark.parametrize(
    "line",
    [
        "srprune nonsense --config ",
        "srprune select --rule nonsense",
        "srprune select -w images/a.png --scores ",
        "srprune score --scale 7 --method nothing",
    ],
)
def test_where_nothing_fits_nothing_is_said(complete, images, line):
    assert complete(line, status=1) == []


def test_a_shell_that_is_not_known_is_told_nothing(complete):
    assert complete("srprune ", status=1, shell="tcsh") == []


def test_completed_parameters_exist():
    modules = [import_module(f"srprune.cli.{each.name}") for each in iter_modules(package.__path__)]
    commands = [c for m in modules for c in vars(m).values() if isinstance(c, click.Command)]
    assert set(NAMES) <= {param.name for command in commands for param in command.params}


def test_the_program_answers_without_torch(prepared):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "srprune"],
        cwd=prepared.parent,
        env={**os.environ, "_SRPRUNE_COMPLETE": "bash_complete",
             "COMP_WORDS": "srprune eval --benchmark set1", "COMP_CWORD": "3"},
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["dir,set1", "plain,set14"]
    assert "| click" in done.stderr.replace("|   ", "| ")
    assert " torch\n" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_with_the_variable_that_is_answered(shell):
    script = CliRunner().invoke(cli_group, ["completion", shell]).stdout
    assert f"_SRPRUNE_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
        assert (checked.returncode, checked.stderr) == (0, "")


ASK_BASH = """
eval "$1"
COMP_WORDS=(srprune select --scores mse) COMP_CWORD=3
_srprune_completion srprune
echo "${COMPREPLY[@]}"
"""


def test_bash_completes_with_the_script(cli, prepared, tmp_path):
    """The function of the script, asked as readline does; the program is found in PATH."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    program = tmp_path / "bin" / "srprune"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m srprune "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", ASK_BASH, "bash", cli("completion", "bash").stdout],
        cwd=tmp_path,
        env={"PATH": f"{program.parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["mse_x2"], done.stderr
    assert done.stderr == ""
