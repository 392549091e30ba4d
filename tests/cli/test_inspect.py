"""``inspect``: a workspace, a run, an artifact of every kind, and two of them beside each other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from srprune.cli.main import cli as program
from srprune.core.artifact import FORMAT, read_header, write_table
from srprune.core.coreset import CoreSet
from srprune.core.error_maps import ErrorMaps
from srprune.core.errors import UserError
from srprune.core.features import FeatureTable
from srprune.core.groups import GroupTable
from srprune.core.inventory import find_artifact, size_of, take_inventory
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.training.mixture import Mixture
from srprune.wbsr.router_file import write_router

MADE = {"command": "srprune test"}


def coreset(path: Path, ids: list[int], patches: str, total: int = 71) -> None:
    CoreSet.write(
        path,
        np.array(ids),
        parents={"patches": patches},
        params={"rule": "des", "num_patches": total, "num_skipped": 0},
        made=MADE,
    )


def scores(path: Path, scores_N: np.ndarray, patches: str, method: str = "sobel") -> None:
    ScoreTable.write(
        path, scores_N, parents={"patches": patches}, params={"method": method}, made=MADE
    )


@pytest.fixture
def pair(tmp_path: Path) -> Workspace:
    """Two core-sets and two score tables of one index that is not there itself."""
    workspace = Workspace(tmp_path / "workspace")
    values = np.arange(100.0)
    coreset(workspace.coreset("hard"), list(range(50, 100)), "aa", 100)
    coreset(workspace.coreset("even"), list(range(0, 100, 2)), "aa", 100)
    scores(workspace.scores("one"), values, "aa")
    scores(workspace.scores("two"), -values, "aa")
    return workspace


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command that must succeed in this process, in ``tmp_path``; what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SRPRUNE_WORKSPACE", raising=False)

    def run(*arguments: object) -> str:
        done = CliRunner().invoke(program, [*map(str, arguments)], catch_exceptions=False)
        assert (done.exit_code, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The one line that a command ends with, which must fail by the user's fault."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> str:
        with pytest.raises((UserError, click.UsageError)) as caught:
            program.main([*map(str, arguments)], prog_name="srprune", standalone_mode=False)
        said = str(caught.value)
        assert "\n" not in said
        return said

    return run


# --- one artifact -------------------------------------------------------------------------------


def test_artifacts_of_every_kind_are_told(say, tmp_path):
    rng = np.random.default_rng(0)
    about = {"parents": {"patches": "aa", "scores": "bb"}, "params": {"x": 1}, "made": MADE}
    ErrorMaps.write(tmp_path / "maps.parquet", rng.random((5, 16, 16), dtype=np.float32), **about)
    features_ND = rng.random((5, 10), dtype=np.float32)
    FeatureTable.write(tmp_path / "features.parquet", features_ND, list("abcdefghij"), **about)
    GroupTable.write(tmp_path / "groups.parquet", np.array([0, 1, 1, -1, 2]), **about)
    write_table(tmp_path / "new.parquet", "NewKind", {"a": np.arange(3), "b": np.ones(3)}, **about)
    weighted = {"rule": "hes", "num_patches": 9, "num_skipped": 0}
    CoreSet.write(
        tmp_path / "weighted.parquet",
        np.array([1, 4]),
        parents={},
        params=weighted,
        made=MADE,
        weights=np.array([0.5, 1.5]),
    )
    said = {
        "maps": ("ErrorMaps", "5 error maps of 16x16 cells"),
        "features": ("FeatureTable", "10 features of 5 patches: a, b, c, d, e, f, g, h, ..."),
        "groups": ("GroupTable", "5 patches in 3 groups of 1, 2, 1, 1 in none"),
        "new": ("NewKind", "3 rows of 2 columns: a, b"),
        "weighted": ("CoreSet", "weights from 0.5 to 1.5"),
    }
    for name, (kind, line) in said.items():
        text = say("inspect", f"{name}.parquet")
        assert text.startswith(f"{kind} ")
        assert line in text, name
        facts = json.loads(say("inspect", f"{name}.parquet", "--json"))
        assert facts["kind"] == kind
        assert facts["path"] == f"{name}.parquet"
        assert facts["holds"]


def test_routers_and_mixtures_tell_their_header(say, fault, tmp_path):
    about = {"parents": {"weights": "ab"}, "made": {**MADE, "fitted_on": {"tile": 48}}}
    gradient = {"thresholds": [1.0, 2.0], "spread": {}, "num_tiles": 4000}
    write_router(tmp_path / "gradient.json", "GradientRouter", gradient, **about)
    edges = {"low": 0.0, "high": 9.0, "tiles": [5, 6], "psnr": [[30.0], [31.0]]}
    write_router(tmp_path / "edge_psnr.json", "EdgePsnrRouter", edges, **about)
    values_MD = np.random.default_rng(0).random((500, 1))
    Mixture.fit(values_MD, 2, 0, domain="rgb").write(tmp_path / "mixture.json")
    write_router(tmp_path / "other.json", "NewKind", {"a": 3}, **about)
    header = {"kind": "ClassModuleRouter", "fingerprint": "cd", "parents": {}, "params": {"m": 9}}
    text = json.dumps({**header, "made": {}, "info": {}, "format": FORMAT})
    save_file({"a": np.ones(3)}, tmp_path / "module.safetensors", metadata={"srprune": text})
    said = {
        "gradient.json": ("GradientRouter", "3 classes of 4,000 training tiles"),
        "edge_psnr.json": ("EdgePsnrRouter", "PSNR in 2 intervals of 11 tiles"),
        "mixture.json": ("Mixture", "2 Gaussians of dimension 1, fitted on 500 values"),
        "module.safetensors": ("ClassModuleRouter", "1 tensor: a"),
        "other.json": ("NewKind", "a: 3"),
    }
    for name, (kind, line) in said.items():
        text = say("inspect", name)
        assert text.startswith(f"{kind} ")
        assert line in text, name
        assert json.loads(say("inspect", name, "--json"))["kind"] == kind
    text = say("inspect", "gradient.json")
    assert "weights: ab" in text and 'fitted_on: {"tile": 48}' in text
    changed = (tmp_path / "gradient.json").read_text().replace("4000", "5000")
    (tmp_path / "gradient.json").write_text(changed)
    assert "was changed after it was made" in fault("inspect", "gradient.json")
    for content in ("[]", "{}", "no JSON", '{"kind": 3, "fingerprint": "a", "params": []}'):
        (tmp_path / "foreign.json").write_text(content)
        assert "foreign.json has no header of srprune" in fault("inspect", "foreign.json")


def test_an_artifact_is_found_by_its_name(say, prepared, tiny):
    assert say("inspect", "mse_x2").startswith("ScoreTable ")
    assert say("inspect", tiny.coreset).startswith("CoreSet ")
    facts = json.loads(say("inspect", tiny.run, "--json"))
    assert facts["state"] == "finished"


def test_a_score_table_goes_before_its_error_maps(tmp_path):
    workspace = Workspace(tmp_path)
    scores(workspace.scores("mse_x2"), np.arange(3.0), "aa")
    ErrorMaps.write(
        workspace.error_maps("mse_x2"), np.ones((3, 16, 16), np.float32), parents={}, params={},
        made=MADE,
    )  # fmt: skip
    assert find_artifact("mse_x2", workspace) == workspace.scores("mse_x2")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mse_x3"], "Did you mean: mse_x2?"),
        (["nothing.parquet"], "there is no file nothing.parquet"),
        (["images"], "images is a folder, but neither a run nor a workspace"),
        (["images/a.png"], "images/a.png is not a readable Parquet file"),
        (["a", "b", "c"], "inspect takes at most two"),
        (["mse_x2", "workspace/runs"], "workspace/runs is a folder; two core-sets or two"),
        (["mse_x2", "mse_x3"], "there is no file mse_x3"),
    ],
)
def test_what_cannot_be_inspected_is_one_line(fault, prepared, arguments, said):
    assert said in fault("inspect", *arguments)


def test_a_changed_artifact_is_refused(refused, prepared, tmp_path):
    file = prepared / "scores" / "mse_x2.parquet"
    table = pq.read_table(file)
    column = pa.array(np.arange(71.0))
    pq.write_table(table.set_column(1, "score", column), file)
    assert "it was changed after it was made" in refused("inspect", file)


# --- a run --------------------------------------------------------------------------------------


def test_a_run_is_told_with_its_last_figures(say, prepared, tiny):
    folder = f"workspace/runs/{tiny.run}"
    said = say("inspect", folder)
    assert said.startswith(f"run {tiny.run}: finished, ")
    assert "model: fsrcnn" in said
    assert "training   step 20, " in said
    facts = json.loads(say("inspect", folder, "--json"))
    assert facts["weights"]["kind"] == "Weights"
    assert facts["training"]["step"] == "20"
    assert "config.yaml" in facts["files"]
    scorer = json.loads(say("inspect", "srcnn_x2", "--json"))
    assert scorer["validation"]["step"] == "20"
    assert scorer["best"]["step"] == 20


def test_an_unfinished_run_is_told_too(say, prepared, tiny):
    folder = prepared / "runs" / tiny.run
    (folder / "weights.safetensors").unlink()
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "000001500.pt").write_bytes(b"")
    (folder / "log.csv").write_text("step,loss\n1,0.5\n2,0.")  # killed while it wrote: still whole
    said = say("inspect", folder)
    assert said.startswith(f"run {tiny.run}: unfinished after 1,500 steps, ")
    assert "training   step 2, loss 0." in said
    (folder / "log.csv").write_text("")
    assert "training" not in say("inspect", folder)


# --- a workspace --------------------------------------------------------------------------------


def test_a_workspace_that_belongs_together_says_so(say, prepared, tiny):
    said = say("inspect")
    assert said.startswith("workspace workspace: ")
    for line in ("71 patches of 48 px", "71 scores by mse", "36 of 71 patches", "20 steps, finish"):
        assert line in said
    titles = ["patches", "pixels", "scoring models", "scores", "core-sets", "runs"]
    assert [line for line in said.splitlines() if line in titles] == titles
    assert said.endswith("everything belongs together.\n")
    facts = json.loads(say("inspect", "--json"))
    assert facts["belongs_together"] is True
    assert facts["bytes"] == sum(entry["bytes"] for entry in facts["entries"])
    assert facts["bytes"] == size_of(prepared)[0]
    named = json.loads(say("inspect", "workspace", "--json"))
    assert named == facts


def test_what_was_made_from_other_patches_is_named(say, prepared, tiny):
    say("extract", "images", "--size", "24", "--stride", "24")
    said = say("inspect")
    mark = read_header(prepared / "scores" / "mse_x2.parquet").parents["patches"]
    assert f"note: scores/mse_x2: made from other patches ({mark})" in said
    assert f"note: runs/{tiny.run}: made from other patches" in said
    assert "everything belongs together" not in said
    entries = {entry.name: entry for entry in take_inventory(Workspace(prepared))}
    assert entries["patches"].belongs
    assert entries["mse_x2"].missing == {"patches": mark}


def test_a_parent_that_is_gone_and_a_damaged_file_are_named(say, prepared, tiny):
    shutil.rmtree(prepared / "scorers")
    (prepared / "coresets" / "broken.parquet").write_bytes(b"no table")
    (prepared / "notes").mkdir()
    (prepared / "notes" / "mine.txt").write_text("kept")
    said = say("inspect")
    assert "note: scores/mse_x2: its scorer " in said
    assert "note: coresets/broken: " in said and "is not a readable Parquet file" in said
    assert "\nalso there\n  notes  " in said
    facts = json.loads(say("inspect", "--json"))
    broken = next(entry for entry in facts["entries"] if entry["name"] == "broken")
    assert broken["problem"] and not broken["belongs"]


def test_no_workspace_and_an_empty_one(say, fault, tmp_path):
    assert "there is no workspace workspace. Run 'srprune extract' first" in fault("inspect")
    (tmp_path / "workspace").mkdir()
    assert "it is empty. Run 'srprune extract' first." in say("inspect")


def test_ages_are_those_of_the_files(say, pair):
    for number, name in enumerate(("hard", "even"), start=1):
        file = pair.coreset(name)
        os.utime(file, (0, file.stat().st_mtime - number * 86400 - 60))
    said = say("inspect")
    assert "1 day ago" in said
    assert "2 days ago" in said
    assert "just now" in said


# --- two ----------------------------------------------------------------------------------------


def test_two_core_sets_are_compared(say, prepared, tiny):
    say("select", "--ratio", "0.25", "--rule", "asc")
    said = say("inspect", tiny.coreset, "asc_r0.25__mse_x2")
    assert f"A: {tiny.coreset}, 36 of 71 patches" in said
    assert "B: asc_r0.25__mse_x2, 18 of 71 patches" in said
    assert "Jaccard 0.0000, by chance 0.2" in said
    assert "share kept of each of 4 images" in said
    assert "share kept of each tenth of the scores mse_x2, the hardest first" in said
    bars = [line for line in said.splitlines() if "#" in line or "...." in line]
    assert len(bars) == 10
    assert bars[-1].endswith("####################  100%")  # asc keeps the easiest tenth
    facts = json.loads(say("inspect", tiny.coreset, "asc_r0.25__mse_x2", "--json"))
    assert (facts["size_a"], facts["size_b"], facts["both"]) == (36, 18, 0)
    assert facts["left_out"] == {}
    assert facts["images"]["number"] == 4
    rows = facts["images"]["largest_differences"]
    gaps = [abs(row["a"] - row["b"]) for row in rows]
    assert gaps == sorted(gaps, reverse=True)
    tenths = facts["scores"]["mse_x2"]
    assert tenths[0]["to"] >= tenths[0]["from"] >= tenths[1]["to"]


def test_two_core_sets_without_their_index_are_compared_without_images(say, pair):
    facts = json.loads(say("inspect", "hard", "even", "--json"))
    assert (facts["both"], facts["only_a"], facts["only_b"]) == (25, 25, 25)
    assert facts["jaccard"] == pytest.approx(1 / 3)
    assert facts["images"] is None
    assert "patches.parquet" in facts["left_out"]["images"]
    assert set(facts["scores"]) == {"one", "two"}
    assert [bins["a"] for bins in facts["scores"]["one"]] == [1] * 5 + [0] * 5
    assert "note: without images: " in say("inspect", "hard", "even")


def test_score_tables_of_other_patches_are_left_out_by_name(say, pair):
    scores(pair.scores("other"), np.arange(9.0), "bb")
    pair.scores("broken").write_bytes(b"no table")
    said = say("inspect", "hard", "even")
    assert "note: without other: " in said
    assert "note: without broken: " in said


def test_files_are_compared_as_names_are(say, pair):
    files = [pair.coreset(name).relative_to(pair.root.parent) for name in ("hard", "even")]
    by_file, by_name = say("inspect", *files), say("inspect", "hard", "even")
    assert by_file == by_name


def test_two_score_tables_are_compared(say, pair):
    said = say("inspect", "one", "two")
    assert "rank correlation (Spearman): -1.0000" in said
    facts = json.loads(say("inspect", "one", "two", "--json"))
    assert facts["spearman"] == pytest.approx(-1)
    tops = {top["share"]: top for top in facts["top"]}
    assert tops[0.5]["both"] == 0
    assert tops[0.75]["both"] == pytest.approx(50 / 75)
    assert tops[0.75]["chance"] == pytest.approx(0.75)


def test_a_constant_table_has_no_rank_correlation(say, pair):
    scores(pair.scores("flat"), np.ones(100), "aa")
    assert "not defined, a table is constant" in say("inspect", "one", "flat")
    assert json.loads(say("inspect", "one", "flat", "--json"))["spearman"] is None


def test_core_sets_of_two_indexes_are_refused_by_name(fault, pair):
    coreset(pair.coreset("foreign"), [1, 2], "bb", 100)
    said = fault("inspect", "hard", "foreign")
    assert "hard.parquet was made from patch index aa" in said
    assert "foreign.parquet from bb" in said


def test_a_core_set_and_a_table_are_not_compared(fault, pair):
    said = fault("inspect", "hard", "one")
    assert "hard.parquet holds CoreSet and " in said
    assert "one.parquet holds ScoreTable" in said


# --- the command line around it -----------------------------------------------------------------


def test_a_reader_that_goes_away_gets_no_fault(pair, tmp_path):
    """Far more lines than a pipe holds, of which one is read."""
    folder = pair.root / "coresets"
    for number in range(1500):
        (folder / f"{number:0100}.parquet").write_bytes(b"")
    child = subprocess.Popen(
        [sys.executable, "-m", "srprune", "inspect"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout and child.stderr
    assert child.stdout.readline().startswith("workspace ")
    child.stdout.close()
    assert child.stderr.read() == ""
    assert child.wait(60) == 141
    child.stderr.close()


def test_train_and_pretrain_tell_their_plan_and_result_as_json(cli, say, prepared, tiny):
    facts = json.loads(cli(*tiny.train, "--json").stdout)  # finished already: nothing is trained
    assert (facts["model"], facts["steps"], facts["num_patches"]) == ("fsrcnn", 20, 36)
    assert facts["weights"] == f"workspace/runs/{tiny.run}/weights.safetensors"
    assert facts["validation"] is None
    plan = json.loads(cli(*tiny.train, "--dry-run", "--name", "new", "--json").stdout)
    assert plan["config"]["model"] == "fsrcnn"
    assert "weights" not in plan
    facts = json.loads(cli(*tiny.pretrain, "--json").stdout)
    assert facts["num_full"] == 71
    assert facts["validation"]["step"] == 20
    assert isinstance(facts["validation"]["psnr"], float)
    weights = "workspace/scorers/srcnn_x2/weights.safetensors"
    assert facts["weights"] == weights
    assert facts["fingerprint"] == json.loads(say("inspect", weights, "--json"))["fingerprint"]
