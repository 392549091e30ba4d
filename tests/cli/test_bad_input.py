"""Faulty commands, configs and artifacts end in one line, and leave nothing half-written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from srprune.core.artifact import read_header, write_table
from tests.cli.spoiled import cut, files, garbage, turned

# --- commands and options -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["extrac", "images"], "Did you mean: extract?"),
        (["select"], "Missing option '--ratio'"),
        (["select", "--ratoi", "0.5"], "Did you mean"),
        (["select", "--ratio", "half"], "'half' is not a valid float"),
        (["score", "--scale", "5"], "scale is 5; it must be 2, 3 or 4"),
        (["eval", "--protocol", "y"], "'y' is not one of"),
        (["list", "networks"], "'networks' is not one of"),
        (["extract", "images", "--workers", "0"], "--workers"),
    ],
)
def test_a_usage_fault_is_one_line_that_points_at_the_help(refused, arguments, said):
    message = refused(*arguments)
    assert said in message
    assert "--help" in message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ratio", "0"], "ratio is 0; it must be above 0 and at most 1."),
        (["--ratio", "1.5"], "ratio is 1.5; it must be above 0 and at most 1."),
        (["--ratio", "nan"], "ratio is nan"),
        (["--ratio", "0.5", "--offset", "1"], "offset is 1; it must be at least 0 and below 1."),
        (["--ratio", "0.7", "--offset", "0.4"], "need 78 patches, 7 more than the 71 there are"),
        (["--ratio", "0.001"], "keeps none. Choose a ratio of at least 0.014"),
        (["--ratio", "0.5", "--rule", "desc"], "unknown rule 'desc'. Did you mean: des?"),
        (
            ["--ratio", "0.5", "--scores", "mse_x3"],
            "no score table 'mse_x3'. Did you mean: mse_x2? Known: mse_x2.",
        ),
    ],
)
def test_a_core_set_that_cannot_be_is_refused(refused, prepared, arguments, said):
    shutil.rmtree(prepared / "coresets")
    assert said in refused("select", *arguments)
    assert not (prepared / "coresets").exists()


def test_of_two_score_tables_one_must_be_named(cli, refused, prepared):
    shutil.copy(prepared / "scores/mse_x2.parquet", prepared / "scores/mine.parquet")
    said = refused("select", "--ratio", "0.5")
    assert said.startswith("there are 2 score tables: mine, mse_x2. Choose one: --scores NAME.")
    cli("select", "--ratio", "0.5", "--scores", "mine")


@pytest.mark.parametrize(
    ("command", "first"),
    [
        ("pretrain", "srprune extract IMAGES"),
        ("score", "srprune extract IMAGES"),
        ("score --method sobel", "srprune extract IMAGES"),
        ("select --ratio 0.5", "srprune extract IMAGES"),
        ("train --config fsrcnn_x2.yaml", "srprune extract IMAGES"),
        ("eval --benchmark photos", "srprune train"),
    ],
)
def test_without_the_stage_before_a_command_says_which_to_run(refused, tmp_path, command, first):
    assert f"Run '{first}' first." in refused(*command.split())
    assert files(tmp_path) == []


def test_without_scores_select_and_train_say_which_command_to_run(refused, prepared, tiny):
    shutil.rmtree(prepared / "scores")
    assert "Run 'srprune score' first." in refused("select", "--ratio", "0.5")
    assert "Run 'srprune score --method mse' first." in refused(*tiny.train)


# --- configs ------------------------------------------------------------------------------------

FAULTY = """\
model: fsrcnn
scale: 5
bacth: 16
batch: sixteen
budget: {steps: 100}
augment: on
seed: 010
lr_crop: 12
lr_crop: 16
optimizer: {lr: 1e-4}
validation:
  evry: 10
"""


def test_all_faults_of_a_config_show_at_once_with_file_and_line(refused, tmp_path):
    (tmp_path / "bad.yaml").write_text(FAULTY)
    said = refused("train", "--config", "bad.yaml", lines=None).splitlines()

    def line(number: int) -> str:
        return "\n".join(each for each in said if f"(bad.yaml, line {number})" in each)

    assert "scale is 5; it must be one of 2, 3, 4" in line(2)
    assert "unknown key 'bacth'. Did you mean: batch?" in line(3)
    assert "batch is 'sixteen'; it must be a whole number" in line(4)
    assert "augment is 'on'; it must be true or false" in line(6)
    assert "010" in line(7)
    assert "key 'lr_crop' stands twice, in line 8 and in line 9" in line(9)
    assert "unknown key 'validation.evry'. Did you mean: every?" in line(12)
    assert len(said) == 7, said  # and 1e-4 is a number
    assert files(tmp_path) == ["bad.yaml"]


def test_an_exponent_without_a_point_is_a_number(cli, prepared, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "model: fsrcnn\nbudget: {steps: 100}\nlr_crop: 12\noptimizer: {lr: 1e-4}\n"
    )
    assert "lr: 0.0001" in cli("train", "--config", "mine.yaml", "--dry-run").stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("optimzer.lr=1", "unknown key 'optimzer'. Did you mean: optimizer?"),
        ("batch=0", "batch is 0; it must be at least 1"),
        ("model=fsrcn", "unknown model 'fsrcn'. Did you mean: fsrcnn?"),
        ("model_args.chanels=y", "unknown fsrcnn argument 'chanels'. Did you mean: channels?"),
        ("model_args.channels=cmyk", "model_args.channels is 'cmyk'; fsrcnn takes y, rgb."),
        ("pruning.rule=desc", "unknown rule 'desc'. Did you mean: des?"),
        ("pruning.ratio=0.99", "ratio 0.99 and offset 0.05 add up to 1.04"),
    ],
)
def test_a_faulty_override_is_named(refused, prepared, tiny, change, said):
    assert said in refused(*tiny.train, "--set", change)
    assert [run.name for run in (prepared / "runs").iterdir()] == [tiny.run]


def test_an_unknown_config_lists_what_there_is(refused):
    said = refused("train", "--config", "fsrcn_x2.yaml")
    assert said.startswith("there is no config fsrcn_x2.yaml. Did you mean: fsrcnn_x2.yaml?")
    assert "srcnn.yaml" in said


# --- artifacts ----------------------------------------------------------------------------------


def test_scores_of_another_index_are_refused(cli, refused, prepared):
    old = read_header(prepared / "patches.parquet").fingerprint
    cli("extract", "images", "--size", "48", "--stride", "48")
    new = read_header(prepared / "patches.parquet").fingerprint
    said = refused("select", "--ratio", "0.5")
    assert said.startswith(f"workspace/scores/mse_x2.parquet was made from patches {old}")
    assert new in said
    assert "Run 'srprune score --method mse --restart'." in said


def test_a_core_set_of_another_index_is_refused(cli, refused, prepared, tiny):
    cli("extract", "images", "--size", "48", "--stride", "48")
    coreset = f"workspace/coresets/{tiny.coreset}.parquet"
    said = refused(*tiny.train, "--coreset", coreset)
    assert said.startswith(f"{coreset} was made from patches ")


def test_a_scoring_model_of_another_index_is_refused(cli, refused, prepared):
    cli("extract", "images", "--size", "48", "--stride", "48")
    said = refused("score")
    assert said.startswith("workspace/scorers/srcnn_x2 was trained on patch index ")
    assert "srprune pretrain --restart" in said


def test_a_core_set_of_other_scores_is_refused(refused, prepared, tiny):
    rewrite_scores(prepared / "scores/mse_x2.parquet", lambda scores_N: scores_N[::-1])
    said = refused(*tiny.train, "--name", "new")
    assert "was made from other scores than workspace/scores/mse_x2.parquet" in said
    assert "srprune select" in said


def test_a_missing_core_set_is_named(refused, prepared, tiny):
    assert refused(*tiny.train, "--coreset", "no.parquet") == "there is no file no.parquet."


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_refused(refused, prepared, value):
    def spoil(scores_N):
        scores_N[[7, 9]] = value
        return scores_N

    rewrite_scores(prepared / "scores/mse_x2.parquet", spoil)
    said = refused("select", "--ratio", "0.5")
    assert said.startswith(f"2 of 71 scores are not finite; the first is {value} of patch 7")
    assert "workspace/scores/mse_x2.parquet" in said


@pytest.mark.parametrize("damage", [cut, garbage, turned])
def test_a_damaged_table_is_named(refused, prepared, damage):
    for file in ("scores/mse_x2.parquet", "patches.parquet"):
        path = prepared / file
        path.write_bytes(damage(path.read_bytes()))
        assert f"workspace/{file} " in refused("select", "--ratio", "0.5")


def test_a_table_of_another_kind_is_refused(refused, prepared, tiny):
    said = refused(*tiny.train, "--coreset", "workspace/scores/mse_x2.parquet")
    assert said.endswith("mse_x2.parquet holds a ScoreTable; a CoreSet was expected.")


def test_a_foreign_parquet_file_is_refused(refused, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
    assert "srprune did not write it" in refused("inspect", "a.parquet")


def test_missing_pixels_are_named(refused, prepared):
    (prepared / "pixels/hr.u8").unlink()
    said = refused("score", "--method", "sobel")
    assert said.startswith("the pixels workspace/pixels/hr.u8 are not there. Run 'srprune extract'")


def rewrite_scores(path: Path, change) -> None:
    """Write a score table with other scores, and a fingerprint that fits them."""
    import pyarrow.parquet as pq

    header, table = read_header(path), pq.read_table(path)
    columns = {name: table.column(name).to_numpy().copy() for name in table.column_names}
    columns["score"] = np.ascontiguousarray(change(columns["score"]))
    write_table(
        path, header.kind, columns, parents=header.parents, params=header.params, made=header.made
    )
