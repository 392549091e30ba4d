"""Strict YAML into a pydantic model: every fault at once, each with file and line.

PyYAML speaks YAML 1.1, where ``1e-4`` is text, ``010`` is 8, ``on`` is true, ``1:30`` is 90, and
the last of two equal keys wins in silence. Here PyYAML only finds the structure; plain scalars are
read as YAML 1.2 reads them (the core schema, decimal numbers only), and whatever readers of YAML
disagree about is a fault. Types, bounds and unknown keys are then judged by the model, and its
JSON schema supplies the words of each fault.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from srprune.core.errors import ConfigError, InputError
from srprune.core.names import unknown

M = TypeVar("M", bound=BaseModel)
_Path = tuple[str | int, ...]
_Schema = Mapping[str, Any]


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
        raise InputError(f"{_printable(str(path))} is not UTF-8 text ({where}).") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {_printable(str(path))}: {reason}.") from error
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
        ConfigError: with all faults of the text and of the overrides, in the order of the lines.
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
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


# --- scalars ------------------------------------------------------------------------------------

_DIGITS = "[0-9]+(?:_[0-9]+)*"
_INT = re.compile(f"[-+]?{_DIGITS}")
_FLOAT = re.compile(rf"[-+]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_OLD_BOOLS = frozenset({"on", "off", "yes", "no", "y", "n"})
_LONGEST_NUMBER = 300  # digits; a longer integer would not fit a float


def _plain(text: str) -> bool | int | float | str | None:
    """Read a scalar without quotes; ValueError, with the fault, where YAML readers disagree."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        sign, digits = text.rstrip("0123456789_"), text.lstrip("-+").replace("_", "")
        if len(digits) > _LONGEST_NUMBER:
            raise ValueError(f"a number of {len(digits)} digits is too long")
        if digits[0] == "0" and len(digits) > 1:
            octal = f"{sign}{int(digits, 8)}" if re.search("[89]", digits) is None else "text"
            raise ValueError(
                f"{text} is read as {octal} by some YAML readers and as {int(text)} by others; "
                f"write {int(text)}, or {text!r} in quotes for text"
            )
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(text.replace(".", "")) if _NOT_FINITE.fullmatch(text) else text


class _Loader(yaml.SafeLoader):
    """Finds the structure and leaves the scalars as they are written."""

    def resolve(self, kind: object, value: object, implicit: object) -> str:
        """Give no tag to what has none of its own."""
        return ""


class _Dumper(yaml.SafeDumper):
    """Quotes text that a reader of YAML 1.1 or one of YAML 1.2 would not take for text."""

    def ignore_aliases(self, data: object) -> bool:
        """Write equal lists out in full."""
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        """Leave the choice of quotes to PyYAML only where both versions agree."""
        try:
            same = data.isprintable() and _plain(data) == data
        except ValueError:
            same = False
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if same else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


def _scalar(node: yaml.ScalarNode) -> bool | int | float | str | None:
    """Read a scalar; ValueError, with the fault, where that cannot be done."""
    text = str(node.value)
    if re.search("[\ud800-\udfff]", text):
        raise ValueError("a lone surrogate such as \\ud800 is not a character")
    return text if node.style else _plain(text)


def _key_text(node: yaml.Node) -> str:
    """Read the key of a mapping; ValueError, with the fault, if it is not text."""
    if not isinstance(node, yaml.ScalarNode) or node.tag:
        raise ValueError("it must be text, without a tag")
    if node.value == "<<" and not node.style:
        raise ValueError("the merge key << is not YAML 1.2; write the keys out")
    key = _scalar(node)
    if not isinstance(key, str):
        raise ValueError(f"{_shown(key)} is not text; write it in quotes")
    return key


# --- reading ------------------------------------------------------------------------------------

_DEEPEST = 100  # levels; the JSON reader of pydantic stops at 200
_LARGEST = 200_000  # values; aliases of aliases can blow up a small file


class _Place(NamedTuple):
    """Where a value was given, and how that place sorts among the others."""

    order: int
    where: str


class _Reader:
    """Turns text into plain values and gathers the faults, with the place of every value."""

    def __init__(self, source: str) -> None:
        self._source = _printable(source)
        self.faults: dict[tuple[_Place, str], list[str]] = {}  # what is wrong: what it must be
        self._top = _Place(0, self._source)
        self._places: dict[_Path, _Place] = {(): self._top}
        self._broken: set[_Path] = set()  # no value there, so that the model has no say
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
            self._fault(self._top, f"the file is {_shown(data)}; it must be a mapping", broken=())
        return {}

    def override(self, data: dict[str, Any], text: str) -> None:
        """Set one ``a.b=value`` of the command line in the data."""
        self._overrides += 1
        place = _Place(10**9 + self._overrides, f"--set {_printable(text)}")
        name, sign, value = text.partition("=")
        steps = name.strip().split(".")
        if not sign or not all(step and step.isprintable() for step in steps):
            self._fault(place, f"{text!r} is not a setting; it must be of the form a.b=value")
            return
        path: _Path = ()
        here: Any = data
        for depth, step in enumerate(steps, 1):
            key = _key(here, step)
            if key is None:
                size = f" of {len(here)}" if isinstance(here, list) else ""
                what = f"{_dotted(path)} is {_shown(here)}{size}"
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

    def _read(self, text: str, path: _Path) -> Any:
        """Read YAML text; what is not YAML at all is one fault."""
        try:
            node = yaml.compose(text, Loader=_Loader)
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
        self._fault(place, f"this is not valid YAML: {_printable(words)}", broken=path)
        return None

    def _value(self, node: yaml.Node, path: _Path) -> Any:
        """Turn a node into a plain value; None, and a fault, where it has none."""
        place = self._at(node.start_mark.line)
        self._places.setdefault(path, place)
        self._count += 1
        name = _dotted(path) or "the file"
        if self._count > _LARGEST:
            trouble = f"more than {_LARGEST} values, aliases written out, are too many"
            place = self._override or self._top
        elif node.tag:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            trouble = f"{name} has the tag {tag!r}; it must stand without a tag"
        elif node in self._open:
            trouble = f"{name} is an alias of a value that it stands in; write the value out"
        elif len(path) > _DEEPEST:
            trouble = f"{_dotted(path[:3])} is nested deeper than {_DEEPEST} levels"
        else:
            try:
                self._open.add(node)
                if isinstance(node, yaml.MappingNode):
                    return self._mapping(node, path)
                if isinstance(node, yaml.SequenceNode):
                    return [self._value(each, (*path, n)) for n, each in enumerate(node.value)]
                assert isinstance(node, yaml.ScalarNode)
                return _scalar(node)
            except ValueError as error:
                trouble = f"{name}: {error}"
            finally:
                self._open.discard(node)
        self._fault(place, trouble, broken=path)
        return None

    def _mapping(self, node: yaml.MappingNode, path: _Path) -> dict[str, Any]:
        """Read a mapping, of which every key must be text and stand there once."""
        data: dict[str, Any] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            place = self._at(key_node.start_mark.line)
            inside = f" in {_dotted(path)}" if path else ""
            try:
                key = _key_text(key_node)
            except ValueError as error:
                self._fault(place, f"a key{inside} is wrong: {error}", broken=path)
                continue
            line = key_node.start_mark.line + 1
            self._places.setdefault((*path, key), place)
            value = self._value(value_node, (*path, key))
            if key in first:
                twice = f"stands twice, in line {first[key]} and in line {line}; keep one"
                self._fault(place, f"key {_dotted((*path, key))!r} {twice}")
            first.setdefault(key, line)
            data.setdefault(key, value)
        return data

    def _at(self, line: int) -> _Place:
        """Give the place of a line, counted from 0, of what is being read."""
        return self._override or _Place(line + 1, f"{self._source}, line {line + 1}")

    def _fault(self, place: _Place, head: str, want: str = "", broken: _Path | None = None) -> None:
        """Note a fault; several wants of one head make one line, as alternatives."""
        wants = self.faults.setdefault((place, head), [])
        if want and want not in wants:
            wants.append(want)
        if broken is not None:
            self._broken.add(broken)

    def judge(self, error: ValidationError, root: _Schema) -> None:
        """Note what the model found, except about values that could not be read at all."""
        for detail in error.errors(include_url=False):
            path, here = self._follow(detail["loc"], root)
            kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
            if kind.startswith("union_tag"):  # is said of the mapping, but the key is at fault
                key = context["discriminator"].strip("'")
                path, here = (*path, key), _children(root, here, key)
                kind, value = _TAG_FAULTS[kind], context.get("tag")
            if any(path[: len(b)] == b or b[: len(path)] == path for b in self._broken):
                continue
            near = next(path[:n] for n in range(len(path), -1, -1) if path[:n] in self._places)
            place, name = self._places[near], _dotted(path)
            said = " ".join(detail["msg"].split())
            if kind == "missing":
                self._fault(place, f"{name} is missing", "be given")
            elif kind == "extra_forbidden":
                key, known = str(path[-1]), [k for each in here for k in each.get("properties", ())]
                within = _dotted(path[:-1]) + "." if path[1:] else ""
                self._fault(place, str(unknown("key", key, known, within=within)))
            elif kind in ("value_error", "assertion_error"):  # "Value error, " goes before
                head = f"{name}: " if name else ""
                self._fault(place, head + said.partition(", ")[2].rstrip("."))
            else:
                want = _wanted(kind, value, here) or "".join(_SHOULD.findall(said))
                if isinstance(value, (dict, list)) and _shown(value) in want:
                    continue  # another member of the union, of that kind, tells what is wrong in it
                head = f"{name or 'the file'} is {_shown(value)}"
                self._fault(place, head if want else f"{head}; {said}", want)

    def _follow(self, loc: _Path, root: _Schema) -> tuple[_Path, list[_Schema]]:
        """Translate a location of pydantic, which names members of unions too, into a path.

        Returns:
            The path in the data, and the schemas there; for an unknown key, those of its mapping.
        """
        path: _Path = ()
        here = list(_expand(root, root))
        for step in loc:
            tags = [each.get("discriminator", {}).get("mapping", {}) for each in here]
            tagged = [{"$ref": refs[step]} for refs in tags if step in refs]
            children = _children(root, here, step)
            if tagged:  # before a key of a tagged union comes its tag
                here = [each for ref in tagged for each in _expand(root, ref)]
            elif children or (*path, step) in self._places:
                path, here = (*path, step), children or here
            else:  # the name of a member of another union
                here = [each for each in here if each.get("title") == step] or here
        return path, here


def _key(here: object, step: str) -> str | int | None:
    """Give the key that a step of an override names in a mapping or list, or None."""
    if isinstance(here, list):
        fits = re.fullmatch("[0-9]{1,9}", step) and int(step) < len(here)
        return int(step) if fits else None
    return step if isinstance(here, dict) else None


# --- words --------------------------------------------------------------------------------------

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
_SHOULD = re.compile(r"^\w+ should (.*?)(?: after validation.*)?$")  # pydantic's own words
_TAG_FAULTS = {"union_tag_invalid": "literal_error", "union_tag_not_found": "missing"}
_BOUND_FAULTS = frozenset(
    {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "multiple_of"}
)


def _wanted(fault: str, value: object, here: Sequence[_Schema]) -> str:
    """Say what a value must be, given pydantic's name of the fault; empty if there are no words."""
    if fault in _BOUND_FAULTS:
        bounds = [f"{_BOUNDS[key]} {each[key]}" for each in here for key in _BOUNDS if key in each]
        return f"be {' and '.join(bounds)}" if bounds else ""
    if fault in ("literal_error", "enum"):
        choices = [choice for each in here for choice in _choices(each)]
        names = [each if isinstance(each, str) else _shown(each) for each in choices]
        return f"be {'one of ' if len(names) > 1 else ''}{', '.join(names)}" if names else ""
    if not fault.endswith("_type"):
        return ""
    plain = (each.get("type") for each in here if not _choices(each))
    kinds = " or ".join(dict.fromkeys(_KINDS[kind] for kind in plain if kind in _KINDS))
    old = isinstance(value, str) and value.lower() in _OLD_BOOLS and "true" in kinds
    note = "; YAML 1.2 knows true and false only" if old else ""
    return f"be {kinds}{note}" if kinds else ""


def _choices(schema: _Schema) -> list[Any]:
    return list(schema.get("enum", [schema["const"]] if "const" in schema else []))


def _expand(root: _Schema, schema: object) -> Iterator[_Schema]:
    """Give a schema and all that it refers to or is a union of."""
    if not isinstance(schema, Mapping):  # true and false are schemas too
        return
    yield schema
    if "$ref" in schema:
        yield from _expand(root, root["$defs"][schema["$ref"].rpartition("/")[2]])
    for union in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(union, ()):
            yield from _expand(root, each)


def _children(root: _Schema, here: Iterable[_Schema], step: str | int) -> list[_Schema]:
    """Give what the schemas at a place say of one key or item there."""
    found: list[object] = []
    for each in here:
        if isinstance(step, int):
            items = each.get("prefixItems", [])
            found.append(items[step] if step < len(items) else each.get("items"))
        else:
            found.append(each.get("properties", {}).get(step, each.get("additionalProperties")))
    return [schema for each in found for schema in _expand(root, each)]


def _dotted(path: Iterable[str | int]) -> str:
    return ".".join(_printable(str(step)) for step in path)


def _printable(text: str) -> str:
    """Keep a fault to one line, whatever the user wrote."""
    return text if text.isprintable() else repr(text)


def _shown(value: object) -> str:
    """Say a value in a few words, as the user wrote it."""
    if value is None or isinstance(value, bool):
        return {None: "empty", True: "true", False: "false"}[value]
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
