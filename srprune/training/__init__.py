"""The training engine: step plan, loop, state."""

from srprune.core.registry import Table

LOSSES = Table(
    "loss",
    {
        "l1": "srprune.training.losses:l1",
        "mse": "srprune.training.losses:mse",
        "euclidean": "srprune.training.losses:euclidean",
        "bd": "srprune.training.balanced:bd",
    },
)
"""Functions from :class:`~srprune.training.criterion.Given` to a
:class:`~srprune.training.criterion.Loss`."""
