"""The rules that choose a core-set: arithmetic on arrays, without torch and without images."""

from srprune.core.registry import Table

RULES = Table(
    "rule",
    {
        "des": "srprune.selection.rank_window:des",
        "asc": "srprune.selection.rank_window:asc",
        "random": "srprune.selection.random_uniform:random_uniform",
        "ccs": "srprune.selection.ccs:ccs",
        "stratified": "srprune.selection.stratified:stratified",
        "hes": "srprune.selection.hes:hes",
        "clustered": "srprune.selection.clustered:clustered",
        "diverse": "srprune.selection.diverse:diverse",
        "adaptive": "srprune.selection.adaptive:adaptive",
        "distilled": "srprune.selection.distilled:distilled",
    },
)
