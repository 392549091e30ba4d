"""The networks. One file each; ``MODELS`` maps the name to the class, whose ``spec`` describes it.

A network takes ``scale``, ``channels`` (``y`` or ``rgb``) and its own arguments by keyword, and
maps (B, 1 or 3, h, w) float in [0, 1] to (B, 1 or 3, H, W); a pre-upsampled one gets its input
at the size of HR.
"""

from srprune.core.registry import Table

MODELS = Table(
    "model",
    {
        "drrn": "srprune.models.drrn:DRRN",
        "edsr_baseline": "srprune.models.edsr:EDSRBaseline",
        "edsr_large": "srprune.models.edsr:EDSRLarge",
        "fsrcnn": "srprune.models.fsrcnn:FSRCNN",
        "fsrcnn_s": "srprune.models.fsrcnn:FSRCNNSmall",
        "idn": "srprune.models.idn:IDN",
        "msrresnet": "srprune.models.msrresnet:MSRResNet",
        "rcan": "srprune.models.rcan:RCAN",
        "rdn": "srprune.models.rdn:RDN",
        "srcnn": "srprune.models.srcnn:SRCNN",
        "srresnet": "srprune.models.srresnet:SRResNet",
        "swinir": "srprune.models.swinir:SwinIR",
        "swinir_light": "srprune.models.swinir:SwinIRLight",
    },
)
