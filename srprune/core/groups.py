"""GroupTable: one label a patch, such as its cluster or its class of difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import Header, check_parent, read_table, write_table
from srprune.core.errors import ArtifactError

Labels = npt.NDArray[np.int32]

NO_GROUP = -1  # of patches that were passed over before groups were made


@dataclass(frozen=True)
class GroupTable:
    """Groups of all patches of one index.

    Attributes:
        labels_N: (N,) int32; row i belongs to patch i. Groups count from 0, -1 is no group.
        header: ``params`` name the rule and its settings; ``parents`` hold the patch index
            (``patches``) and whatever else the groups were made from.
    """

    labels_N: Labels
    header: Header

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the table."""
        return self.header.fingerprint

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """(groups,) number of patches of each group, up to the last one that has any."""
        return np.bincount(self.labels_N[self.labels_N >= 0])

    @classmethod
    def write(
        cls,
        path: Path,
        labels_N: npt.NDArray[np.integer],
        *,
        parents: Mapping[str, str],
        params: Mapping[str, Any],
        made: Mapping[str, Any],
    ) -> GroupTable:
        """Write labels atomically."""
        groups_N: Labels = np.ascontiguousarray(labels_N, dtype=np.int32)
        columns: dict[str, npt.NDArray[Any]] = {
            "patch_id": np.arange(len(groups_N), dtype=np.int64),
            "group": groups_N,
        }
        header = write_table(path, "GroupTable", columns, parents=parents, params=params, made=made)
        return cls(groups_N, header)

    @classmethod
    def read(cls, path: Path, patches: str | None = None) -> GroupTable:
        """Read a table; with ``patches``, only if it was made from that patch index.

        Raises:
            MissingArtifact: there is no such file.
            ArtifactError: it is damaged or of another kind.
            ArtifactMismatch: it was made from another patch index.
        """
        header, columns = read_table(path, "GroupTable")
        if patches is not None:
            check_parent(path, header, "patches", patches, "Run 'srprune select' again.")
        labels_N, ids_N = columns.get("group"), columns.get("patch_id")
        if (
            labels_N is None
            or ids_N is None
            or labels_N.dtype != np.int32
            or not np.array_equal(ids_N, np.arange(len(ids_N)))
            or (labels_N < NO_GROUP).any()
        ):
            raise ArtifactError(
                f"{path} must have the columns patch_id (0, 1, 2, ...) and group (int32, -1 or up)."
            )
        return cls(labels_N, header)
