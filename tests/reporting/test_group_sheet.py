"""The sheet of groups: a row of each, of its own patches and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srprune.core.errors import InputError
from srprune.reporting.group_sheet import group_sheet

COLORS = {0: (250, 0, 0), 1: (0, 250, 0), 2: (0, 0, 250)}


def flat(labels_N: np.ndarray):
    def patch(i: int) -> np.ndarray:
        return np.full((96, 96, 3), COLORS[int(labels_N[i])], dtype=np.uint8)

    return patch


def rows_of(path: Path, count: int) -> list[set[tuple[int, ...]]]:
    """Saturated colours in each of ``count`` bands of the sheet, below its title."""
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    seen = [
        {
            color
            for color in COLORS.values()
            if (np.abs(band.astype(int) - color).max(axis=2) < 8).sum() > 100
        }
        for band in np.array_split(pixels[90:], count)
    ]
    return seen


def test_every_group_has_a_row_of_its_own_patches(tmp_path: Path) -> None:
    labels_N = np.array([0, 1, 2] * 20 + [-1] * 5, dtype=np.int32)
    path = tmp_path / "groups.png"
    group_sheet(flat(labels_N), labels_N, path, title="three", columns=4)
    assert rows_of(path, 3) == [{COLORS[0]}, {COLORS[1]}, {COLORS[2]}]
    first = path.read_bytes()
    group_sheet(flat(labels_N), labels_N, path, title="three", columns=4)
    assert path.read_bytes() == first


def test_a_pdf_is_written_too(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    labels_N = np.array([0, 1, 1], dtype=np.int32)
    group_sheet(flat(labels_N), labels_N, tmp_path / "groups.pdf", title="two", columns=2)
    assert (tmp_path / "groups.pdf").read_bytes().startswith(b"%PDF")


def test_without_groups_there_is_one_line(tmp_path: Path) -> None:
    nobody_N = np.full(4, -1, dtype=np.int32)
    with pytest.raises(InputError, match="no patch belongs to one"):
        group_sheet(flat(nobody_N), nobody_N, tmp_path / "groups.png", title="none")
    assert not (tmp_path / "groups.png").exists()
