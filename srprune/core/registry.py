"""Tables of names: a name maps to ``module:object``, which is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from srprune.core.names import unknown


class Table(Mapping[str, str]):
    """A closed, lazy table such as ``MODELS``.

    The keys are the names that users type, the values say where the object stands. A test
    imports every target, so a lazy line can't rot.
    """

    def __init__(self, kind: str, targets: Mapping[str, str]) -> None:
        """Make a table of things called ``kind`` in messages (such as ``rule``)."""
        self.kind = kind
        self._targets = dict(targets)

    def __getitem__(self, name: str) -> str:
        if name not in self._targets:
            raise unknown(self.kind, name, self._targets)
        return self._targets[name]

    def __contains__(self, name: object) -> bool:
        return name in self._targets

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def load(self, name: str) -> Any:
        """Import and return the object behind a name.

        Raises:
            UnknownName: the name stands not in the table; the message lists near names.
        """
        module, attribute = self[name].split(":")
        return getattr(import_module(module), attribute)
