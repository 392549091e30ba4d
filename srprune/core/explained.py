"""One line about each name of a table, read from the source: nothing is imported for it.

What the names stand for may load torch, which takes seconds; a list of names must not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_ROLE = re.compile(r":\w+:`([^`]*)`")  # :func:`name`


def explained(targets: Mapping[str, str]) -> dict[str, str]:
    """The first line of the docstring behind each name, by name.

    Args:
        targets: ``module:object`` by name, as :class:`srprune.core.registry.Table` has them.
    """
    return {name: first_line(targets[name]) for name in sorted(targets)}


def first_line(target: str) -> str:
    """The first line of a docstring.

    Args:
        target: ``module:object``. An object made by a call is explained by the text below it, else
            by the function that is given to the call; and all else by its module.
    """
    module, name = target.split(":")
    tree = _parsed(module)
    text = _docstring(tree, name) or ast.get_docstring(tree) or ""
    line = text.strip().partition("\n")[0]
    return _ROLE.sub(r"\1", line).replace("`", "")


def first_comment(file: Path) -> str:
    """The comment that a YAML file begins with, up to the first line that ends a sentence."""
    words = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        words.append(line[2:].strip())
        if line.endswith((".", ":", ")")):
            break
    return " ".join(words).removesuffix(":")


@cache
def _parsed(module: str) -> ast.Module:
    spec = find_spec(module)  # imports the packages above it, which are light
    assert spec is not None and spec.origin is not None, module
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _docstring(tree: ast.Module, name: str) -> str | None:
    for number, node in enumerate(tree.body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return ast.get_docstring(node)
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in _assigned(node):
            below = tree.body[number + 1] if number + 1 < len(tree.body) else None
            return _text(below) or _of_arguments(tree, node.value)
    return None


def _assigned(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _text(node: ast.stmt | None) -> str | None:
    """The string that stands alone in a line below an assignment."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return node.value.value if isinstance(node.value.value, str) else None
    return None


def _of_arguments(tree: ast.Module, call: ast.expr | None) -> str | None:
    """The docstring of the first function or class of the module that a call is given."""
    if not isinstance(call, ast.Call):
        return None
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    texts = (_docstring(tree, each.id) for each in given if isinstance(each, ast.Name))
    return next((text for text in texts if text), None)
