"""What ``inspect`` prints of a workspace."""

from __future__ import annotations

import json
import time
from itertools import groupby

import click

from srprune.core.inventory import ORDER, Entry, facts_of, take_inventory
from srprune.core.workspace import Workspace
from srprune.reporting.tables import align

TITLES = {"error_maps": "error maps", "coresets": "core-sets", "scorers": "scoring models"}
NOUNS = {"FeatureTable": "features", "GroupTable": "groups", "ErrorMaps": "error maps"}
AGES = ((86400, "day"), (3600, "hour"), (60, "minute"))


def overview(workspace: Workspace, as_json: bool) -> None:
    """Print everything in a workspace, its size and age, and whether it belongs together.

    Raises:
        MissingArtifact: there is no such folder.
    """
    entries = take_inventory(workspace)
    unread = any(entry.section == "patches" and entry.problem for entry in entries)
    apart = [entry for entry in entries if entry.problem or _missing(entry, unread)]
    num_bytes = sum(entry.num_bytes for entry in entries)
    if as_json:
        facts = {
            "workspace": str(workspace.root),
            "bytes": num_bytes,
            "belongs_together": not apart,
            "entries": [facts_of(entry) for entry in entries],
        }
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(f"workspace {workspace.root}: {size(num_bytes)}")
    now = time.time()
    for title, group in groupby(entries, key=_title):
        click.echo(f"\n{title}")
        lines = [_cells(entry, now) for entry in group]
        for line in align(lines, "<<>>"):
            click.echo(f"  {line}")
    click.echo()
    for entry in apart:
        click.echo(f"note: {entry.section}/{entry.name}: {_why(entry, unread)}")
    if not entries:
        click.echo("it is empty. Run 'srprune extract' first.")
    elif not apart:
        click.echo("everything belongs together.")


def _title(entry: Entry) -> str:
    return TITLES.get(entry.section, entry.section) if entry.section in ORDER else "also there"


def _cells(entry: Entry, now: float) -> list[str]:
    return [entry.name, _what(entry), size(entry.num_bytes), _age(now - entry.modified)]


def _what(entry: Entry) -> str:
    """The few words that tell one entry from its neighbours."""
    if not entry.header:
        return "cannot be read" if entry.problem else entry.state
    params = entry.header.params
    if entry.header.kind == "PatchIndex":
        return f"{entry.rows:,} patches of {params.get('size')} px"
    if entry.header.kind == "CoreSet":
        return f"{entry.rows:,} of {params.get('num_patches', 0):,} patches"
    if entry.header.kind == "ScoreTable":
        return f"{entry.rows:,} scores by {params.get('method')}"
    if entry.header.kind == "EvalTable":
        return f"{params.get('protocol')}, {', '.join(params.get('benchmarks', ()))}"
    if entry.header.kind == "Weights":
        steps = f", {params['steps']:,} steps" if "steps" in params else ""
        return f"{params['model']} x{params['scale']}{steps}, {entry.state}"
    return f"{NOUNS.get(entry.header.kind, entry.header.kind)} of {entry.rows:,} patches"


def _missing(entry: Entry, unread: bool) -> dict[str, str]:
    """Parents that are missing; not that index, where it is ``unread``."""
    return {r: mark for r, mark in entry.missing.items() if not (unread and r == "patches")}


def _why(entry: Entry, unread: bool) -> str:
    """Why an entry does not belong to the others."""
    if entry.problem:
        return entry.problem
    return "; ".join(
        f"made from other patches ({mark})"
        if role == "patches"
        else f"its {role} {mark} {'are' if role == 'scores' else 'is'} not in this workspace"
        for role, mark in _missing(entry, unread).items()
    )


def size(num_bytes: int) -> str:
    """Bytes in a unit that fits."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:,.1f} {name}"
    return f"{num_bytes} B"


def _age(seconds: float) -> str:
    for unit, name in AGES:
        number = int(seconds // unit)
        if number >= 1:
            return f"{number} {name}{'s' if number > 1 else ''} ago"
    return "just now"
