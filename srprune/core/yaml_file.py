"""Strict YAML into a pydantic model: every fault at once, each with file and line.

PyYAML finds the structure; scalars are read by :mod:`srprune.core.yaml_scalars`, so that equal
keys, tags, merge keys and what readers of YAML disagree about are faults. Types, bounds and unknown
keys are judged by the model, in the words of :mod:`srprune.core.yaml_words`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from srprune.core.configs import other_kind
from srprune.core.errors import ConfigError, InputError
from srprune.core.names import unknown
from srprune.core.yaml_scalars import Dumper, Loader, key_text, scalar
from srprune.core.yaml_words import (
    SHOULD,
    TAG_FAULTS,
    KeyPath,
    Schema,
    children,
    dotted,
    expand,
    printable,
    shown,
    wanted,
)

M = TypeVar("M", bound=BaseModel)


def load(path: Path, model: type[M], overrides: Sequence[str] = ()) -> M:
    """Read a config file.

    Args:
        path: the YAML file, in UTF-8.
        model: the pydantic model that the file describes.
        overrides: settings ``a.b=value`` that replace those of the file; later ones win.

    Returns:
        The validated model.

    Raises:
        InputError: the file is missing, not readable or not UTF-8.
        ConfigError: with all faults of the file and of the overrides.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1}"
        raise InputError(f"{printable(str(path))} is not UTF-8 text ({where}).") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {printable(str(path))}: {reason}.") from error
    return parse(text, model, str(path), overrides)


def parse(text: str, model: type[M], source: str, overrides: Sequence[str] = ()) -> M:
    """Read a config from text.

    Args:
        text: one YAML document, a mapping; an empty text is an empty mapping.
        model: the pydantic model that the text describes.
        source: the name of the text in faults, usually its file.
        overrides: settings ``a.b=value`` that replace those of the text; later ones win.

    Returns:
        The validated model.

    Raises:
        ConfigError: with all faults of the text and of the overrides, in the order of the lines;
            with one alone where the text is a config of another kind.
    """
    reader = _Reader(source)
    data = reader.document(text)
    for override in overrides:
        reader.override(data, override)
    try:
        # Strict validation of JSON is the strictness of a config file: "3" is no number and 1 is
        # not true, yet 3 is a float, a list is a tuple, and text is a path or a member of an enum.
        made = model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        if other := other_kind(data, model.model_fields):
            raise ConfigError([f"{printable(source)} is {other}."]) from error
        reader.judge(error, model.model_json_schema())
        # Were no fault worded, pydantic's own words are better than none.
        raise ConfigError(reader.lines() or [" ".join(str(error).split())]) from error
    if reader.faults:
        raise ConfigError(reader.lines())
    return made


def dump(model: BaseModel) -> str:
    """Write a config as YAML that loads back to an equal model.

    Args:
        model: the config to write.

    Returns:
        YAML text, its keys in the order of the model.
    """
    data = model.model_dump(mode="json", by_alias=True, round_trip=True)
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)


_DEEPEST = 100  # levels; the JSON reader of pydantic stops at 200
_OVERRIDES = 10**9  # they sort behind all lines
_LARGEST = 200_000  # values; aliases of aliases can blow up a small file


@lru_cache(maxsize=64)
def _composed(text: str) -> yaml.Node | None:
    """The nodes of a YAML text, which nobody changes: a study reads a base file for every cell."""
    node: yaml.Node | None = yaml.compose(text, Loader=Loader)
    return node


class _Place(NamedTuple):
    """Where a value was given, and how that place sorts among the others."""

    order: int
    where: str


class _Reader:
    """Turns text into plain values and gathers the faults, with the place of every value."""

    def __init__(self, source: str) -> None:
        self._source = printable(source)
        self.faults: dict[tuple[_Place, str], list[str]] = {}  # what is wrong: what it must be
        self._top = _Place(0, self._source)
        self._places: dict[KeyPath, _Place] = {(): self._top}
        self._broken: set[KeyPath] = set()  # no value there, so that the model has no say
        self._override: _Place | None = None  # the place of all that is read, if no line is
        self._overrides = 0
        self._open: set[yaml.Node] = set()
        self._count = 0

    def lines(self) -> list[str]:
        """Give all faults as text, in the order of the file, those of overrides last."""
        found = []
        for (place, head), wants in self.faults.items():
            rest = [want.removeprefix("be ") for want in wants[1:]]
            want = f"; it must {' or '.join([wants[0], *rest])}" if wants else ""
            end = "" if head.endswith(".") else "."  # a list of names ends its own sentence
            found.append((place.order, f"{head}{want} ({place.where}){end}"))
        return [text for _, text in sorted(found, key=lambda each: each[0])]

    def document(self, text: str) -> dict[str, Any]:
        """Read a whole file; an empty mapping where there is none."""
        data = self._read(text, ())
        if isinstance(data, dict):
            return data
        if data is not None:
            self._fault(self._top, f"the file is {shown(data)}; it must be a mapping", broken=())
        return {}

    def override(self, data: dict[str, Any], text: str) -> None:
        """Set one ``a.b=value`` of the command line in the data."""
        self._overrides += 1
        place = _Place(_OVERRIDES + self._overrides, f"--set {printable(text)}")
        name, sign, value = text.partition("=")
        steps = name.strip().split(".")
        if not sign or not all(step and step.isprintable() for step in steps):
            self._fault(place, f"{text!r} is not a setting; it must be of the form a.b=value")
            return
        path: KeyPath = ()
        here: Any = data
        for depth, step in enumerate(steps, 1):
            key = _key(here, step)
            if key is None:
                size = f" of {len(here)}" if isinstance(here, list) else ""
                what = f"{dotted(path)} is {shown(here)}{size}"
                self._fault(place, f"{what}; it has no place {step!r} to set")
                return
            path = (*path, key)
            if depth < len(steps):
                if not isinstance(here, list) and here.get(key) is None:
                    here[key] = {}
                    self._places[path] = place
                here = here[key]
        for stale in [known for known in self._places if known[: len(path)] == path]:
            del self._places[stale]
        self._places[path] = self._override = place
        here[key] = self._read(value, path)
        self._override = None

    def _read(self, text: str, path: KeyPath) -> Any:
        """Read YAML text; what is not YAML at all is one fault."""
        try:
            node = _composed(text)
            return None if node is None else self._value(node, path)
        except yaml.MarkedYAMLError as error:
            words = ", ".join(filter(None, (error.context, error.problem)))
            mark = error.problem_mark or error.context_mark
            place = self._at(mark.line) if mark else self._override or self._top
        except yaml.reader.ReaderError as error:
            words = f"character U+{ord(text[error.position]):04X} is not allowed"
            place = self._at(text.count("\n", 0, error.position))
        except RecursionError:
            words, place = "it is nested too deeply", self._override or self._top
        except (ValueError, OverflowError) as error:  # an escape beyond Unicode, for one
            words, place = f"it has an impossible number, {error}", self._override or self._top
        self._fault(place, f"this is not valid YAML: {printable(words)}", broken=path)
        return None

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        """Turn a node into a plain value; None, and a fault, where it has none."""
        place = self._at(node.start_mark.line)
        self._places.setdefault(path, place)
        self._count += 1
        name = dotted(path) or "the file"
        if self._count > _LARGEST:
            trouble = f"more than {_LARGEST} values, aliases written out, are too many"
            place = self._override or self._top
        elif node.tag:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            trouble = f"{name} has the tag {tag!r}; it must stand without a tag"
        elif node in self._open:
            trouble = f"{name} is an alias of a value that it stands in; write the value out"
        elif len(path) > _DEEPEST:
            trouble = f"{dotted(path[:3])} is nested deeper than {_DEEPEST} levels"
        else:
            try:
                self._open.add(node)
                if isinstance(node, yaml.MappingNode):
                    return self._mapping(node, path)
                if isinstance(node, yaml.SequenceNode):
                    return [self._value(each, (*path, n)) for n, each in enumerate(node.value)]
                assert isinstance(node, yaml.ScalarNode)
                return scalar(node)
            except ValueError as error:
                trouble = f"{name}: {error}"
            finally:
                self._open.discard(node)
        self._fault(place, trouble, broken=path)
        return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        """Read a mapping, of which every key must be text and stand there once."""
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            place = self._at(key_node.start_mark.line)
            inside = f" in {dotted(path)}" if path else ""
            try:
                key = key_text(key_node)
            except ValueError as error:
                self._fault(place, f"a key{inside} is wrong: {error}", broken=path)
                continue
            line = key_node.start_mark.line + 1
            self._places.setdefault((*path, key), place)
            value = self._value(value_node, (*path, key))
            if key in first:
                twice = f"stands twice, in line {first[key]} and in line {line}; keep one"
                self._fault(place, f"key {dotted((*path, key))!r} {twice}")
            first.setdefault(key, line)
            data.setdefault(key, value)
        return data

    def _at(self, line: int) -> _Place:
        """Give the place of a line, counted from 0, of what is being read."""
        return self._override or _Place(line + 1, f"{self._source}, line {line + 1}")

    def _fault(
        self, place: _Place, head: str, want: str = "", broken: KeyPath | None = None
    ) -> None:
        """Note a fault; several wants of one head make one line, as alternatives."""
        wants = self.faults.setdefault((place, head), [])
        if want and want not in wants:
            wants.append(want)
        if broken is not None:
            self._broken.add(broken)

    def judge(self, error: ValidationError, root: Schema) -> None:
        """Note what the model found, except about values that could not be read at all."""
        for detail in error.errors(include_url=False):
            path, here = self._follow(detail["loc"], root)
            kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
            if kind.startswith("union_tag"):  # is said of the mapping, but the key is at fault
                key = context["discriminator"].strip("'")
                path, here = (*path, key), children(root, here, key)
                kind, value = TAG_FAULTS[kind], context.get("tag")
            if any(path[: len(b)] == b or b[: len(path)] == path for b in self._broken):
                continue
            near = next(path[:n] for n in range(len(path), -1, -1) if path[:n] in self._places)
            place, name = self._places[near], dotted(path)
            said = " ".join(detail["msg"].split())
            if kind == "missing":
                self._fault(place, f"{name} is missing", "be given")
            elif kind == "extra_forbidden":
                key, known = str(path[-1]), [k for each in here for k in each.get("properties", ())]
                within = dotted(path[:-1]) + "." if path[1:] else ""
                self._fault(place, str(unknown("key", key, known, within=within)))
            elif kind in ("value_error", "assertion_error"):  # "Value error, " goes before
                head = f"{name}: " if name else ""
                if name:  # what does not go together: the last override made it so
                    place = max([place, *self._overridden(path)])
                self._fault(place, head + said.partition(", ")[2].rstrip("."))
            else:
                want = wanted(kind, value, here) or "".join(SHOULD.findall(said))
                if isinstance(value, (dict, list)) and shown(value) in want:
                    continue  # another member of the union, of that kind, tells what is wrong in it
                head = f"{name or 'the file'} is {shown(value)}"
                self._fault(place, head if want else f"{head}; {said}", want)

    def _overridden(self, path: KeyPath) -> list[_Place]:
        """The overrides of what stands below a path."""
        own = (place for below, place in self._places.items() if below[: len(path)] == path)
        return [place for place in own if place.order > _OVERRIDES]

    def _follow(self, loc: KeyPath, root: Schema) -> tuple[KeyPath, list[Schema]]:
        """Translate a location of pydantic, which names members of unions too, into a path.

        Returns:
            The path in the data, and the schemas there; for an unknown key, those of its mapping.
        """
        path: KeyPath = ()
        here = list(expand(root, root))
        for step in loc:
            tags = [each.get("discriminator", {}).get("mapping", {}) for each in here]
            tagged = [{"$ref": refs[step]} for refs in tags if step in refs]
            below = children(root, here, step)
            if tagged:  # before a key of a tagged union comes its tag
                here = [each for ref in tagged for each in expand(root, ref)]
            elif below or (*path, step) in self._places:
                path, here = (*path, step), below or here
            else:  # the name of a member of another union
                here = [each for each in here if each.get("title") == step] or here
        return path, here


def _key(here: object, step: str) -> str | int | None:
    """Give the key that a step of an override names in a mapping or list, or None."""
    if isinstance(here, list):
        fits = re.fullmatch("[0-9]{1,9}", step) and int(step) < len(here)
        return int(step) if fits else None
    return step if isinstance(here, dict) else None
