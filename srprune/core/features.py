"""FeatureTable: one vector a patch, for rules that look at more than one number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import Header, check_parent, read_table, write_table
from srprune.core.errors import ArtifactError, InputError

Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FeatureTable:
    """Features of all patches of one index.

    Attributes:
        features_ND: (N, D) float32, finite; row i belongs to patch i.
        names: what each of the D columns is called.
        header: ``params`` name the features; ``parents`` hold the patch index (``patches``).
    """

    features_ND: Features
    names: tuple[str, ...]
    header: Header

    def __len__(self) -> int:
        return len(self.features_ND)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the table."""
        return self.header.fingerprint

    @classmethod
    def write(
        cls,
        path: Path,
        features_ND: Features,
        names: Sequence[str],
        *,
        parents: Mapping[str, str],
        params: Mapping[str, Any],
        made: Mapping[str, Any],
    ) -> FeatureTable:
        """Write features atomically, a column a name.

        Raises:
            InputError: a feature is NaN or infinite; the message names the first such patch.
        """
        features_ND = np.ascontiguousarray(features_ND, dtype=np.float32)
        _check_finite(features_ND, names, path)
        columns: dict[str, npt.NDArray[Any]] = {
            "patch_id": np.arange(len(features_ND), dtype=np.int64)
        }
        for name, feature_N in zip(names, features_ND.T, strict=True):
            columns[name] = np.ascontiguousarray(feature_N)
        header = write_table(
            path, "FeatureTable", columns, parents=parents, params=params, made=made
        )
        return cls(features_ND, tuple(names), header)

    @classmethod
    def read(cls, path: Path, patches: str | None = None) -> FeatureTable:
        """Read a table; with ``patches``, only if it was made from that patch index.

        Raises:
            MissingArtifact: there is no such file.
            ArtifactError: it is damaged or of another kind.
            ArtifactMismatch: it was made from another patch index.
            InputError: a feature is NaN or infinite.
        """
        header, columns = read_table(path, "FeatureTable")
        if patches is not None:
            remedy = "Make the features again from the patches at hand, or delete the file."
            check_parent(path, header, "patches", patches, remedy)
        ids_N = columns.pop("patch_id", None)
        if (
            ids_N is None
            or not columns
            or any(column.dtype != np.float32 for column in columns.values())
            or not np.array_equal(ids_N, np.arange(len(ids_N)))
        ):
            raise ArtifactError(
                f"{path} must have the column patch_id (0, 1, 2, ...) and float32 columns, "
                "at least one."
            )
        features_ND = np.stack(list(columns.values()), axis=1)
        _check_finite(features_ND, list(columns), path)
        return cls(features_ND, tuple(columns), header)


def _check_finite(features_ND: Features, names: Sequence[str], path: Path) -> None:
    bad = np.argwhere(~np.isfinite(features_ND))
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"{len(bad)} of {features_ND.size} features are not finite; the first is "
            f"{features_ND[row, column]} of patch {row} ({path}, column {names[column]}, "
            f"row {row}). Make the features again."
        )
