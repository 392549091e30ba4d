"""Lines of progress where there is no terminal."""

from __future__ import annotations

import re
import time

import pytest

from srprune.cli import progress
from srprune.cli.progress import Bars


def seconds_left(text: str) -> list[float]:
    return [float(each) for each in re.findall(r"about (\d+) s left", text)]


def test_what_begins_again_is_timed_from_its_own_beginning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT", 0)
    bars = Bars()
    bars("evaluate", 1, 1000)
    time.sleep(0.1)
    bars("evaluate", 1000, 1000)
    bars("evaluate", 1, 1000)  # of another model
    assert seconds_left(capsys.readouterr().err)[-1] < 50


def test_a_resumed_run_counts_the_steps_of_this_attempt(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT", 0)
    bars = Bars()
    bars("train", 901, 1000)
    time.sleep(0.2)
    bars("train", 902, 1000)
    assert seconds_left(capsys.readouterr().err)[-1] > 5
