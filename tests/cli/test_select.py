"""srprune select with every rule: settings, budgets, and train with a rule of a config."""

from __future__ import annotations

import json

import numpy as np
import pytest

from srprune.core.artifact import read_header
from srprune.core.coreset import CoreSet
from srprune.core.groups import GroupTable


def test_settings_and_a_budget(cli, prepared):
    asked = ["--rule", "ccs", "--budget", "20", "--offset", "0.1", "--set", "strata=5"]
    said = cli("select", *asked).stdout
    name = "ccs_n20_o0.10_strata5__mse_x2__seed0"
    assert "N 71, skipped 7, kept 20 (28.2%)" in said
    assert f"groups: 5 in workspace/groups/{name}.parquet" in said
    assert f"core-set: workspace/coresets/{name}.parquet" in said
    assert read_header(prepared / f"coresets/{name}.parquet").params["settings"] == {"strata": 5}
    assert GroupTable.read(prepared / f"groups/{name}.parquet").sizes.sum() == 64


def test_features_are_made_on_the_way_and_kept(cli, prepared):
    facts = json.loads(cli("select", "--rule", "hes", "--ratio", "0.5", "--json").stdout)
    assert facts["coreset"] == "hes_r0.50__seed0" and facts["num_kept"] == 36
    assert facts["num_groups"] == 10 and facts["weights"][0] <= 1 <= facts["weights"][1]
    assert (prepared / "features/gradient.parquet").exists()
    assert "weights in training: " in cli("select", "--rule", "hes", "--ratio", "0.5").stdout


def test_bytes_of_pixels(cli, prepared):
    facts = json.loads(cli("select", "--budget", "100kB", "--rule", "diverse", "--json").stdout)
    assert facts["coreset"] == "diverse_100kB__mse_x2" and 0 < facts["num_kept"] < 71


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing option '--ratio' or '--budget'"),
        (["--ratio", "0.5", "--budget", "9"], "either '--ratio' or '--budget', not both"),
        (["--budget", "many"], "budget is 'many'; it must be a number of patches such as 8000"),
        (["--ratio", "0.5", "--set", "strata"], "'strata' is not a setting; it must be of the"),
        (["--ratio", "0.5", "--set", "strata=5"], "unknown des setting 'strata'. Known: none."),
        (
            ["--ratio", "0.5", "--rule", "ccs", "--set", "strata=many"],
            "strata is 'many'; with ccs it must be a whole number",
        ),
        (
            ["--ratio", "0.5", "--rule", "hes", "--set", "features=colour"],
            "unknown feature 'colour'. Known: dhash, gradient, texture.",
        ),
        (["--ratio", "0.5", "--rule", "hes", "--offset", "0.1"], "rule hes takes none"),
        (
            ["--ratio", "0.5", "--scores", "./mse_x2"],
            "'./mse_x2' is a path; give the name of a score table in workspace/scores. Known: "
            "mse_x2.",
        ),
        (
            ["--ratio", "0.5", "--scores", "workspace/scores/mse_x2.parquet"],
            "'workspace/scores/mse_x2.parquet' is a path; give the name of a score table",
        ),
        (
            ["--ratio", "0.9", "--rule", "diverse", "--set", "within=64"],
            "without near-duplicates 1 of 71 patches remain, 63 fewer than the 64 asked for.",
        ),
    ],
)
def test_what_cannot_be_is_one_line(refused, prepared, arguments, said):
    before = sorted((prepared / "coresets").iterdir())
    assert said in refused("select", *arguments)
    assert sorted((prepared / "coresets").iterdir()) == before


def test_train_makes_and_takes_the_core_set_of_its_config(cli, refused, prepared, tiny):
    rule = ["--set", "pruning.rule=ccs", "--set", "pruning.args={strata: 4}", "--name", "c"]
    name = "ccs_r0.50_o0.05_strata4__mse_x2__seed0"
    assert f"core-set: {name}" in cli(*tiny.train, *rule, "--dry-run").stdout
    path = prepared / f"coresets/{name}.parquet"
    made = CoreSet.read(path)
    cli("select", "--rule", "ccs", "--ratio", "0.5", "--offset", "0.05", "--set", "strata=4")
    assert CoreSet.read(path).fingerprint == made.fingerprint  # the same core-set by either way
    params = made.header.params | {"settings": {"strata": 5}}
    CoreSet.write(path, made.patch_ids, parents=made.header.parents, params=params, made={})
    assert "made with other settings than its name says" in refused(*tiny.train, *rule)


def test_the_full_set_of_a_rule_with_weights_is_a_core_set_of_its_own(cli, prepared, tiny):
    full = ["--set", "pruning.rule=hes", "--set", "pruning.ratio=1", "--set", "pruning.offset=0"]
    assert "core-set: hes_r1.00__seed0" in cli(*tiny.train, *full, "--dry-run").stdout
    coreset = CoreSet.read(prepared / "coresets/hes_r1.00__seed0.parquet")
    assert coreset.weights is not None and np.ptp(coreset.weights) > 0 and len(coreset) == 71


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("pruning.args.strat=4", "unknown ccs setting 'pruning.args.strat'. Did you mean: strata?"),
        ("pruning.args.strata=0", "pruning.args.strata is 0; with ccs it must be at least 1"),
    ],
)
def test_a_faulty_setting_of_a_config_is_named(refused, prepared, tiny, change, said):
    assert said in refused(*tiny.train, "--set", "pruning.rule=ccs", "--set", change)
