"""The words of a fault in a config: what a value is, and what it must be.

Types, bounds and choices come from the JSON schema of the pydantic model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

KeyPath = tuple[str | int, ...]
Schema = Mapping[str, Any]
OLD_BOOLS = frozenset({"on", "off", "yes", "no", "y", "n"})  # booleans of YAML 1.1

_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
}
_BOUNDS = {
    "exclusiveMinimum": "greater than",
    "minimum": "at least",
    "exclusiveMaximum": "less than",
    "maximum": "at most",
    "multipleOf": "a multiple of",
}
SHOULD = re.compile(r"^\w+ should (.*?)(?: after validation.*)?$")  # pydantic's own words
TAG_FAULTS = {"union_tag_invalid": "literal_error", "union_tag_not_found": "missing"}
_BOUND_FAULTS = frozenset(
    {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "multiple_of"}
)


def wanted(fault: str, value: object, here: Sequence[Schema]) -> str:
    """Say what a value must be, given pydantic's name of the fault; empty if there are no words."""
    if fault in _BOUND_FAULTS:
        bounds = [
            f"{_BOUNDS[key]} {_plain(each[key])}" for each in here for key in _BOUNDS if key in each
        ]
        return f"be {' and '.join(bounds)}" if bounds else ""
    if fault in ("literal_error", "enum"):
        choices = [choice for each in here for choice in _choices(each)]
        names = [each if isinstance(each, str) else shown(each) for each in choices]
        return f"be {'one of ' if len(names) > 1 else ''}{', '.join(names)}" if names else ""
    if not fault.endswith("_type"):
        return ""
    plain = (each.get("type") for each in here if not _choices(each))
    kinds = " or ".join(dict.fromkeys(_KINDS[kind] for kind in plain if kind in _KINDS))
    old = isinstance(value, str) and value.lower() in OLD_BOOLS and "true" in kinds
    note = "; YAML 1.2 knows true and false only" if old else ""
    return f"be {kinds}{note}" if kinds else ""


def _plain(bound: float) -> float:
    """A bound as it was written: older versions of pydantic make 1.0 of 1."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _choices(schema: Schema) -> list[Any]:
    return list(schema.get("enum", [schema["const"]] if "const" in schema else []))


def expand(root: Schema, schema: object) -> Iterator[Schema]:
    """Give a schema and all that it refers to or is a union of."""
    if not isinstance(schema, Mapping):  # true and false are schemas too
        return
    yield schema
    if "$ref" in schema:
        yield from expand(root, root["$defs"][schema["$ref"].rpartition("/")[2]])
    for union in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(union, ()):
            yield from expand(root, each)


def children(root: Schema, here: Iterable[Schema], step: str | int) -> list[Schema]:
    """Give what the schemas at a place say of one key or item there."""
    found: list[object] = []
    for each in here:
        if isinstance(step, int):
            items = each.get("prefixItems", [])
            found.append(items[step] if step < len(items) else each.get("items"))
        else:
            found.append(each.get("properties", {}).get(step, each.get("additionalProperties")))
    return [schema for each in found for schema in expand(root, each)]


def dotted(path: Iterable[str | int]) -> str:
    """Write a path as users do: ``optimizer.lr``."""
    return ".".join(printable(str(step)) for step in path)


def printable(text: str) -> str:
    """Keep a fault to one line, whatever the user wrote."""
    return text if text.isprintable() else repr(text)


def shown(value: object) -> str:
    """Say a value in a few words, as the user wrote it."""
    if value is None or isinstance(value, bool):
        return {None: "empty", True: "true", False: "false"}[value]
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
