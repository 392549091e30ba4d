"""Tables in shards, as a job array writes them and the other commands read them."""

from __future__ import annotations

import json

import pytest

SCORE = ("score", "--method", "laplacian", "--name", "parts")


def test_an_array_writes_a_table_that_other_commands_take(cli, prepared):
    said = cli(*SCORE, "--shards", "3", "--shard", "2").stdout
    assert said == "1 of 3 shards are there: workspace/scores/parts.parquet\n"
    facts = json.loads(cli(*SCORE, "--shards", "3", "--shard", "0", "--json").stdout)
    assert (facts["shards"], facts["missing"]) == (3, [1])
    assert "shards 1 of 3 are missing" in cli("inspect").stdout
    assert "71 patches scored by laplacian" in cli(*SCORE, "--shards", "3").stdout

    cli("score", "--method", "laplacian")
    whole = json.loads(cli("inspect", "laplacian", "--json").stdout)
    parts = json.loads(cli("inspect", "parts", "--json").stdout)
    assert parts["fingerprint"] == whole["fingerprint"]
    assert "71 scores by laplacian" in cli("inspect").stdout
    assert "(Spearman): 1.0000" in cli("inspect", "parts", "laplacian").stdout
    chosen = [
        json.loads(cli("select", "--ratio", "0.5", "--scores", name, "--json").stdout)
        for name in ("parts", "laplacian")
    ]
    assert chosen[0]["score_range"] == chosen[1]["score_range"]


def test_a_table_that_is_not_whole_is_refused(cli, refused, prepared):
    cli(*SCORE, "--shards", "3", "--shard", "1")
    for command in (("inspect", "parts"), ("select", "--ratio", "0.5", "--scores", "parts")):
        assert "parts.parquet is not whole: shards 0, 2 of 3 are missing" in refused(*command)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shard", "0"), "--shard needs --shards"),
        (("--shards", "2", "--restart"), "--restart goes without --shards"),
        (("--shards", "2", "--shard", "2"), "--shard is 2; there are 2, counted from 0"),
        (("--shards", "9"), "9 shards are asked for, but there are 4 images"),
    ],
)
def test_shards_that_cannot_be_are_refused(refused, prepared, options, said):
    assert said in refused(*SCORE, *options)
