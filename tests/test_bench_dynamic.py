"""The benchmark of dynamic inference: what it cannot measure is one line before it begins."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

SCRIPT = str(Path(__file__).parents[1] / "scripts" / "bench_dynamic.py")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--tile", 4, "the tile is 4 LR px, but"),
        ("--overlap", 64, "the overlap is 64 LR px; with a tile of 64 it is at least 0"),
        ("--overlap", -1, "the overlap is -1 LR px"),
        ("--rounds", 0, "argument --rounds: it is 0; it must be 1 or more"),
        ("--limit", 0, "argument --limit: it is 0; it must be 1 or more"),
        ("--tile", 0, "argument --tile: it is 0; it must be 1 or more"),
        ("--scale", 5, "argument --scale: invalid choice"),
    ],
)
def test_what_cannot_be_measured_is_said_first(
    option: str,
    value: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT, option, str(value)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(SCRIPT, run_name="__main__")
    out, err = capsys.readouterr()
    assert words in f"{ended.value}{err}"
    assert out == ""
