"""CoreSet: the patches that are kept, and how they were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import Header, check_parent, read_table, write_table
from srprune.core.errors import ArtifactError, InputError

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CoreSet:
    """Kept patches of one index.

    Attributes:
        patch_ids: (kept,) int64, sorted, unique.
        header: ``params`` hold rule, ratio, offset, seed, ``num_patches`` (N), ``num_skipped``
            and ``num_kept``, where there are any ``settings`` and ``budget``; ``parents`` the
            patch index (``patches``) and what the rule looked at, the score table (``scores``)
            and the ``features``.
        weights: (kept,) float64, how often each patch is drawn in training beside the others;
            positive, mean 1. None draws all of them alike.
    """

    patch_ids: npt.NDArray[np.int64]
    header: Header
    weights: Weights | None = None

    def __len__(self) -> int:
        return len(self.patch_ids)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the core-set."""
        return self.header.fingerprint

    @classmethod
    def write(
        cls,
        path: Path,
        patch_ids: npt.NDArray[np.int64],
        *,
        parents: Mapping[str, str],
        params: Mapping[str, Any],
        made: Mapping[str, Any],
        weights: Weights | None = None,
    ) -> CoreSet:
        """Write a core-set atomically; ids, and the weights with them, are sorted here.

        Raises:
            InputError: ids that are none of the ``num_patches`` of ``params``, or stand twice; a
                weight is not positive and finite, or their mean is not 1.
        """
        patch_ids = np.asarray(patch_ids, dtype=np.int64)
        if weights is not None:
            weights = np.asarray(weights, dtype=np.float64)[np.argsort(patch_ids)]
            if fault := _fault_of(weights):
                raise InputError(f"the weights of {path} cannot be used: {fault}.")
        if (patch_ids[1:] < patch_ids[:-1]).any():
            patch_ids = np.sort(patch_ids)
        if fault := _fault_of_ids(patch_ids, params.get("num_patches")):
            raise InputError(f"{path} cannot be written: {fault}.")
        columns: dict[str, npt.NDArray[Any]] = {"patch_id": patch_ids}
        if weights is not None:
            columns["weight"] = weights
        header = write_table(
            path,
            "CoreSet",
            columns,
            parents=parents,
            params={**params, "num_kept": len(patch_ids)},
            made=made,
        )
        return cls(patch_ids, header, weights)

    @classmethod
    def read(cls, path: Path, patches: str | None = None) -> CoreSet:
        """Read a core-set; with ``patches``, only if it was made from that patch index.

        Raises:
            MissingArtifact: there is no such file.
            ArtifactError: it is damaged or of another kind.
            ArtifactMismatch: it was made from another patch index.
        """
        header, columns = read_table(path, "CoreSet")
        if patches is not None:
            check_parent(
                path,
                header,
                "patches",
                patches,
                "Run 'srprune select' again, or name another --workspace.",
            )
        ids = columns.get("patch_id")
        if fault := _fault_of_ids(ids, header.params.get("num_patches")):
            raise ArtifactError(f"{path} is no core-set that can be used: {fault}.")
        assert ids is not None
        weights = columns.get("weight")
        if weights is not None and (fault := _fault_of(weights)):
            raise ArtifactError(f"the column weight of {path} cannot be used: {fault}.")
        return cls(ids, header, weights)


def _fault_of_ids(ids: npt.NDArray[Any] | None, total: object) -> str | None:
    """What is wrong with patch ids, in words; None where nothing is."""
    if not isinstance(total, int):
        return f"num_patches, of the patch index, must stand in its params, and is {total!r}"
    if (
        ids is None
        or ids.dtype != np.int64
        or not len(ids)
        or ids[0] < 0
        or ids[-1] >= total
        or (ids[1:] <= ids[:-1]).any()
    ):
        return f"it must hold sorted, unique patch ids from 0 to {total - 1}, at least one"
    return None


def _fault_of(weights: npt.NDArray[Any]) -> str | None:
    """What is wrong with weights, in words; None where nothing is."""
    if weights.dtype != np.float64:
        return f"weights are float64, these are {weights.dtype}"
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights > 0)))
    if len(bad):
        return f"row {bad[0]} is {weights[bad[0]]}, and a weight is positive and finite"
    if abs(weights.mean() - 1) > 1e-9:
        return f"their mean is {weights.mean():.6g}, and it must be 1"
    return None
