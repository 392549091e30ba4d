"""A group of commands that imports the module of a command when the command is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from srprune.cli import completion
from srprune.core.names import unknown


class LazyGroup(click.Group):
    """Commands by name, each as ``module:object``; ``--help`` shows them in their order."""

    def __init__(self, *args: Any, lazy: Mapping[str, str], **more: Any) -> None:
        """Take the table of commands beside what click's group takes."""
        super().__init__(*args, **more)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the table."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self._lazy:
            raise click.UsageError(str(unknown("command", cmd_name, self._lazy)), ctx)
        module, attribute = self._lazy[cmd_name].split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        if ctx.resilient_parsing:  # a shell asks what fits behind the cursor
            completion.know_names(command)
        return command
