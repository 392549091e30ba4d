"""What is written about the project holds: help texts, commands, links."""

from __future__ import annotations

import re
import runpy
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

from srprune.cli.distill import COMMANDS as STEPS
from srprune.cli.main import COMMANDS, cli
from srprune.scoring import SCORERS
from srprune.selection import RULES

ROOT = Path(__file__).parents[1]
WRITTEN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)[^)]*\)|(?:src|href)=\"([^\"]+)\"")


EVERY = COMMANDS | {f"distill {name}": target for name, target in STEPS.items()}


@pytest.mark.parametrize("name", EVERY)
def test_a_command_has_help_and_an_example_that_names_it(name):
    module, attribute = EVERY[name].split(":")
    command = getattr(import_module(module), attribute)
    said, example = (command.help or "").split("Example:")
    assert len(said.split()) > 5
    lines = [line.strip() for line in example.splitlines() if line.strip()]
    assert lines
    assert all(line.startswith(f"srprune {name}") for line in lines)


def test_the_page_of_the_command_line_is_that_of_the_help_texts():
    """Stale? Run: python scripts/make_cli_docs.py."""
    pinned = re.search(r"^click==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    if version("click") != pinned[1]:
        pytest.skip(f"the page is made with click {pinned[1]}, which words help in its own way")
    page = runpy.run_path(str(ROOT / "scripts" / "make_cli_docs.py"))["page"]()
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == page
    for name in EVERY:
        assert f"## srprune {name}\n" in page


def test_the_page_of_the_command_line_is_the_same_on_every_machine(monkeypatch):
    make = runpy.run_path(str(ROOT / "scripts" / "make_cli_docs.py"))["page"]
    before = make()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("SRPRUNE_WORKSPACE", "/elsewhere")
    assert make() == before
    assert max(map(len, before.splitlines())) <= 100
    assert str(Path.cwd()) not in before


@pytest.mark.parametrize("name", EVERY)
def test_every_option_of_a_command_has_help(name):
    module, attribute = EVERY[name].split(":")
    command = getattr(import_module(module), attribute)
    without = [p.name for p in command.params if p.param_type_name == "option" and not p.help]
    assert without == []


def test_the_examples_of_the_program_are_commands():
    lines = [line.split() for line in (cli.help or "").splitlines() if "srprune " in line]
    assert len(lines) == 6
    shown = [words[1] for words in lines]
    assert [name for name in COMMANDS if name in shown] == shown  # in the order of the pipeline


def test_the_readme_counts_what_commands_take():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rules = [RULES.load(name) for name in RULES]
    selected = [rule for rule in rules if not (rule.in_training or rule.synthesised)]
    words = {8: "eight", 9: "nine", 10: "ten", 13: "thirteen", 14: "fourteen", 15: "fifteen"}
    assert f"# {words[len(selected)]} rules; --budget" in text
    assert f"# {words[len(list(SCORERS))]} scores, with and without a network" in text


def test_the_readme_names_the_two_commands_of_a_checkout():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if len(text.splitlines()) <= 20:
        pytest.skip("there is no README yet")
    assert "make demo" in text
    assert "make test" in text


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_of_a_page_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = ["".join(groups).split("#")[0] for groups in LINK.findall(text)]
    local = [t for t in targets if t and not re.match(r"[a-z]+:", t)]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_that_a_page_shows_exist(page):
    text = page.read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```.*?```|`[^`]+`", text, flags=re.DOTALL))
    shown = re.findall(r"(?:^\s*|`)srprune ([a-z]+)", code, flags=re.MULTILINE)
    assert set(shown) <= set(COMMANDS)
    targets = re.findall(r"(?:^\s*|`)make ([a-z]+)", code, flags=re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [name for name in targets if not re.search(f"^{name}:", makefile, re.MULTILINE)] == []
