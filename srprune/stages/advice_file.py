"""The advice as an artifact: a JSON file with a header, and a page beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from srprune.core.artifact import (
    FORMAT,
    Header,
    canonical,
    digest,
    first_difference,
    write_json,
    write_text,
)
from srprune.core.errors import ArtifactError, ArtifactMismatch
from srprune.stages.advice_text import advice_markdown

KIND = "Advice"

Facts = dict[str, Any]


def write_advice(
    path: Path,
    advice: Facts,
    *,
    parents: Mapping[str, str],
    params: Mapping[str, Any],
    made: Mapping[str, Any],
) -> Facts:
    """Write an advice as JSON, and beside it as Markdown; return it with its header."""
    header = Header(
        kind=KIND,
        fingerprint=_fingerprint(parents, params, advice),
        parents=dict(parents),
        params=dict(params),
        made=dict(made),
    )
    facts = {**advice, "header": asdict(header)}
    write_text(path.with_name(f"{path.stem}.md"), advice_markdown(facts))
    write_json(path, facts)
    return facts


def read_advice(path: Path, parents: Mapping[str, str], params: Mapping[str, Any]) -> Facts | None:
    """The finished advice; None where there is none, or one of the same search with fewer seeds.

    Raises:
        ArtifactError: it is damaged.
        ArtifactMismatch: it is that of another search.
    """
    try:
        facts: Facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} is not a readable advice ({error}). Delete it.") from error
    try:
        header = Header(**facts["header"])
        content = {key: value for key, value in facts.items() if key != "header"}
        whole = header.format == FORMAT and header.fingerprint == _fingerprint(
            header.parents, header.params, content
        )
    except (TypeError, LookupError, AttributeError) as error:
        raise ArtifactError(f"{path} is no advice of srprune. Delete it.") from error
    if not whole:
        raise ArtifactError(f"{path} was changed after it was made. Delete it.")
    there = {**header.params, "parents": header.parents}
    here = {**params, "parents": dict(parents)}
    begun = len(there.get("seeds", []))
    if begun < len(here["seeds"]) and there == {**here, "seeds": here["seeds"][:begun]}:
        return None  # its runs stand, and the search goes on to the seeds that are new
    if there != here:
        raise ArtifactMismatch(
            f"{path} is the advice of another search ({first_difference(there, here)}). Give "
            "another --name, or --restart to replace it."
        )
    return facts


def _fingerprint(
    parents: Mapping[str, str], params: Mapping[str, Any], content: Mapping[str, Any]
) -> str:
    """Over all but the commands, which name the folder of the workspace."""
    told = {key: value for key, value in content.items() if key != "commands"}
    return digest(KIND, *(canonical(dict(each)) for each in (parents, params, told)))
