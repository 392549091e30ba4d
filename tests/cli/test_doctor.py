"""``doctor``: what is installed and what works; no broken part ends it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from srprune.cli import probes
from srprune.cli.doctor import _lines
from srprune.cli.main import cli as program
from srprune.core import machine
from srprune.core.errors import StorageError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the probes find here; once, as they import every optional package."""
    return probes.examine(tmp_path_factory.mktemp("examined"))


def test_doctor_prints_json_and_leaves_nothing_behind(facts, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    done = CliRunner().invoke(program, ["doctor", "--json", "-w", str(tmp_path / "not" / "yet")])
    assert (done.exit_code, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert set(told) == set(facts)
    assert told["disk"]["folder"] == str(tmp_path)
    assert told["threads"]["settings"]["OMP_NUM_THREADS"] == "3"
    assert list(tmp_path.iterdir()) == []
    said = CliRunner().invoke(program, ["doctor", "-w", str(tmp_path)]).stdout
    assert said.startswith("srprune ")


def test_the_probes_measure(facts):
    assert facts["problems"] == {}
    assert facts["disk"]["write"] > 0 and facts["disk"]["read"] > 0
    assert facts["bf16"]["times_as_fast"] > 0
    assert facts["memory"]["free"] > 0
    assert 0 < facts["system"]["usable_cores"] <= facts["system"]["cores"]
    assert {each["package"] for each in facts["optional"]} >= {"matplotlib", "spandrel"}
    json.dumps(facts, allow_nan=False)


def test_the_lines_say_what_is_installed_and_measured(facts):
    said = "\n".join(_lines(facts))
    assert said.startswith("srprune ")
    for name in ("torch", "numpy", "pillow", "pyarrow", "torchvision", "matplotlib"):
        assert f"\n  {name} " in said
    for start in ("bf16 on ", "memory: ", "threads: BLAS ", "disk of ", "torchrun: ", "limits: "):
        assert f"\n{start}" in said
    assert "problem: " not in said


@pytest.mark.parametrize("advice", [(2.0, "bf16 pays"), (0.5, "fp32 is the better choice")])
def test_the_advice_follows_the_measurement(facts, advice):
    ratio, words = advice
    fast = {**facts, "bf16": {"device": "cpu", "side": 256, "times_as_fast": ratio}}
    assert words in "\n".join(_lines(fast))


@pytest.mark.parametrize(
    ("cached", "words"),
    [(True, "read from memory, not"), (False, "read from the disk"), (None, "perhaps from memory")],
)
def test_a_speed_that_may_be_that_of_memory_is_told_as_such(facts, cached, words):
    assert words in "\n".join(_lines({**facts, "disk": {**facts["disk"], "cached": cached}}))


def test_a_gpu_is_told_with_its_memory(facts):
    gpu = {"device": "cuda:0", "name": "A GPU", "memory": 80e9, "free": 60e9}
    assert "cuda:0: A GPU, 60.0 GB free of 80.0 GB" in _lines({**facts, "devices": [gpu]})
    assert "no GPU: everything runs on the CPU" in _lines({**facts, "devices": []})


FULL = """
import json, resource
from pathlib import Path
from srprune.cli.probes import _disk
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
print(json.dumps(_disk(Path("not/yet"))))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_disk_that_is_full_is_reported_and_what_is_free_all_the_same(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    disk = json.loads(done.stdout)
    assert disk["free"] > 0
    assert disk["problem"].startswith("no space left to write")


def test_a_disk_whose_locks_do_not_hold_is_told(facts):
    assert facts["locks"]["kept"]
    assert "locks" not in "\n".join(_lines(facts))
    lines = _lines({**facts, "locks": {"folder": "/mnt/pool", "kept": False}})
    (line,) = (line for line in lines if line.startswith("locks: /mnt/pool "))
    assert line.endswith("Run one at a time, or choose another --workspace.")


@pytest.mark.parametrize(
    ("module", "problem"),
    [("no_such_module_at_all", "is not installed"), ("broken_part", "does not import (bad build)")],
)
def test_a_missing_part_is_named_with_what_it_costs(tmp_path, monkeypatch, module, problem):
    (tmp_path / "broken_part.py").write_text("raise RuntimeError('bad build\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    facts = probes._optional(probes.Optional("part", module, "extra", "pictures"))
    assert facts["problem"] == problem
    assert facts["version"] is None
    assert facts["install"] == "pip install 'srprune[extra]'"


def test_a_probe_that_fails_ends_nothing(facts, tmp_path, monkeypatch):
    def broken() -> None:
        raise RuntimeError("no such thing\nin two lines")

    monkeypatch.setattr(probes, "_torchrun", broken)
    monkeypatch.setattr(probes, "OPTIONAL", ())
    found = probes.examine(tmp_path)
    assert found["torchrun"] is None
    assert found["problems"] == {"torchrun": "no such thing"}
    assert found["limits"]


def test_whatever_is_not_known_the_rest_is_told(facts):
    for name in [key for key in facts if key not in ("srprune", "problems")]:
        broken = {**facts, name: None, "problems": {name: "is broken"}}
        lines = _lines(broken)
        assert lines[-1] == f"problem: {name}: is broken"
        assert len(lines) > 5


def test_every_extra_is_among_the_optional_parts():
    with open(ROOT / "pyproject.toml", "rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    assert extras - {"dev"} <= {part.extra for part in probes.OPTIONAL}


def test_the_speed_of_a_disk_is_measured_with_a_file_that_leaves_nothing(tmp_path):
    speed = machine.disk_speed(tmp_path, 1 << 20)
    assert speed.num_bytes == 1 << 20
    assert speed.write > 0 and speed.read > 0
    assert list(tmp_path.iterdir()) == []


def test_no_disk_is_filled_for_a_measurement(tmp_path):
    with pytest.raises(StorageError, match="nothing was written"):
        machine.disk_speed(tmp_path, 1 << 60)


def test_the_nearest_folder_that_is_there_is_measured(tmp_path):
    assert machine.existing(tmp_path / "not" / "yet") == tmp_path
    assert machine.existing(tmp_path) == tmp_path


def test_the_cores_of_a_container_count(tmp_path, monkeypatch):
    limit = tmp_path / "cpu.max"
    monkeypatch.setattr(machine, "CPU_LIMIT", limit)
    free = machine.usable_cores()
    limit.write_text("50000 100000\n")
    assert machine.usable_cores() == 0.5
    limit.write_text("max 100000\n")
    assert machine.usable_cores() == free
