"""LR that is missing is made by one process; the others wait for it."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from srprune.core.config import ExtractConfig
from srprune.core.workspace import Workspace
from srprune.stages.extract import ImageSource, extract
from srprune.stages.pool import open_pool


def test_two_that_want_the_same_lr_make_it_once(images: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=24, stride=24), workspace)
    begun, waited = threading.Event(), threading.Event()
    labels: dict[str, set[str]] = {"first": set(), "second": set()}

    def first(label: str, done: int, total: int, note: str = "") -> None:
        labels["first"].add(label)
        begun.set()
        assert waited.wait(60)

    def second(label: str, done: int, total: int, note: str = "") -> None:
        labels["second"].add(label)
        waited.set()

    thread = threading.Thread(target=open_pool, args=(workspace, 2, first))
    thread.start()
    assert begun.wait(60)
    pool = open_pool(workspace, 2, second)
    thread.join()
    assert labels == {"first": {"LR x2"}, "second": {"wait for pixels"}}
    ids = np.arange(len(pool))
    again = open_pool(workspace, 2)
    assert np.array_equal(pool.lr_patches(ids), again.lr_patches(ids))
    assert pool.lr_patches(ids).shape == (len(pool), 12, 12, 3)
