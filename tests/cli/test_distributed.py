"""Two processes do what one does: joined by torchrun, or as it joins them; gloo, on a CPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from srprune.core.artifact import read_table

pytest.importorskip("torch")
from tests.processes import child_environment, together


def torchrun(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*program, "-m", "srprune", *map(str, arguments)],
        cwd=folder,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_two_processes_train_the_weights_of_one(cli, server, prepared, tiny, tmp_path):
    job = [*tiny.train, "--set", "optimizer.name=sgd", "--set", "optimizer.lr=0.01"]
    cli(*job, "--name", "one")
    done = together(server, tmp_path, *job, "--name", "two")
    assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
    said = "".join(each.stdout for each in done)
    assert said.count("weights: workspace/runs/two") == 1  # one of them talks
    assert all("UserWarning" not in each.stderr for each in done)
    one, two = (load_file(prepared / "runs" / n / "weights.safetensors") for n in ("one", "two"))
    start = load_file(prepared / "runs" / tiny.run / "weights.safetensors")
    for name, tensor in one.items():
        assert np.allclose(tensor, two[name], rtol=1e-5, atol=1e-6), name
    assert any(not np.allclose(tensor, start[name], atol=1e-4) for name, tensor in one.items())


def test_two_processes_give_the_scores_of_one_bit_for_bit(prepared, tmp_path):
    table = prepared / "scores" / "mse_x2.parquet"
    alone = read_table(table, "ScoreTable")
    shutil.rmtree(prepared / "scores")
    done = torchrun(tmp_path, "score")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("71 patches scored") == 1  # one of them talks
    assert "UserWarning" not in done.stderr
    assert list((prepared / "scores").iterdir()) == [table]
    together_made = read_table(table, "ScoreTable")
    assert together_made[0].fingerprint == alone[0].fingerprint
    assert np.array_equal(together_made[1]["score"], alone[1]["score"])


def test_a_batch_that_processes_cannot_share_is_refused(server, prepared, tiny, tmp_path):
    job = (*tiny.train, "--set", "batch=3", "--name", "odd")
    done = together(server, tmp_path, *job)
    assert [each.returncode for each in done] == [2, 2]
    for each in done:
        assert "batch is 3, which cannot be cut into 1 equal parts" in each.stderr
    assert not (prepared / "runs" / "odd").exists()
