"""The networks. One file each; ``MODELS`` maps the name to the class, whose ``spec`` describes it.

A network takes ``scale``, ``channels`` (``y`` or ``rgb``) and its own arguments by keyword, and
maps (B, 1 or 3, h, w) float in [0, 1] to (B, 1 or 3, H, W); a pre-upsampled one gets its input
at the size of HR.
"""

from srprune.core.registry import Table

# A file of plain tensors may be of a supernet's largest network, too: of two that fit alike the
# first is taken, so a supernet stands behind the network that it is made of.
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
        "msrresnet_supernet": "srprune.models.supernet:MSRResNetSupernet",
        "rcan": "srprune.models.rcan:RCAN",
        "rcan_supernet": "srprune.models.supernet:RCANSupernet",
        "rdn": "srprune.models.rdn:RDN",
        "srcnn": "srprune.models.srcnn:SRCNN",
        "srresnet": "srprune.models.srresnet:SRResNet",
        "swinir": "srprune.models.swinir:SwinIR",
        "swinir_light": "srprune.models.swinir:SwinIRLight",
    },
)
