"""``distill``: four commands from patches to synthesised images, each loaded when asked for."""

from __future__ import annotations

import click

from srprune.cli.lazy_group import LazyGroup

# In the order of the road.
COMMANDS = {
    "select": "srprune.cli.distill_select:select",
    "categorise": "srprune.cli.distill_categorise:categorise",
    "finetune": "srprune.cli.distill_finetune:finetune",
    "synthesise": "srprune.cli.distill_synthesise:synthesise",
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
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
