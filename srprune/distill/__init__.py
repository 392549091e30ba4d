"""Data set distillation by diffusion (Cho, Jung, Cho and Soh, IEEE SPL 32, 2025).

High-gradient patches, grouped by features; a class-conditional diffusion transformer trained on
them; new images sampled from it. Read beside the paper: its code, sunwoocho/SRDD at ac996db7, and
that of Minimax Diffusion (Gu et al., CVPR 2024), vimar-gu/MinimaxDiffusion at 62fc435. Where they
differ, or leave something open, docs/adr/0017-readings-of-srdd.md tells what was chosen.
"""

from srprune.core.registry import Table

FEATURES = Table(
    "kind of features",
    {
        "descriptor": "srprune.distill.descriptor_features:descriptor_features",
        "network": "srprune.distill.network_features:network_features",
        "clip": "srprune.distill.clip_features:clip_features",
    },
)
