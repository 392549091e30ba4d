"""ErrorMaps: where in each patch the error is, small enough to look at by the thousand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import Header, check_parent, read_table, write_table
from srprune.core.errors import ArtifactError, InputError

SIDE = 16  # cells of a map a side; a cell is the mean over size/16 x size/16 px of the patch
_CELLS = [f"cell_{k:03d}" for k in range(SIDE**2)]


@dataclass(frozen=True)
class ErrorMaps:
    """One map a patch, of 16x16 cells.

    The file has a column a cell, which is a float16 share of the patch's ``peak``: finer than a
    screen, however small the errors of a patch are.

    Attributes:
        cells_NHW: (N, 16, 16) float32, finite, in the unit of the error; below 0 where a measure is
            a difference.
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
        """Write maps atomically.

        Raises:
            InputError: a cell is NaN or infinite; the message names the first such patch.
            StorageError: the disk is full, or the folder may not be written.
        """
        cells_NK = cells_NHW.reshape(-1, SIDE**2).astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(cells_NK).all(axis=1))
        if len(bad):
            raise InputError(
                f"the error maps of {len(bad)} of {len(cells_NK)} patches are not finite; the "
                f"first is that of patch {bad[0]} ({path}, row {bad[0]}). Train the scoring model "
                "again, or score with another method."
            )
        peak_N = np.abs(cells_NK).max(axis=1, initial=0)
        shares_NK = (cells_NK / np.where(peak_N, peak_N, 1)[:, None]).astype(np.float16)
        columns: dict[str, npt.NDArray[Any]] = {"peak": peak_N}
        columns |= {name: shares_NK[:, k].copy() for k, name in enumerate(_CELLS)}
        header = write_table(path, "ErrorMaps", columns, parents=parents, params=params, made=made)
        return cls(_cells(peak_N, shares_NK), header)

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
        check_parent(path, header, "scores", scores, "Run 'srprune score --maps' again.")
        if set(columns) != {"peak", *_CELLS}:
            raise ArtifactError(
                f"{path} must have the columns peak and {_CELLS[0]} to {_CELLS[-1]}. "
                "Run 'srprune score --maps' again."
            )
        shares_NK = np.stack([columns[name] for name in _CELLS], axis=1)
        return cls(_cells(columns["peak"], shares_NK), header)


def _cells(
    peak_N: npt.NDArray[np.float32], shares_NK: npt.NDArray[np.float16]
) -> npt.NDArray[np.float32]:
    cells_NK: npt.NDArray[np.float32] = shares_NK.astype(np.float32) * peak_N[:, None]
    return cells_NK.reshape(-1, SIDE, SIDE)
