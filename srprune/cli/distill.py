"""``distill``: four commands from patches to synthesised images, each loaded when asked for."""

from __future__ import annotations

from importlib import import_module

import click

from srprune.core.names import unknown

# In the order of the road.
COMMANDS = {
    "select": "srprune.cli.distill_select:select",
    "categorise": "srprune.cli.distill_categorise:categorise",
    "finetune": "srprune.cli.distill_finetune:finetune",
    "synthesise": "srprune.cli.distill_synthesise:synthesise",
}


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the road."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            raise click.UsageError(str(unknown("command", cmd_name, COMMANDS)), ctx)
        module, attribute = COMMANDS[cmd_name].split(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup)
def distill() -> None:
    """Synthesise training images by diffusion, in place of choosing some (Cho et al. 2025).

    High-gradient patches are selected and grouped, a diffusion model is trained on them, and new
    images are sampled from it. What comes out is a folder of images with a patch index, a
    workspace of its own; 'pruning.rule: distilled' trains on it.

    \b
    Example:
      srprune distill select
      srprune distill categorise --features descriptor
      srprune distill finetune --config dit_tiny.yaml
      srprune distill synthesise --ratio 0.01
    """
