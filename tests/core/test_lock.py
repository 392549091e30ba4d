"""A folder has one writer at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from srprune.core.errors import InputError
from srprune.core.lock import exclusive


def test_a_second_writer_is_refused_and_named_the_folder(tmp_path: Path) -> None:
    with exclusive(tmp_path / "run"):
        with (
            pytest.raises(InputError, match=r"another srprune is at work in .*run"),
            exclusive(tmp_path / "run"),
        ):
            raise AssertionError("two writers")
        (tmp_path / "run" / "file").touch()
    with exclusive(tmp_path / "run"):
        pass
    assert (tmp_path / "run" / "file").exists()


def test_a_folder_that_stays_empty_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "run"):
        1 / 0  # noqa: B018
    assert not (tmp_path / "run").exists()
