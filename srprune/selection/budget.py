"""Budgets: how large a core-set may be, in patches or in bytes instead of a ratio."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from srprune.core.errors import InputError

UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
         "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}  # fmt: skip
_LOOSE = {unit.lower(): unit for unit in UNITS}
_BUDGET = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Budget:
    """The size of a core-set: exactly so many patches, or at most so many bytes.

    Attributes:
        patches: number of patches; None for a budget in bytes.
        num_bytes: of uint8 HR pixels, each pixel once where patches overlap; None for patches.
        name: how it stands in names of core-sets: ``n8000``, ``2GB``.
    """

    patches: int | None
    num_bytes: int | None
    name: str

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``8000`` (patches) or ``2GB``, ``1.5 GiB``, ``300MB`` (bytes).

        Raises:
            InputError: it is neither.
        """
        found = _BUDGET.fullmatch(text)
        number, unit = found.groups() if found else ("", "")
        whole = bool(number) and "." not in number
        if not found or (unit and unit.lower() not in _LOOSE) or (not unit and not whole):
            raise InputError(
                f"budget is {text!r}; it must be a number of patches such as 8000, or bytes "
                f"such as 2GB ({', '.join(UNITS)})."
            )
        amount = Fraction(number)
        if not unit:
            if not amount:
                raise InputError("budget is 0 patches; it must be at least 1.")
            return cls(int(amount), None, f"n{int(amount)}")
        unit = _LOOSE[unit.lower()]
        plain = number.lstrip("0") if whole else number.strip("0").rstrip(".")
        if not plain or plain.startswith("."):
            plain = f"0{plain}"
        return cls(None, int(amount * UNITS[unit]), plain + unit)


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number from 0 to ``most`` that fits, by bisection.

    Args:
        fits: asked of a number from 1 on; once False, it is False for all larger numbers.
        most: upper end.
    """
    low, high = 0, most  # low fits, what is above high does not
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
