"""``study`` as a process: whole, in several, interrupted, edited, mixed up."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import time
from functools import partial

import numpy as np
import pytest
import yaml
from PIL import Image

from srprune.core.artifact import read_header
from srprune.core.weights import read_weights_header
from srprune.core.workspace import Workspace
from srprune.stages.lineage import Lineage
from tests.conftest import small_images
from tests.processes import launch

STUDY = {
    "title": "Half of four small pictures",
    "images": "images",
    "extract": {"size": 48, "stride": 24},
    "scorers": {
        "srcnn": {"config": "srcnn.yaml", "set": {"budget.steps": 20, "batch": 2, "lr_crop": 18}}
    },
    "set": {
        "config": "fsrcnn_x2.yaml",
        "budget.steps": 30,
        "batch": 2,
        "lr_crop": 12,
        "validation.benchmark": "held",
        "validation.every": 10,
    },
    "axes": {
        "core-set": {
            "full": {"pruning.ratio": 1, "pruning.offset": 0},
            "random50": {"pruning.rule": "random", "pruning.ratio": 0.5, "pruning.offset": 0},
            "des50": {"pruning.ratio": 0.5, "pruning.offset": 0},
        }
    },
    "compare": "core-set",
    "seeds": [0, 1],
    "evaluate": {"benchmarks": ["held"]},
}


def write(folder, **changes):
    """Write the study, with changes; its workspace."""
    text = yaml.safe_dump({**STUDY, **changes}, sort_keys=False)
    (folder / "s.yaml").write_text(text)
    return folder / "workspace"


def benchmark(folder):
    """Write a benchmark of two images."""
    (folder / "held").mkdir()
    for n in range(2):
        rng = np.random.default_rng(n)
        flat = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(flat).resize((36, 36)).save(folder / "held" / f"{n}.png")


@pytest.fixture
def study(images, tmp_path):
    """Write the study, with changes, beside its images and a benchmark of two."""
    benchmark(tmp_path)
    return partial(write, tmp_path)


@pytest.fixture(scope="module")
def run_once(server, tmp_path_factory):
    """A study of which every cell of seed 0 is finished; do not write into it."""
    folder = tmp_path_factory.mktemp("study")
    small_images(folder / "images")
    benchmark(folder)
    write(folder, seeds=[0])
    child = launch(server, folder, "study", "run", "s.yaml")
    said = child.communicate()
    assert child.returncode == 0, said
    return folder


@pytest.fixture
def finished(run_once, tmp_path):
    """A copy of it in ``tmp_path``; its workspace."""
    shutil.copytree(run_once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "workspace"


def weights(workspace):
    return {p.parent.name: p.stat().st_mtime_ns for p in workspace.glob("runs/*/*.safetensors")}


def test_a_study_runs_once_and_tells_what_it_says(finished, cli, tmp_path):
    workspace = write(tmp_path)
    assert "0 of 6 cells" in cli("study", "status", "s.yaml", "-w", "empty").stdout
    assert "3 of 6 cells" in cli("study", "status", "s.yaml").stdout
    before = weights(workspace)
    said = cli("study", "s.yaml").stdout
    assert "6 of 6 cells" in said
    assert "# Half of four small pictures" in said
    report = workspace / "studies" / "s" / "report"
    rows = list(csv.DictReader((report / "report.csv").read_text().splitlines()))
    assert {row["axis_core-set"] for row in rows} >= {"full", "random50", "des50"}
    assert {"report.md", "report.tex", "report.csv", "report.html", "runs.csv"} <= {
        path.name for path in report.iterdir()
    }
    made = weights(workspace)
    assert before.items() < made.items()
    again = cli("study", "s.yaml", "--json")
    assert weights(workspace) == made
    assert "nothing was left to do; 6 of 6 cells, " in again.stderr
    assert "nothing was left to do" not in said
    facts = json.loads(again.stdout)
    des = next(row for row in facts["rows"] if row["levels"] == {"core-set": "des50"})
    assert des["seeds"] == [0, 1]
    psnr = des["benchmarks"]["held psnr_y"]
    assert psnr["verdict"] in ("better", "worse", "equivalent", "undecided")
    assert psnr["to_control"] is not None
    status = json.loads(cli("study", "status", "s.yaml", "--json").stdout)
    assert [cell["state"] for cell in status["cells"]] == ["finished"] * 6
    assert status["seconds"] > 0
    assert status["steps_done"] == status["steps"] == 180


def test_processes_and_shards_share_the_cells_and_make_the_same_runs(study, cli, tmp_path):
    workspace = study(seeds=[0])
    told = cli("study", "run", "s.yaml", "--jobs", 2, "--data", ".", "--json").stdout
    assert [cell["state"] for cell in json.loads(told)["cells"]] == ["finished"] * 3
    alone = tmp_path / "alone"
    first = cli("study", "run", "s.yaml", "--shard", "0/2", "-w", alone).stdout
    assert "2 of 3 cells" in first
    told = cli("study", "s.yaml", "--shard", "1/2", "--dry-run", "-w", alone).stdout
    assert told.startswith("  missing  random50, seed 0  ")
    assert "0 of 1 cells" in told
    assert "2 of 2 cells" in cli("study", "status", "s.yaml", "--shard", "0/2", "-w", alone).stdout
    cli("study", "run", "s.yaml", "--shard", "1/2", "-w", alone)
    assert "3 of 3 cells" in cli("study", "status", "s.yaml", "-w", alone).stdout
    runs = sorted(path.name for path in (workspace / "runs").iterdir())
    assert len(runs) == 3
    for name in runs:
        one, other = (
            (place / "runs" / name / "weights.safetensors").read_bytes()
            for place in (workspace, alone)
        )
        assert tensors(one) == tensors(other)


def test_machines_without_a_common_disk_share_a_study(study, cli, tmp_path):
    """As docs/studies.md tells."""
    study()
    start = tmp_path / "start"
    rehearsal = ("--set", "seeds=[0]", "--set", "set.budget.steps=1")
    cli("study", "run", "s.yaml", *rehearsal, "-w", start)
    for folder in ("runs", "results", "studies"):
        shutil.rmtree(start / folder)
    for n in range(2):
        shutil.copytree(start, tmp_path / f"machine{n}")
        cli("study", "run", "s.yaml", "--shard", f"{n}/2", "-w", f"machine{n}")
    for folder in ("runs", "results"):
        there = tmp_path / "machine0" / folder
        shutil.copytree(tmp_path / "machine1" / folder, there, dirs_exist_ok=True)
    assert "6 of 6 cells" in cli("study", "status", "s.yaml", "-w", "machine0").stdout
    facts = json.loads(cli("study", "report", "s.yaml", "-w", "machine0", "--json").stdout)
    assert [row["seeds"] for row in facts["rows"]] == [[0, 1]] * 3


def tensors(raw):
    """The numbers of a safetensors file: what stands behind its header."""
    return raw[8 + int.from_bytes(raw[:8], "little") :]


def test_a_killed_study_goes_on(study, start, cli):
    workspace = study(
        set={**STUDY["set"], "budget.steps": 150, "checkpoints.every": 10},
        axes={"core-set": {"full": STUDY["axes"]["core-set"]["full"]}},
        seeds=[0],
    )
    child = start("study", "run", "s.yaml")
    while not list(workspace.glob("runs/*/checkpoints/*.pt")):
        assert child.poll() is None, child.communicate()
        time.sleep(0.005)
    child.send_signal(signal.SIGSTOP)  # it would end while it is looked at
    status = json.loads(cli("study", "status", "s.yaml", "--json").stdout)
    assert [cell["state"] for cell in status["cells"]] == ["running"]
    child.send_signal(signal.SIGTERM)
    child.send_signal(signal.SIGCONT)
    assert child.wait(60) == 143
    assert " stopped  full, seed 0" in cli("study", "status", "s.yaml").stdout
    (run,) = workspace.glob("runs/*")
    before = json.loads((run / "cell.json").read_text())
    assert before["state"] == "stopped"
    assert list((run / "checkpoints").glob("*.pt"))
    cli("study", "run", "s.yaml")
    after = json.loads((run / "cell.json").read_text())
    assert after["state"] == "finished"
    assert after["seconds"] > before["seconds"] > 0


def test_an_edit_that_makes_results_void_is_told(finished, cli, refused, tmp_path):
    made = weights(finished)
    axes = {"core-set": {**STUDY["axes"]["core-set"]}}
    axes["core-set"]["des50"] = {"pruning.ratio": 0.4, "pruning.offset": 0}
    write(tmp_path, seeds=[0, 1], axes=axes)
    said = refused("study", "run", "s.yaml")
    assert "makes the results of 1 cells void: des50, seed 0. Run it with --edited" in said
    assert weights(finished) == made
    told = cli("study", "run", "s.yaml", "--edited").stdout
    assert "1 cells are other runs now" in told
    assert "3 cells are new" in told
    assert made.items() <= weights(finished).items()  # what is still part of it is not run again


@pytest.mark.parametrize(
    ("edit", "labels"),
    [
        (("scorers.srcnn.set.batch=3",), ["des50, seed 0"]),
        (("extract.stride=48",), ["full, seed 0", "random50, seed 0", "des50, seed 0"]),
        (("axes.core-set.des50.batch=1",), ["des50, seed 0"]),
        (("axes.core-set.des40={pruning.ratio: 0.4}", "seeds=[0, 1]"), []),
    ],
)
def test_an_edit_is_told_by_report_status_and_dry_run(finished, cli, refused, edit, labels):
    settings = [word for each in edit for word in ("--set", each)]
    cells = [
        json.loads(cli("study", *words, "s.yaml", "--json", *settings).stdout)["cells"]
        for words in (("status",), ("--dry-run",))
    ]
    for told in cells:
        void = [cell["levels"]["core-set"] for cell in told if cell["state"] == "void"]
        assert [f"{level}, seed 0" for level in void] == labels
    for words in (("status", "s.yaml"), ("s.yaml", "--dry-run")):
        said = cli("study", *words, *settings).stdout
        assert ("Run it with --edited" in said) == bool(labels)
        assert all(f"void  {label}" in said for label in labels)
    if labels:
        said = refused("study", "report", "s.yaml", *settings)
        assert f"edited after it began, which makes the results of {len(labels)} cells" in said
        assert "Run it with --edited" in said
        assert not (finished / "studies" / "s" / "report").exists()
    else:
        cli("study", "report", "s.yaml", *settings)


def test_a_cell_that_diverges_is_reported_and_in_no_mean(finished, cli, tmp_path):
    axes = {"core-set": {**STUDY["axes"]["core-set"]}}
    axes["core-set"]["des50"] = {
        "pruning.ratio": 0.5,
        "pruning.offset": 0,
        "optimizer.lr": 1e12,
    }
    workspace = write(tmp_path, axes=axes, seeds=[0])
    told = cli("study", "s.yaml", "--json", "--edited")
    assert "no longer finite" in told.stderr or "the loss is" in told.stderr
    rows = json.loads(told.stdout)["rows"]
    des = next(row for row in rows if row["levels"] == {"core-set": "des50"})
    assert list(des["diverged"]) == ["0"]
    assert des["benchmarks"] == {}
    report = (workspace / "studies" / "s" / "report" / "report.md").read_text()
    assert "diverged" in report
    cli("study", "run", "s.yaml")  # it is not tried again


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_cell_that_fails_stops_no_other(finished, cli, tmp_path, jobs):
    full, *rest = STUDY["axes"]["core-set"].items()
    parts = {"pruning.ratio": 1, "pruning.offset": 0, "compute.accumulate": 3}  # of a batch of 2
    axes = {"core-set": dict([full, ("parts", parts), *rest])}
    write(tmp_path, axes=axes)
    said = cli("study", "s.yaml", "--jobs", jobs, status=2)
    assert said.stdout.count("parts, seed 0 failed: batch is 2, which cannot be cut") == jobs
    error = said.stderr.strip().splitlines()[-1]
    if jobs == 1:
        assert error.startswith("Error: 2 of 8 cells failed, as told above: parts, seed 0; parts, ")
    else:
        assert error.startswith("Error: 2 of 2 processes could not do their work")
    told = json.loads(cli("study", "status", "s.yaml", "--json").stdout)["cells"]
    states = {(cell["levels"]["core-set"], cell["seed"]): cell["state"] for cell in told}
    assert {key for key, state in states.items() if state == "missing"} == {
        ("parts", 0),
        ("parts", 1),
    }
    assert sum(state == "finished" for state in states.values()) == 6


def test_what_would_meet_every_cell_stops_the_first(finished, cli, tmp_path):
    """Validation, a part of no cell's name, on a damaged image."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "0.png").write_bytes(b"no image")
    write(tmp_path, set={**STUDY["set"], "validation.benchmark": "bad"})
    said = cli("study", "run", "s.yaml", status=2)
    assert "failed" not in said.stdout + said.stderr
    assert "0.png" in said.stderr


def test_a_training_image_among_the_benchmarks_is_told_before_any_training(
    study, refused, tmp_path
):
    workspace = study(seeds=[0])
    with Image.open(tmp_path / "images" / "b.png") as image:
        image.save(tmp_path / "held" / "another name.tif")
    said = refused("study", "run", "s.yaml")
    assert said.startswith("another name.tif of held is also a training image (b.png, the same pi")
    assert "--allow-leak" not in said
    assert not (workspace / "runs").exists() and not (workspace / "scores").exists()


def test_a_study_that_another_protocol_was_used_for_is_measured_anew(finished, cli, refused):
    name = next((finished / "results").glob("fsrcnn*full*.parquet"))
    other = next((finished / "results").glob("fsrcnn*des*.parquet"))
    name.write_bytes(other.read_bytes())
    said = refused("study", "report", "s.yaml")
    assert "are of other weights than those in" in said
    cli("study", "s.yaml")


def test_results_of_other_images_are_refused(finished, refused, tmp_path):
    (tmp_path / "held" / "0.png").unlink()
    said = refused("study", "report", "s.yaml")
    assert "on other files than those of" in said


def test_the_cost_of_choosing_stands_beside_that_of_training(finished, cli):
    cli("study", "report", "s.yaml", "--set", "seeds=[0]")
    lines = (finished / "studies" / "s" / "report" / "report.csv").read_text().splitlines()
    costs = {row["axis_core-set"]: row["set_s"] for row in csv.DictReader(lines)}
    assert costs["full"] == ""
    scorer = read_weights_header(finished / "scorers" / "srcnn_x2" / "weights.safetensors")
    scores = read_header(finished / "scores" / "mse_x2.parquet")
    least = scorer.made["seconds"] + scores.made["seconds"]
    assert least <= float(costs["des50"]) < least + 1
    assert float(costs["random50"]) < min(1, least)
    (des,) = (finished / "coresets").glob("des*.parquet")
    chosen = read_header(des)
    assert Lineage(Workspace(finished)).seconds(chosen) == pytest.approx(float(costs["des50"]))
    shutil.rmtree(finished / "scorers")
    assert Lineage(Workspace(finished)).seconds(chosen) is None  # a part would pass for the whole


def test_results_of_another_protocol_are_not_taken_for_ours(finished, refused, tmp_path):
    write(tmp_path, seeds=[0], evaluate={"benchmarks": ["held"], "protocol": "y@1"})
    said = refused("study", "report", "s.yaml")
    assert "3 are trained, but none is measured by y@1 on held" in said


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, 30 + 15 + 30),
        ({"budget.steps": None, "budget.epochs": 7}, None),
    ],
)
def test_steps_are_those_that_will_be_made(study, cli, settings, steps):
    axes = {"core-set": {**STUDY["axes"]["core-set"]}}
    axes["core-set"]["random50"] = {
        **axes["core-set"]["random50"],
        "pruning.step_matching": False,
    }
    study(axes=axes, seeds=[0], set={**STUDY["set"], **settings})
    before = json.loads(cli("study", "s.yaml", "--dry-run", "--json").stdout)
    assert (before["steps"], before["left_s"]) == (steps, None)
    told = cli("study", "status", "s.yaml").stdout
    assert "left" not in told
    assert f"0 of {steps or 'an unknown number of'} steps" in told
    cli("extract", "images", "--size", "48", "--stride", "24")
    planned = json.loads(cli("study", "status", "s.yaml", "--json").stdout)["steps"]
    cli("study", "run", "s.yaml")
    after = json.loads(cli("study", "status", "s.yaml", "--json").stdout)
    assert (after["steps_done"], after["steps"], after["left_s"]) == (planned, planned, 0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("status",), "name one study; none is given"),
        (("a.yaml", "b.yaml"), "name one study; 2 are given"),
        (("table4.yaml",), "there is no study table4.yaml. Did you mean: table"),
        (("s.yaml", "--shard", "9/4", "--dry-run"), "--shard is 9/4; it must be I/N with I from 0"),
        (("s.yaml", "--shard", "2/2"), "must be I/N with I from 0 to N - 1"),
        (("s.yaml", "--budget", "huge"), "unknown budget 'huge'"),
        (("s.yaml", "--set", "seeds=[1, 1]"), "seed 1 stands twice"),
        (("report", "s.yaml"), "no cell of s is finished. Run 'srprune study' on it first"),
    ],
)
def test_bad_input_is_one_line(study, refused, words, says):
    study()
    assert says in refused("study", *words)
