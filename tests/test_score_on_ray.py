"""The worked example for clusters: two nodes score what one machine scores."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

if find_spec("ray") is None:  # to import it would take seconds
    pytest.skip("needs ray: pip install 'srprune[ray]'", allow_module_level=True)
from srprune.core.config import ExtractConfig
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.stages.extract import ImageSource, extract, read_index
from srprune.stages.score import score

SCRIPT = Path(__file__).parents[1] / "scripts" / "score_on_ray.py"
WORKER = """
import runpy, sys
import ray
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
ray.init(address=cluster.address, log_to_driver=False)
assert len([node for node in ray.nodes() if node["Alive"]]) == 2
script, *arguments = sys.argv[1:]
for more in ([], ["--workspace", arguments.pop()]):  # to score, and to gather
    sys.argv = [script, *arguments, *more]
    runpy.run_path(script, run_name="__main__")
ray.shutdown()
cluster.shutdown()
"""


def score_and_gather(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(SCRIPT), *map(str, arguments)],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_nodes_write_the_table_that_one_machine_writes(images: Path, tmp_path: Path) -> None:
    settings = ("--size", 48, "--stride", 24, "--method", "bicubic", "--scale", 3)
    (images / "broken.png").write_bytes(b"no image")
    said = score_and_gather(images, tmp_path / "rows", *settings, tmp_path / "far")
    assert "skipped: broken.png: " in said

    (images / "broken.png").unlink()
    near, far = Workspace(tmp_path / "near"), Workspace(tmp_path / "far")
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), near)
    _, table = score(near, method="bicubic", scale=3, device="cpu")
    there = ScoreTable.read(far.scores("bicubic_x3"), patches=read_index(far).fingerprint)
    assert np.allclose(there.scores_N, table.scores_N, rtol=1e-5, atol=0)
    assert there.header.params == table.header.params
    assert read_index(far).fingerprint == read_index(near).fingerprint


def test_rows_are_never_mixed_with_what_is_there(images: Path, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "old.parquet").touch()
    done = subprocess.run(
        [sys.executable, SCRIPT, images, tmp_path / "rows"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: {tmp_path / 'rows'} is not empty. Choose another place, or remove what is there.\n"
    )
