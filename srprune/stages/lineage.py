"""What it took to choose a core-set: seconds of all that it was made from."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property

from srprune.core.artifact import Header, read_header
from srprune.core.errors import UserError
from srprune.core.patches import PatchIndex
from srprune.core.weights import read_weights_header
from srprune.core.workspace import Workspace
from srprune.stages.extract import read_index
from srprune.stages.restorers import WEIGHTS

POOL = "patches"  # which the full set needs, too


class Lineage:
    """Finds what the core-sets of a workspace come from; each artifact is read once.

    Attributes:
        workspace: that holds them.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Look when asked."""
        self.workspace = workspace

    @cached_property
    def index(self) -> PatchIndex:
        """The patches, from which all comes."""
        return read_index(self.workspace)

    def seconds(self, coreset: Header) -> float | None:
        """Seconds of choosing a core-set: its scoring models, scores and features with it.

        None where one of these is not in the workspace any more: a part would pass for the whole.
        """
        ahead = [coreset]
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
        place = self.workspace
        tables = [*place.score_tables(), *place.feature_tables()]
        weights = [folder / WEIGHTS for folder in [*place.scorers(), *place.runs()]]
        found: dict[str, Header] = {}
        for paths, read in ((tables, read_header), (weights, read_weights_header)):
            for path in paths:
                with suppress(UserError):
                    header = read(path)
                    found[header.fingerprint] = header
        return found
