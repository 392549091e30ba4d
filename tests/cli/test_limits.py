"""One line where memory or open files run out, and nothing sound is called damaged for it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from srprune.core.artifact import write_table

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc are Linux's")

LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from srprune.cli import extract
from srprune.cli.main import main
from srprune.core.artifact import read_table
from srprune.images.decode import decode
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 30_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""
EXTRACT = LITTLE_MEMORY + "main()"
DECODE = LITTLE_MEMORY + "decode(Path(sys.argv[1]))"
FEW_FILES = """
import os, resource
from srprune.cli import extract
from srprune.cli.main import main
from srprune.images import decode
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), 1024))
main()
"""
NO_ROOM = (
    "there is not enough memory. Free some to read {}, or replace it if its sizes are damaged."
)
TABLE = LITTLE_MEMORY + "read_table(Path(sys.argv[1]), 'scores')"
WEIGHTS = (
    "from srprune.models.weight_files import read_tensors"
    + LITTLE_MEMORY
    + ("read_tensors(Path(sys.argv[1]))")
)


@pytest.fixture
def image(tmp_path):
    """A sound image of 48 MB."""
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    Image.fromarray(np.zeros((4000, 4000, 3), np.uint8)).save(path, compress_level=1)
    return path


def test_too_little_memory_is_one_line(start, unfinished, tmp_path, image):
    child = start("extract", image.parent, code=EXTRACT, fresh=True)
    _, said = child.communicate(timeout=120)
    assert child.returncode == 2, said
    assert said.startswith("Error: there is not enough memory. Free some,")
    assert len(said.splitlines()) == 1
    assert unfinished(tmp_path) == []


def test_a_sound_image_is_not_damaged_for_want_of_memory(start, image):
    """Else ``--skip-bad`` would go on without it."""
    _, said = start(image, code=DECODE, fresh=True).communicate(timeout=120)
    assert said.splitlines()[-1] == "MemoryError"


def test_a_sound_table_is_not_damaged_for_want_of_memory(start, tmp_path):
    path = tmp_path / "scores.parquet"
    write_table(path, "scores", {"score": np.zeros(6_000_000)}, parents={}, params={}, made={})
    _, said = start(path, code=TABLE, fresh=True).communicate(timeout=120)
    assert f"InputError: {NO_ROOM.format(path)}" in said.splitlines()[-1]


@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_sound_weights_are_not_damaged_for_want_of_memory(start, tmp_path, kind):
    torch = pytest.importorskip("torch")
    path = tmp_path / f"weights.{kind}"
    if kind == "pt":
        torch.save({"weight": torch.zeros(12_000_000)}, path)
    else:
        save_file({"weight": np.zeros(12_000_000, np.float32)}, path)
    _, said = start(path, code=WEIGHTS, fresh=True).communicate(timeout=120)
    assert f"InputError: {NO_ROOM.format(path)}" in said.splitlines()[-1]


def test_too_few_open_files_are_one_line_and_no_damage(start, unfinished, tmp_path, image):
    child = start("extract", image.parent, "--skip-bad", code=FEW_FILES, fresh=True)
    _, said = child.communicate(timeout=120)
    assert child.returncode == 2, said
    assert said.startswith(f"Error: Too many open files: {image}. Raise the limit (ulimit -n)")
    assert len(said.splitlines()) == 1
    assert unfinished(tmp_path) == []
