"""CoreSet: the patches that are kept, and how they were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import Header, check_parent, read_table, write_table
from srprune.core.errors import ArtifactError


@dataclass(frozen=True)
class CoreSet:
    """Kept patches of one index.

    Attributes:
        patch_ids: (kept,) int64, sorted, unique.
        header: ``params`` hold rule, ratio, offset, seed, ``num_patches`` (N), ``num_skipped``
            and ``num_kept``; ``parents`` the patch index (``patches``) and, for rules that
            rank, the score table (``scores``).
    """

    patch_ids: npt.NDArray[np.int64]
    header: Header

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
    ) -> CoreSet:
        """Write a core-set atomically; ids are sorted here."""
        patch_ids = np.sort(np.asarray(patch_ids, dtype=np.int64))
        header = write_table(
            path,
            "CoreSet",
            {"patch_id": patch_ids},
            parents=parents,
            params={**params, "num_kept": len(patch_ids)},
            made=made,
        )
        return cls(patch_ids, header)

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
        total = int(header.params["num_patches"])
        if (
            ids is None
            or ids.dtype != np.int64
            or not len(ids)
            or ids[0] < 0
            or ids[-1] >= total
            or (np.diff(ids) <= 0).any()
        ):
            raise ArtifactError(
                f"{path} must hold sorted, unique patch ids from 0 to {total - 1}, at least one."
            )
        return cls(ids, header)
