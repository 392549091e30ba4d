"""What is measured: the same files, each benchmark once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from srprune.core.errors import InputError
from srprune.images.benchmarks import find_benchmark, photos_folder
from srprune.stages.evaluate import files_of, find_benchmarks


def folder_of(root: Path, name: str) -> Path:
    root.mkdir()
    shutil.copyfile(photos_folder() / name, root / "image.png")
    return root


def test_copies_of_other_dates_are_the_same_files_and_other_bytes_are_not(tmp_path: Path) -> None:
    one, two = (folder_of(tmp_path / each, "camera.png") for each in ("a", "b"))
    os.utime(two / "image.png", ns=(1, 1))

    def fingerprints() -> list[list[str]]:
        return [list(files_of([find_benchmark(str(each), [])]).values()) for each in (one, two)]

    first, second = fingerprints()
    assert first == second
    raw = bytearray((two / "image.png").read_bytes())
    raw[-20] ^= 1
    (two / "image.png").write_bytes(raw)  # as many bytes as before, at another date
    same, other = fingerprints()
    assert same == first and other != first


def test_a_benchmark_is_named_once(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place / "Own").mkdir(parents=True)
        Image.new("RGB", (24, 24)).save(tmp_path / place / "Own" / "a.png")
    names = [str(tmp_path / place / "Own") for place in ("one", "two")]
    with pytest.raises(InputError, match=r"two benchmarks are called Own .*rename its folder"):
        find_benchmarks(names, [])
    with pytest.raises(InputError, match="two benchmarks are called photos"):
        find_benchmarks(["photos", "photos"], [])
