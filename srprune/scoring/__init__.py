"""Scoring: one number a patch, higher is harder.

``SCORERS`` maps a method to a class. Those of ``RECONSTRUCTION`` are measures of
:mod:`srprune.scoring.measures`: they say what is wrong with a pixel of a restorer's SR, and
:mod:`srprune.scoring.reconstruction` makes one number a patch of it. All others are made without
arguments, and their objects take (patch ids, PatchPool) and give float64 scores.
"""

from __future__ import annotations

from dataclasses import dataclass

from srprune.core.registry import Table

SCORERS = Table(
    "scoring method",
    {
        "mse": "srprune.scoring.measures:Mse",
        "l1": "srprune.scoring.measures:L1",
        "psnr": "srprune.scoring.measures:Psnr",
        "ssim": "srprune.scoring.measures:Ssim",
        "uncertainty": "srprune.scoring.measures:Uncertainty",
        "reducible": "srprune.scoring.measures:Reducible",
        "bicubic": "srprune.scoring.measures:Bicubic",
        "sobel": "srprune.scoring.gradient:Sobel",
        "sobel_swapped": "srprune.scoring.gradient:SwappedSobel",
        "laplacian": "srprune.scoring.gradient:Laplacian",
        "variance": "srprune.scoring.texture:Variance",
        "entropy": "srprune.scoring.texture:Entropy",
        "high_frequency": "srprune.scoring.texture:HighFrequency",
        "random": "srprune.scoring.random_scores:RandomScores",
    },
)


@dataclass(frozen=True)
class Models:
    """How many scoring models a method takes.

    Attributes:
        least: at least; where it is 1, the only one of the workspace need not be named.
        most: at most; None for any number.
    """

    least: int
    most: int | None

    def __str__(self) -> str:
        if self.most is None:
            return f"{self.least} or more scoring models"
        return {0: "no scoring model", 1: "one scoring model", 2: "two scoring models"}[self.most]


# A method that stands here restores LR, so that its scores depend on the scale; no other does.
RECONSTRUCTION = {
    "mse": Models(1, 1),
    "l1": Models(1, 1),
    "psnr": Models(1, 1),
    "ssim": Models(1, 1),
    "uncertainty": Models(1, None),
    "reducible": Models(2, 2),
    "bicubic": Models(0, 0),
}
NO_MODEL = Models(0, 0)  # all other methods
