"""Logs of runs: columns, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from srprune.core.errors import ArtifactError
from srprune.stages.logs import column


def test_a_column_of_a_log_by_steps(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,loss\n10,0.5\n20,0.25\n")
    assert column(tmp_path / "log.csv", "loss") == [(10, 0.5), (20, 0.25)]
    assert column(tmp_path / "none.csv", "loss") == []


@pytest.mark.parametrize("rows", ["10", "10,many", ",0.5"])
def test_a_damaged_log_is_named(tmp_path: Path, rows: str) -> None:
    (tmp_path / "log.csv").write_text(f"step,loss\n{rows}\n")
    with pytest.raises(ArtifactError, match=r"log\.csv is damaged"):
        column(tmp_path / "log.csv", "loss")
