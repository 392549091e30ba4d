"""ScoreTable: one number a patch; higher is harder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srprune.core.artifact import Header, check_parent, read_table, write_table
from srprune.core.errors import InputError
from srprune.core.score_parts import read_parts, scores_of


@dataclass(frozen=True)
class ScoreTable:
    """Scores of all patches of one index.

    Attributes:
        scores_N: (N,) float64, finite; higher is harder. Row i belongs to patch i.
        header: ``params`` name method, its settings, scale and degradation; ``parents`` the
            patch index (``patches``) and, where there is one, the scoring model (``scorer``).
    """

    scores_N: npt.NDArray[np.float64]
    header: Header

    def __len__(self) -> int:
        return len(self.scores_N)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the table."""
        return self.header.fingerprint

    @property
    def method(self) -> str:
        """Name of the scoring method."""
        return str(self.header.params["method"])

    @classmethod
    def write(
        cls,
        path: Path,
        scores_N: npt.NDArray[np.float64],
        *,
        parents: Mapping[str, str],
        params: Mapping[str, Any],
        made: Mapping[str, Any],
    ) -> ScoreTable:
        """Write scores atomically.

        Raises:
            InputError: a score is NaN or infinite; the message names the first such patch.
        """
        scores_N = np.ascontiguousarray(scores_N, dtype=np.float64)
        _check_finite(scores_N, path)
        header = write_table(
            path,
            "ScoreTable",
            {"patch_id": np.arange(len(scores_N), dtype=np.int64), "score": scores_N},
            parents=parents,
            params=params,
            made=made,
        )
        return cls(scores_N, header)

    @classmethod
    def read(cls, path: Path, patches: str | None = None) -> ScoreTable:
        """Read a table; with ``patches``, only if it was made from that patch index.

        Args:
            path: a file, or the folder of a table in parts (:mod:`srprune.core.score_parts`).
            patches: fingerprint of the patch index.

        Raises:
            MissingArtifact: there is no such file, or not all of its parts.
            ArtifactError: it is damaged or of another kind.
            ArtifactMismatch: it was made from another patch index.
            InputError: a score is NaN or infinite.
        """
        if path.is_dir():
            header, scores_N = read_parts(path)
        else:
            header, columns = read_table(path, "ScoreTable")
            scores_N = scores_of(path, columns)
        if patches is not None:
            method, scale = header.params["method"], header.params.get("scale")
            default = method if scale is None else f"{method}_x{scale}"
            named = "" if path.stem == default else f" --name {path.stem}"
            again = header.params.get(
                "made_by", f"srprune score --method {method}{named} --restart"
            )
            remedy = f"Run '{again}'."
            check_parent(path, header, "patches", patches, remedy)
        _check_finite(scores_N, path)
        return cls(scores_N, header)


def _check_finite(scores_N: npt.NDArray[np.float64], path: Path) -> None:
    bad = np.flatnonzero(~np.isfinite(scores_N))
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(scores_N)} scores are not finite; the first is "
            f"{scores_N[bad[0]]} of patch {bad[0]} ({path}, row {bad[0]}). "
            "Train the scoring model again, or score with another method."
        )
