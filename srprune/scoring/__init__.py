"""Scoring: one number a patch, higher is harder.

``SCORERS`` maps a method to a class whose objects take (patch ids, PatchPool) and give float64
scores. Network scorers are made with a restorer and a device, all others without arguments.
"""

from srprune.core.registry import Table

SCORERS = Table(
    "scoring method",
    {
        "mse": "srprune.scoring.loss:ReconstructionMse",
        "bicubic": "srprune.scoring.loss:ReconstructionMse",
        "sobel": "srprune.scoring.gradient:Sobel",
        "laplacian": "srprune.scoring.gradient:Laplacian",
        "random": "srprune.scoring.random_scores:RandomScores",
    },
)

BY_RECONSTRUCTION = ("mse", "bicubic")  # these depend on the scale
