"""What killed writers left is removed; what a living one writes is not, wherever it lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from srprune.core.artifact import atomic_path, write_text
from srprune.core.leftovers import DAY_S, sweep, temporary_beside


def left_by(path: Path, *, pid: int | str | None = None, host: str = "") -> Path:
    """A leftover of another process, or of one on another machine."""
    ours = temporary_beside(path)
    here, _, mine = ours.name.split(".")[-3].partition("-")
    writer = f".{host or here}-{mine if pid is None else pid}."
    left = ours.with_name(ours.name.replace(f".{here}-{mine}.", writer))
    left.write_text("half")
    return left


def test_two_writers_never_have_the_same_name(tmp_path: Path) -> None:
    names = {temporary_beside(tmp_path / "a.txt") for _ in range(100)}
    assert len(names) == 100
    assert {name.parent for name in names} == {tmp_path}


def test_those_of_dead_processes_are_swept_and_those_of_living_ones_kept(tmp_path: Path) -> None:
    path = tmp_path / "a[1].txt"  # its name is no pattern
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone = [left_by(path, pid=dead.pid), left_by(path, pid=10**30), left_by(path, pid="x")]
    kept = [
        left_by(path),
        left_by(path, pid=os.getppid()),
        left_by(tmp_path / "b.txt", pid=dead.pid),
        left_by(tmp_path / "a1.txt", pid=dead.pid),
    ]
    write_text(path, "new")
    assert not any(left.exists() for left in gone)
    assert all(left.exists() for left in kept)
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([path, *kept[:2]])


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser may signal every process")
def test_one_of_another_user_is_kept_while_its_process_lives(tmp_path: Path) -> None:
    left = left_by(tmp_path / "a.txt", pid=1)
    write_text(tmp_path / "a.txt", "new")
    assert left.exists()


def test_one_of_another_machine_is_kept_for_a_day(tmp_path: Path) -> None:
    left = left_by(tmp_path / "a.txt", pid=10**30, host="00000000")
    write_text(tmp_path / "a.txt", "new")
    assert left.exists()
    then = left.stat().st_mtime - DAY_S - 1
    os.utime(left, (then, then))
    write_text(tmp_path / "a.txt", "newer")
    assert not left.exists()


def test_folders_are_swept_with_what_is_in_them(tmp_path: Path) -> None:
    left = left_by(tmp_path / "out", pid=10**30)
    left.unlink()
    (left / "inner").mkdir(parents=True)
    (left / "inner" / "half").touch()
    sweep(tmp_path, "out")
    assert list(tmp_path.iterdir()) == []


def test_who_has_swept_once_does_not_sweep_for_each_file(tmp_path: Path) -> None:
    left = left_by(tmp_path / "a.txt", pid=10**30)
    with atomic_path(tmp_path / "a.txt", swept=True) as temporary:
        temporary.write_text("new")
    assert left.exists()
    assert (tmp_path / "a.txt").read_text() == "new"
