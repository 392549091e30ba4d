"""The networks. One file each; ``MODELS`` maps the name to the class, whose ``spec`` describes it.

A network takes ``scale``, ``channels`` (``y`` or ``rgb``) and its own arguments by keyword, and
maps (B, 1 or 3, h, w) float in [0, 1] to (B, 1 or 3, H, W); a pre-upsampled one gets its input
at the size of HR.
"""

from srprune.core.registry import Table

MODELS = Table(
    "model",
    {
        "fsrcnn": "srprune.models.fsrcnn:FSRCNN",
        "srcnn": "srprune.models.srcnn:SRCNN",
    },
)
