"""The rules that choose a core-set: arithmetic on arrays, without torch and without images."""

from srprune.core.registry import Table

RULES = Table(
    "rule",
    {
        "des": "srprune.selection.rank_window:des",
        "asc": "srprune.selection.rank_window:asc",
        "random": "srprune.selection.random_uniform:random_uniform",
    },
)
