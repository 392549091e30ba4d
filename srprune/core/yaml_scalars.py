"""Scalars of YAML as YAML 1.2 reads them, and the loader and dumper that go with them.

PyYAML speaks YAML 1.1, where ``1e-4`` is text, ``010`` is 8, ``on`` is true, ``1:30`` is 90. Here
PyYAML finds the structure only; what readers of YAML disagree about is a fault.
"""

from __future__ import annotations

import re

import yaml

from srprune.core.yaml_words import shown

_DIGITS = "[0-9]+(?:_[0-9]+)*"
_INT = re.compile(f"[-+]?{_DIGITS}")
_FLOAT = re.compile(rf"[-+]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_LONGEST_NUMBER = 300  # digits; a longer integer would not fit a float


def plain(text: str) -> bool | int | float | str | None:
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


class Loader(yaml.SafeLoader):
    """Finds the structure and leaves the scalars as they are written."""

    def resolve(self, kind: object, value: object, implicit: object) -> str:
        """Give no tag to what has none of its own."""
        return ""


class Dumper(yaml.SafeDumper):
    """Quotes text that a reader of YAML 1.1 or one of YAML 1.2 would not take for text."""

    def ignore_aliases(self, data: object) -> bool:
        """Write equal lists out in full."""
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        """Leave the choice of quotes to PyYAML only where both versions agree."""
        try:
            same = data.isprintable() and plain(data) == data
        except ValueError:
            same = False
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if same else '"')


Dumper.add_representer(str, Dumper.represent_text)


def scalar(node: yaml.ScalarNode) -> bool | int | float | str | None:
    """Read a scalar; ValueError, with the fault, where that cannot be done."""
    text = str(node.value)
    if re.search("[\ud800-\udfff]", text):
        raise ValueError("a lone surrogate such as \\ud800 is not a character")
    return text if node.style else plain(text)


def key_text(node: yaml.Node) -> str:
    """Read the key of a mapping; ValueError, with the fault, if it is not text."""
    if not isinstance(node, yaml.ScalarNode) or node.tag:
        raise ValueError("it must be text, without a tag")
    if node.value == "<<" and not node.style:
        raise ValueError("the merge key << is not YAML 1.2; write the keys out")
    key = scalar(node)
    if not isinstance(key, str):
        raise ValueError(f"{shown(key)} is not text; write it in quotes")
    return key
