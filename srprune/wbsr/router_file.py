"""The file of a router whose facts are plain numbers: JSON with a header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from srprune.core.artifact import FORMAT, Header, canonical, digest, write_json
from srprune.core.errors import ArtifactError


def write_router(
    path: Path,
    kind: str,
    facts: Mapping[str, Any],
    *,
    parents: Mapping[str, str],
    made: Mapping[str, Any],
) -> Header:
    """Write the facts of a router, plain JSON values, whole or not at all; return the header.

    Raises:
        StorageError: the file cannot be written.
    """
    header = Header(
        kind=kind,
        fingerprint=_fingerprint(kind, parents, facts),
        parents=dict(parents),
        params=dict(facts),
        made=dict(made),
    )
    write_json(path, asdict(header))
    return header


def read_router(path: Path, kind: str) -> Header:
    """The header of a router's file; its ``params`` are the facts.

    Raises:
        ArtifactError: there is no such file, or it is damaged, of another kind or changed by hand.
    """
    try:
        header = Header(**json.loads(path.read_text(encoding="utf-8")))
        whole = header.fingerprint == _fingerprint(header.kind, header.parents, header.params)
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not what srprune writes"
        raise ArtifactError(
            f"{path} is not a readable router ({reason}). Fit it again: srprune route."
        ) from error
    if header.kind != kind:
        raise ArtifactError(f"{path} holds {header.kind}, not {kind}. Name a file of that kind.")
    if not whole or header.format != FORMAT:
        raise ArtifactError(
            f"{path} was changed after it was made, or by another version. Fit it again: "
            "srprune route."
        )
    return header


def _fingerprint(kind: str, parents: Mapping[str, str], facts: Mapping[str, Any]) -> str:
    return digest(kind, str(FORMAT), canonical(dict(parents)), canonical(dict(facts)))
