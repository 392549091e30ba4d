"""Write docs/cli.md from the help texts of all commands.

    python scripts/make_cli_docs.py

A test fails when the page is stale. The width is fixed, and defaults that depend on the machine
stand there as words, so that the same source gives the same page everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from srprune.cli.completion import PROGRAM
from srprune.cli.main import cli

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
WIDTH = 100

HEAD = """\
# The command line

Made from the help texts by `scripts/make_cli_docs.py`; change those, not this page.

Everything that a person reads goes to stdout, progress and errors to stderr. With `--json` stdout
holds JSON and nothing else. An error is one line that says what is wrong and what to do. The exit
status is 0 when all is fine, 1 when srprune itself failed, 2 for usage or input, 130 after Ctrl-C,
141 when nobody reads what is printed, and 143 after SIGTERM with a checkpoint saved.
"""


def page() -> str:
    """The whole page."""
    root = cli.make_context(PROGRAM, [], resilient_parsing=True, terminal_width=WIDTH)
    return "\n".join([HEAD, _block("srprune", cli.get_help(root)), *_below(cli, root)])


def _below(group: click.Group, context: click.Context) -> Iterator[str]:
    """The blocks of a group's commands, each before those of its own."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        own = command.make_context(name, [], parent=context, resilient_parsing=True)
        yield _block(own.command_path, command.get_help(own))
        if isinstance(command, click.Group):
            yield from _below(command, own)


def _block(title: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"## {title}\n\n```text\n{lines}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
