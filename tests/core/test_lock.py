"""A folder has one writer at a time, and the others learn who it is."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from srprune.core.errors import InputError, Stopped
from srprune.core.lock import NOTE, exclusive, held, in_turn
from srprune.core.progress import heeding, silent

HOLD = """
import sys
from pathlib import Path
from srprune.core.lock import exclusive
folder = Path(sys.argv[1])
sys.argv[0] = "/somewhere/bin/srprune"
with exclusive(folder):
    print("held", flush=True)
    sys.stdin.readline()
"""

Hold = Callable[[Path], subprocess.Popen[str]]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Start a process that holds a folder until it reads a line."""
    children: list[subprocess.Popen[str]] = []

    def run(folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, folder, "--config", "x.yaml"]
        pipe = subprocess.PIPE
        children.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        assert children[-1].stdout.readline() == "held\n"
        return children[-1]

    yield run
    for child in children:
        child.kill()
        child.communicate()


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught, exclusive(folder):
        raise AssertionError("two writers")
    return str(caught.value)


def test_a_second_process_is_told_who_holds_the_folder(tmp_path: Path, hold: Hold) -> None:
    folder = tmp_path / "run"
    before = datetime.now().replace(microsecond=0)
    child = hold(folder)
    said = refusal(folder)
    since = re.search(r"since (.{19}),", said)[1]
    assert before <= datetime.fromisoformat(since) <= datetime.now()
    assert said == (
        f"another srprune (process {child.pid} on {platform.node()}, since {since}, "
        f"'srprune {folder} --config x.yaml') is at work in {folder}. "
        "Wait until it is done, or choose another --workspace."
    )
    child.communicate("let go\n")
    assert child.returncode == 0
    assert not folder.exists()
    with exclusive(folder):
        pass


def test_a_killed_holder_leaves_a_note_that_the_next_one_overwrites(
    tmp_path: Path, hold: Hold
) -> None:
    child = hold(tmp_path)
    child.kill()
    child.communicate()
    assert json.loads((tmp_path / NOTE).read_text())["pid"] == child.pid
    with exclusive(tmp_path):
        assert json.loads((tmp_path / NOTE).read_text())["pid"] == os.getpid()
        assert f"(process {os.getpid()} on " in refusal(tmp_path)
    assert not (tmp_path / NOTE).exists()


@pytest.mark.parametrize("note", [None, "", "{", "[]", '"pid"', '{"pid": 1}', "\udcff"])
def test_without_a_sound_note_only_the_folder_is_named(tmp_path: Path, note: str | None) -> None:
    with exclusive(tmp_path):
        if note is None:
            (tmp_path / NOTE).unlink()
        else:
            (tmp_path / NOTE).write_bytes(note.encode(errors="surrogateescape"))
        assert refusal(tmp_path).startswith(f"another srprune is at work in {tmp_path}. Wait")


def test_a_note_that_cannot_be_written_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / NOTE).mkdir()
    with exclusive(tmp_path):
        assert refusal(tmp_path).startswith(f"another srprune is at work in {tmp_path}. Wait")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/usr/bin/srprune", "extract", "images"], "'srprune extract images'"),
        (["/lib/srprune/__main__.py", "train"], "'srprune train'"),
        (["srprune", "a\nb"], r"'srprune a\nb'"),
    ],
)
def test_the_command_is_said_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], said: str
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    with exclusive(tmp_path):
        assert f", {said}) is at work" in refusal(tmp_path)


def test_the_folder_keeps_what_was_written_and_no_note(tmp_path: Path) -> None:
    with exclusive(tmp_path / "run"):
        (tmp_path / "run" / "file").touch()
    with exclusive(tmp_path / "run"):
        pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]


def test_a_folder_that_stays_empty_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "run"):
        1 / 0  # noqa: B018
    assert not (tmp_path / "run").exists()


def test_a_folder_that_comes_and_goes_has_never_two_holders(tmp_path: Path) -> None:
    """The lock of a folder that was removed is worth nothing; each holder here removes its own."""
    inside, most, holds = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, holds
        for _ in range(300):
            with contextlib.suppress(InputError), exclusive(tmp_path / "run"):
                inside += 1
                holds += 1
                most = max(most, inside)
                time.sleep(1e-5)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert holds > 0
    assert most == 1


def test_a_holder_on_another_machine_is_seen_by_the_file_alone(tmp_path: Path) -> None:
    """NFS keeps the lock of a folder to the machine, and passes that of a file on."""
    folder = tmp_path / "run"
    folder.mkdir()
    with (folder / NOTE).open("w") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        assert held(folder)
        assert refusal(folder).startswith(f"another srprune is at work in {folder}. Wait")
    assert not held(folder)
    with exclusive(folder):
        assert held(folder)
    assert not held(folder)
    assert not folder.exists()


def test_the_wait_for_a_folder_can_be_ended(tmp_path: Path, hold: Hold) -> None:
    child, said = hold(tmp_path / "run"), []
    with (
        pytest.raises(Stopped, match="wait for run"),
        in_turn(tmp_path / "run", said.append, heeding(lambda: True, silent)),
    ):
        raise AssertionError("two writers")
    assert [f"process {child.pid} on" in line for line in said] == [True]
