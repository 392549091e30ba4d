"""What every rule of the table must keep to; a new one needs no new test here."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srprune.core.config import ExtractConfig
from srprune.core.coreset import CoreSet
from srprune.core.errors import InputError, UnknownName
from srprune.core.groups import GroupTable
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.selection import RULES
from srprune.selection.coverage import covered_pixels
from srprune.selection.rule import FEATURES, Pool, Rule
from srprune.stages.coresets import select
from srprune.stages.extract import ImageSource, extract, read_index

BEFOREHAND = [
    name for name in RULES if not (RULES.load(name).in_training or RULES.load(name).synthesised)
]
every_rule = pytest.mark.parametrize("name", list(RULES))
every_rule_of_select = pytest.mark.parametrize("name", BEFOREHAND)
N = 200


@pytest.fixture(autouse=True)
def with_its_packages(name: str) -> None:
    if name == "clustered":
        pytest.importorskip("sklearn")


@pytest.fixture
def workspace(images: Path, tmp_path: Path) -> Workspace:
    """Patches of real photographs with scores that nothing knows."""
    made = Workspace(tmp_path / "workspace")
    index = extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=24), made)
    scores_N = np.random.default_rng(0).lognormal(size=len(index))
    parents = {"patches": index.fingerprint}
    ScoreTable.write(
        made.scores("mine"), scores_N, parents=parents, params={"method": "mine"}, made={}
    )
    return made


def a_pool(rule: Rule, seed: int = 0, draw: int = 0, skip: int = 0) -> Pool:
    """Scores and features by chance; hashes far apart but for a few."""
    rng = np.random.default_rng(seed)
    scores_N, features_ND = rng.permutation(N) / 7, rng.lognormal(size=(N, 3))
    if rule.defaults.get(FEATURES) == "dhash":
        features_ND = rng.integers(0, 2, (N, 64))
        features_ND[:5] = features_ND[5]
    return Pool(N, skip, draw, scores_N, features_ND.astype(np.float32))


@every_rule
@pytest.mark.parametrize("seed", range(3))
def test_sizes_are_exact_and_ids_sorted_and_unique(name: str, seed: int) -> None:
    rule: Rule = RULES.load(name)
    prepared = rule.prepare(a_pool(rule, seed))
    assert N / 2 <= prepared.most <= N
    for size in (1, 7, 50, prepared.most):
        choice = prepared.take(size)
        assert choice.ids.dtype == np.int64 and len(choice.ids) == size
        assert (np.diff(choice.ids) > 0).all() and choice.ids[0] >= 0 and choice.ids[-1] < N
        assert (choice.weights is not None) == rule.weighted
    if prepared.groups_N is not None:
        assert prepared.groups_N.dtype == np.int32 and prepared.groups_N.shape == (N,)
        assert (prepared.groups_N[prepared.take(50).ids] >= 0).all()


@every_rule
def test_the_seed_decides_where_the_rule_draws_and_nowhere_else(name: str) -> None:
    rule: Rule = RULES.load(name)
    one, same, other = (
        rule.prepare(a_pool(rule, draw=draw)).take(50).ids.tolist() for draw in (1, 1, 2)
    )
    assert one == same
    assert (one != other) == rule.seeded


@every_rule
def test_nested_rules_keep_what_a_smaller_core_set_keeps(name: str) -> None:
    rule: Rule = RULES.load(name)
    prepared = rule.prepare(a_pool(rule))
    sets = [set(prepared.take(size).ids.tolist()) for size in range(1, prepared.most + 1)]
    nested = all(fewer <= more for fewer, more in pairwise(sets))
    assert nested or not rule.nested


@every_rule
def test_an_offset_skips_the_head_of_the_order(name: str) -> None:
    rule: Rule = RULES.load(name)
    if not rule.offset:
        pytest.skip("it takes no offset, and select refuses one")
    pool = a_pool(rule, skip=20)
    prepared = rule.prepare(pool)
    kept = prepared.take(50).ids
    assert prepared.most <= N - 20 and len(kept) == 50
    if rule.scores and name != "asc":
        assert pool.scores[kept].max() < np.sort(pool.scores)[-20]  # the hardest 20 are out


@every_rule
def test_scores_and_features_stay_as_they_were(name: str) -> None:
    rule: Rule = RULES.load(name)
    pool, before = a_pool(rule), a_pool(rule)
    rule.prepare(pool).take(50)
    assert np.array_equal(pool.scores, before.scores)
    assert np.array_equal(pool.features, before.features)


@every_rule
def test_it_takes_nothing_that_it_does_not_ask_for(name: str) -> None:
    rule: Rule = RULES.load(name)
    pool = a_pool(rule)
    scores_N = pool.scores_N if rule.scores else None
    features_ND = pool.features_ND if FEATURES in rule.defaults else None
    bare = rule.prepare(Pool(N, 0, 0, scores_N, features_ND)).take(50)
    assert np.array_equal(bare.ids, rule.prepare(pool).take(50).ids)


@every_rule
def test_defaults_pass_the_rules_own_check(name: str) -> None:
    rule: Rule = RULES.load(name)
    assert rule.checked(rule.defaults) == rule.defaults
    with pytest.raises(UnknownName, match=f"unknown {name} setting 'nothing'"):
        rule.checked({"nothing": 1})
    for key in rule.defaults:
        with pytest.raises(InputError, match=f"{key} is .*; with {name} it must "):
            rule.checked({key: {}})


def a_size(name: str, workspace: Workspace) -> dict[str, Any]:
    few = {"settings": {"clusters": 3}} if name == "clustered" else {}
    return {"rule": name, "ratio": 0.2, **few}


@every_rule_of_select
def test_select_writes_a_core_set_that_says_how_it_was_made(
    workspace: Workspace, name: str
) -> None:
    rule: Rule = RULES.load(name)
    index = read_index(workspace)
    found = select(workspace, seed=3, **a_size(name, workspace))
    coreset = CoreSet.read(workspace.coreset(found.name), index.fingerprint)
    params, parents = coreset.header.params, coreset.header.parents
    assert len(coreset) == round(0.2 * len(index)) == params["num_kept"]
    assert params["rule"] == name and params["seed"] == (3 if rule.seeded else None)
    assert set(params.get("settings", {})) == set(rule.defaults)
    assert ("scores" in parents) == rule.scores
    assert ("features" in parents) == (FEATURES in rule.defaults)
    assert (coreset.weights is not None) == rule.weighted
    groups = workspace.groups(found.name)
    assert groups.exists() == bool(found.num_groups)
    if found.num_groups:
        table = GroupTable.read(groups, index.fingerprint)
        assert len(table) == len(index) and np.count_nonzero(table.sizes) == found.num_groups


@every_rule_of_select
def test_select_makes_nothing_again(workspace: Workspace, name: str) -> None:
    def files() -> dict[str, int]:
        paths = (path for path in workspace.root.rglob("*") if path.is_file())
        return {str(path): path.stat().st_mtime_ns for path in paths}

    first = select(workspace, **a_size(name, workspace))
    before = files()
    assert select(workspace, **a_size(name, workspace)).coreset.fingerprint == (
        first.coreset.fingerprint
    )
    assert files() == before


@every_rule_of_select
def test_a_budget_in_patches_is_met_exactly(workspace: Workspace, name: str) -> None:
    asked = a_size(name, workspace) | {"ratio": None}
    found = select(workspace, budget="11", **asked)
    assert len(found.coreset) == 11 and f"{name}_n11" in found.name
    assert found.coreset.header.params["budget"] == "11"


@every_rule_of_select
def test_a_budget_in_bytes_is_the_largest_that_fits(workspace: Workspace, name: str) -> None:
    asked = a_size(name, workspace) | {"ratio": None}
    if not RULES.load(name).nested:
        with pytest.raises(InputError, match="no size is the largest that fits"):
            select(workspace, budget="60kB", **asked)
        return
    index = read_index(workspace)
    found = select(workspace, budget="60kB", **asked)
    size = len(found.coreset)
    assert f"{name}_60kB" in found.name and size < len(index) // 2
    assert 3 * covered_pixels(index, found.coreset.patch_ids) <= 60_000
    more = select(workspace, budget=str(size + 1), **asked).coreset
    assert 3 * covered_pixels(index, more.patch_ids) > 60_000


@pytest.mark.parametrize("name", [name for name in RULES if name not in BEFOREHAND])
def test_a_rule_that_only_training_can_follow_is_refused_beforehand(
    workspace: Workspace, name: str
) -> None:
    """Whatever size is asked for; and nothing is written."""
    for size in ({"ratio": 0.2}, {"budget": "11"}, {"budget": "60kB"}):
        with pytest.raises(InputError) as caught:
            select(workspace, rule=name, **size)
        assert str(caught.value).startswith(f"rule {name} ")
        assert str(caught.value).endswith(
            f"Train with it: srprune train --set pruning.rule={name}."
        )
    assert not (workspace.root / "coresets").exists()
    with pytest.raises(InputError, match="Train with it"):
        RULES.load(name)(np.arange(9.0), 0.5)


@every_rule
def test_a_rule_leaves_torch_and_what_it_has_no_use_for_unloaded(name: str) -> None:
    code = f"""
import sys
from srprune.selection import RULES
RULES.load({name!r})
print([each for each in ("torch", "sklearn", "scipy", "pydantic") if each in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
