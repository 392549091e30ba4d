"""ErrorMaps: where in each patch the error is, small enough to look at by the thousand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import Header, check_parent, read_table, write_table
from srprune.core.errors import ArtifactError

SIDE = 16  # cells of a map a side; a cell is the mean over size/16 x size/16 px of the patch


@dataclass(frozen=True)
class ErrorMaps:
    """One map a patch, of 16x16 cells.

    Attributes:
        cells_NHW: (N, 16, 16) float32, at least 0, in the unit of the score's error.
        header: ``parents`` hold the score table (``scores``) and the patch index (``patches``).
    """

    cells_NHW: npt.NDArray[np.float32]
    header: Header

    @classmethod
    def write(
        cls,
        path: Path,
        cells_NHW: npt.NDArray[np.float32],
        *,
        parents: Mapping[str, str],
        params: Mapping[str, Any],
        made: Mapping[str, Any],
    ) -> ErrorMaps:
        """Write maps atomically, a column a cell; float16 is finer than a screen."""
        cells_NK = cells_NHW.astype(np.float16).reshape(len(cells_NHW), -1)
        columns = {f"cell_{k:03d}": np.ascontiguousarray(cells_NK[:, k]) for k in range(SIDE**2)}
        header = write_table(path, "ErrorMaps", columns, parents=parents, params=params, made=made)
        return cls(cells_NK.astype(np.float32).reshape(-1, SIDE, SIDE), header)

    @classmethod
    def read(cls, path: Path, scores: str) -> ErrorMaps:
        """Read the maps of a score table.

        Args:
            path: of the file.
            scores: fingerprint of the score table that they must belong to.

        Raises:
            MissingArtifact: there is no such file.
            ArtifactError: it is damaged or of another kind.
            ArtifactMismatch: it belongs to another score table.
        """
        header, columns = read_table(path, "ErrorMaps")
        check_parent(path, header, "scores", scores, "Run 'srprune score --maps --restart'.")
        if len(columns) != SIDE**2:
            raise ArtifactError(f"{path} must have {SIDE**2} columns, a cell of the map each.")
        cells_NK = np.stack([columns[name] for name in sorted(columns)], axis=1)
        return cls(cells_NK.astype(np.float32).reshape(-1, SIDE, SIDE), header)
