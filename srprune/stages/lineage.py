"""What it took to choose a core-set: seconds of all that it was made from."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from pathlib import Path

from srprune.core.artifact import Header, read_header
from srprune.core.errors import UserError
from srprune.core.weights import read_weights_header
from srprune.core.workspace import Workspace
from srprune.stages.restorers import WEIGHTS

POOL = "patches"  # which the full set needs, too


class Lineage:
    """Finds the artifacts of a workspace that a core-set comes from."""

    def __init__(self, workspace: Workspace) -> None:
        """Look when asked."""
        self._workspace = workspace

    def seconds(self, coreset: Path) -> float | None:
        """Seconds of choosing a core-set: its scoring models, scores and features with it.

        None where there is no such core-set, or where one of these is not in the workspace any
        more: a part would pass for the whole.
        """
        try:
            ahead = [read_header(coreset)]
        except UserError:
            return None
        total = 0.0
        seen: set[str] = set()
        while ahead:
            header = ahead.pop()
            total += float(header.made.get("seconds", 0.0))
            for role, parent in header.parents.items():
                if role == POOL or parent in seen:
                    continue
                if parent not in self._headers:
                    return None
                seen.add(parent)
                ahead.append(self._headers[parent])
        return total

    @cached_property
    def _headers(self) -> dict[str, Header]:
        """Of scoring models, scores and features, by fingerprint; damaged ones are passed over."""
        place = self._workspace
        tables = [*place.score_tables(), *place.feature_tables()]
        weights = [folder / WEIGHTS for folder in [*place.scorers(), *place.runs()]]
        found: dict[str, Header] = {}
        for paths, read in ((tables, read_header), (weights, read_weights_header)):
            for path in paths:
                with suppress(UserError):
                    header = read(path)
                    found[header.fingerprint] = header
        return found
