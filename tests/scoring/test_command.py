"""``srprune score``: reconstruction scores, contexts, error maps and what it tells."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from srprune.core.artifact import read_header
from srprune.core.error_maps import ErrorMaps
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace


def facts(cli, *arguments) -> dict:
    return json.loads(cli("score", *arguments, "--json").stdout)


def table(prepared, name: str) -> ScoreTable:
    return ScoreTable.read(prepared / "scores" / f"{name}.parquet")


def test_json_gives_the_facts_and_where_the_time_went(cli, prepared):
    told = facts(cli, "--method", "psnr")
    assert told["scores"] == "psnr_x2" and told["num_patches"] == 71
    assert told["params"] | {"method": "psnr", "context": "patch", "rim": 10} == told["params"]
    assert told["params"]["precision"] == "fp32"
    assert set(told["seconds_of"]) == {"pixels", "bicubic", "network", "reduce", "other"}
    assert sum(told["seconds_of"].values()) == pytest.approx(told["seconds"])
    assert told["patches_per_second"] == pytest.approx(71 / told["seconds"])
    scores = table(prepared, "psnr_x2").scores_N
    assert told["lowest"] == scores.min() and told["highest"] == scores.max()
    mse = table(prepared, "mse_x2").scores_N
    np.testing.assert_allclose(10 ** (scores / 10), mse, rtol=1e-5)
    again = facts(cli, "--method", "psnr")
    assert "seconds" not in again  # nothing was scored
    assert again["fingerprint"] == told["fingerprint"]


def test_one_line_tells_throughput(cli, prepared):
    said = cli("score", "--method", "l1").stdout
    (line,) = [line for line in said.splitlines() if "patches/s" in line]
    assert "network" in line and line.count("%") == 5
    assert "patches/s" not in cli("score", "--method", "l1").stdout


def test_the_context_is_part_of_the_table(cli, refused, prepared):
    facts(cli, "--context", "image", "--include-rim", "--name", "image")
    facts(cli, "--include-rim", "--name", "patch")
    image, patch = table(prepared, "image"), table(prepared, "patch")
    assert image.header.params["context"] == "image"
    assert not np.allclose(image.scores_N, patch.scores_N, rtol=1e-4)
    said = refused("score", "--context", "image")
    assert "mse_x2.parquet was made otherwise: context patch there, image now" in said


def test_bf16_is_part_of_the_table(cli, refused, prepared):
    assert "precision fp32 there, bf16 now" in refused("score", "--precision", "bf16")
    told = facts(cli, "--precision", "bf16", "--name", "half")
    assert told["params"]["precision"] == "bf16"
    half, full = table(prepared, "half").scores_N, table(prepared, "mse_x2").scores_N
    np.testing.assert_allclose(half, full, rtol=0.3)
    assert not np.array_equal(half, full)


def test_maps_are_written_beside_the_table(cli, prepared, unfinished):
    before = table(prepared, "mse_x2")
    told = facts(cli, "--maps")  # the table is there, the maps are not
    assert told["error_maps"] == "workspace/error_maps/mse_x2.parquet"
    assert table(prepared, "mse_x2").fingerprint == before.fingerprint
    path = Workspace(prepared).error_maps("mse_x2")
    maps = ErrorMaps.read(path, before.fingerprint)
    assert maps.cells_NHW.shape == (71, 16, 16)
    assert read_header(path).parents["patches"] == before.header.parents["patches"]
    means = maps.cells_NHW[:, 4:12, 4:12].mean(axis=(1, 2))  # cells of 3 px, wholly scored
    assert np.corrcoef(means, before.scores_N)[0, 1] > 0.8
    stamp = path.stat().st_mtime_ns
    assert "seconds" not in facts(cli, "--maps")
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(path.read_bytes()[:-100])
    facts(cli, "--maps")  # damaged ones are made again
    assert np.array_equal(ErrorMaps.read(path, before.fingerprint).cells_NHW, maps.cells_NHW)
    assert unfinished(prepared) == []


@pytest.mark.parametrize(
    ("method", "given", "why"),
    [
        ("sobel", "--maps", "sobel makes no reconstruction"),
        ("sobel", "--context image, --include-rim", "sobel makes no reconstruction"),
        ("random", "--precision bf16", "random makes no reconstruction"),
        ("bicubic", "--precision bf16", "bicubic asks no network"),
    ],
)
def test_options_that_a_method_does_not_look_at_are_refused(refused, prepared, method, given, why):
    said = refused("score", "--method", method, *given.replace(",", "").split())
    assert said.startswith(f"{given} would have no effect, since {why}. Leave it out, or choose ")
    assert not (prepared / "scores" / f"{method}.parquet").exists()


def test_what_comes_first_is_asked_for_first(refused, prepared):
    said = refused("score", "-w", "nowhere")
    assert said == "there is no patch index in nowhere. Run 'srprune extract IMAGES' first."


def test_a_damaged_table_is_replaced_and_that_is_told(cli, prepared):
    path = prepared / "scores" / "mse_x2.parquet"
    before = table(prepared, "mse_x2").fingerprint
    path.write_bytes(path.read_bytes()[:-100])
    said = cli("score")
    assert said.stderr.startswith(
        "note: a score table that cannot be read is replaced: workspace/scores/mse_x2.parquet is "
    )
    assert table(prepared, "mse_x2").fingerprint == before
    assert "note: " not in cli("score").stderr


def test_a_scoring_model_of_other_patches_is_made_again_under_its_name(
    cli, refused, prepared, tiny
):
    cli(*tiny.pretrain, "--name", "mine")
    cli("extract", "images", "--size", "48", "--stride", "48")
    said = refused("score", "--scorer", "mine")
    assert said.endswith("Run 'srprune pretrain --name mine --restart'.")


def test_reducible_takes_a_weak_and_a_strong_model(cli, refused, prepared, tiny):
    said = refused("score", "--method", "reducible")
    assert said == (
        "reducible takes two scoring models, the weak one first, but --scorer is given 0 times."
    )
    run = tiny.run
    weights = "workspace/scorers/srcnn_x2/best.safetensors"
    facts(cli, "--method", "reducible", "--scorer", weights, "--scorer", run)
    gained = table(prepared, "reducible_x2")
    assert set(gained.header.parents) == {"patches", "scorer", "scorer2"}
    for name, scorer in (("weak", weights), ("strong", run)):
        facts(cli, "--include-rim", "--scorer", scorer, "--name", name)
    facts(
        cli, "--method", "reducible", "--scorer", weights, "--scorer", run, "--include-rim",
        "--name", "whole",
    )  # fmt: skip
    apart = table(prepared, "weak").scores_N - table(prepared, "strong").scores_N
    np.testing.assert_allclose(table(prepared, "whole").scores_N, apart, rtol=1e-4, atol=1e-8)


def test_uncertainty_takes_any_number(cli, refused, prepared):
    alone = facts(cli, "--method", "uncertainty")
    weights = "workspace/scorers/srcnn_x2/best.safetensors"
    both = facts(
        cli, "--method", "uncertainty", "--scorer", "srcnn_x2", "--scorer", weights, "--name", "two"
    )
    assert alone["lowest"] > 0 and both["lowest"] >= 0
    assert alone["median"] != both["median"]
    said = refused("score", "--scorer", "srcnn_x2", "--scorer", weights)
    assert said == "mse takes one scoring model, but --scorer is given 2 times."


def test_a_table_of_more_scoring_models_is_not_that_of_some_of_them(cli, refused, prepared):
    weights = "workspace/scorers/srcnn_x2/best.safetensors"
    two = ["--scorer", "srcnn_x2", "--scorer", weights]
    facts(cli, "--method", "uncertainty", *two)
    said = refused("score", "--method", "uncertainty", *two[:2])
    assert "uncertainty_x2.parquet was made otherwise: scorer2 " in said
    assert " there, none now. Give another --name" in said
    assert "seconds" not in facts(cli, "--method", "uncertainty", *two)  # that is the very one


@pytest.mark.parametrize("method", ["reducible", "uncertainty"])
def test_the_same_scoring_model_twice_is_refused(refused, prepared, method):
    weights = prepared / "scorers" / "srcnn_x2" / "weights.safetensors"
    twice = ["score", "--method", method, "--scorer", "srcnn_x2", "--scorer"]
    why = f"{method} compares scoring models, but --scorer is given the same weights twice: "
    said = refused(*twice, "srcnn_x2")
    assert said == f"{why}workspace/scorers/srcnn_x2/{weights.name}. Name another one."
    copy = prepared.parent / "copy.safetensors"
    shutil.copyfile(weights, copy)
    said = refused(*twice, "copy.safetensors")
    assert said.startswith(why) and said.endswith("and copy.safetensors. Name another one.")
    assert not list((prepared / "scores").glob(f"{method}*"))


def test_a_scorer_that_is_not_there_lists_those_that_are(refused, prepared, tiny):
    said = refused("score", "--scorer", "srcn_x2")
    assert "there is no scoring model, run or weights file 'srcn_x2'" in said
    assert "scoring models: srcnn_x2" in said and tiny.run in said


def test_models_of_two_scales_are_refused(cli, refused, prepared, tiny):
    cli(*tiny.pretrain, "--set", "scale=3", "--set", "lr_crop=16", "--name", "three")
    said = refused("score", "--method", "uncertainty", "--scorer", "srcnn_x2", "--scorer", "three")
    assert said.startswith("scoring models must be of one scale, but workspace/scorers/srcnn_x2/")
    assert "is of x2" in said and "is of x3" in said


def test_scores_do_not_depend_on_what_was_there(cli, prepared):
    before = table(prepared, "mse_x2").scores_N
    shutil.rmtree(prepared / "scores")
    facts(cli, "--maps", "--batch", "7")
    np.testing.assert_allclose(table(prepared, "mse_x2").scores_N, before, rtol=1e-6)
