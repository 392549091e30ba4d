"""select: the core-set that is written, and the figures that describe it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.coreset import CoreSet
from srprune.core.errors import ArtifactMismatch, InputError, MissingArtifact, UnknownName
from srprune.core.features import FeatureTable
from srprune.core.groups import GroupTable
from srprune.core.patches import ImageRecord, PatchIndex
from srprune.core.scores import ScoreTable
from srprune.core.workspace import Workspace
from srprune.images.grid import grid
from srprune.stages.coresets import describe, select

IMAGES = (
    ImageRecord("a.png", 60, 84, "0" * 32),
    ImageRecord("b.png", 48, 48, "1" * 32),
    ImageRecord("c.png", 132, 72, "2" * 32),
)
SHAPES = [(image.height, image.width) for image in IMAGES]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with an index of 17 patches of 48 px over three images, and no scores yet."""
    made = Workspace(tmp_path / "w")
    index = PatchIndex(48, 24, IMAGES, *grid(SHAPES, 48, 24))
    index.write(made.patches, made={})
    return made


def put_scores(
    workspace: Workspace, scores_N: npt.NDArray[np.float64], name: str = "mse_x2"
) -> ScoreTable:
    parents = {"patches": PatchIndex.read(workspace.patches).fingerprint}
    params = {"method": "mse"}
    path = workspace.scores(name)
    return ScoreTable.write(path, scores_N, parents=parents, params=params, made={})


def unique_pixels(index: PatchIndex, ids: list[int]) -> int:
    """Count every covered pixel once, one by one."""
    seen = set()
    for i in ids:
        top, left = int(index.top_N[i]), int(index.left_N[i])
        for y in range(top, top + index.size):
            seen |= {(int(index.image_N[i]), y, x) for x in range(left, left + index.size)}
    return len(seen)


ALL = PatchIndex(48, 24, IMAGES, *grid(SHAPES, 48, 24))
NUM = len(ALL)


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(0, NUM - 1), min_size=1))
def test_the_figures_are_those_of_a_count_by_hand(
    tmp_path_factory: pytest.TempPathFactory, ids: set[int]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "by_hand"
    index = ALL.write(folder / "p.parquet", made={})
    kept = sorted(ids)
    scores_N = np.random.default_rng(len(kept)).random(NUM)
    params = {"num_patches": NUM, "num_skipped": 3}
    table = ScoreTable.write(
        folder / "s.parquet", scores_N, parents={}, params={"method": "mse"}, made={}
    )
    coreset = CoreSet.write(
        folder / "c.parquet", np.array(kept), parents={}, params=params, made={}
    )
    found = describe("name", coreset, index, table)
    for image in range(3):
        own = [i for i in range(NUM) if index.image_N[i] == image]
        assert found.image_shares[image] == len(ids & set(own)) / len(own)
    covered = unique_pixels(index, kept)
    total = sum(height * width for height, width in SHAPES)
    assert found.pixel_share == pytest.approx(covered / total, rel=1e-12)
    assert found.score_range == (min(scores_N[kept]), max(scores_N[kept]))
    assert found.loss_share == pytest.approx(sum(scores_N[kept]) / sum(scores_N), rel=1e-12)
    assert (found.num_patches, found.num_skipped) == (NUM, 3)


def test_the_index_of_these_tests_is_what_they_say() -> None:
    assert NUM == 17 and ALL.patches_per_image.tolist() == [6, 1, 10]


def test_des_is_written_with_parents_and_params(workspace: Workspace) -> None:
    scores_N = np.arange(NUM, dtype=float)
    table = put_scores(workspace, scores_N)
    index = PatchIndex.read(workspace.patches)
    found = select(workspace, rule="des", ratio=0.5, offset=0.1)
    assert found.name == "des_r0.50_o0.10__mse_x2"
    written = CoreSet.read(workspace.coreset(found.name), index.fingerprint)
    assert written.patch_ids.tolist() == list(range(6, 15))  # 2 of 17 skipped, 9 kept
    assert written.header.parents == {"patches": index.fingerprint, "scores": table.fingerprint}
    assert written.header.params == {
        "rule": "des",
        "ratio": 0.5,
        "offset": 0.1,
        "seed": None,
        "scores": "mse_x2",
        "num_patches": 17,
        "num_skipped": 2,
        "num_kept": 9,
    }
    assert found.score_range == (6.0, 14.0)
    assert found.loss_share == sum(range(6, 15)) / sum(range(17))


def test_the_full_set_keeps_everything(workspace: Workspace) -> None:
    put_scores(workspace, np.ones(NUM))
    found = select(workspace, rule="des", ratio=1)
    assert found.pixel_share == found.loss_share == 1 and found.image_shares.tolist() == [1, 1, 1]


def test_random_needs_no_scores_and_names_its_seed(workspace: Workspace) -> None:
    found = select(workspace, rule="random", ratio=0.5, seed=3)
    assert found.name == "random_r0.50__seed3" and len(found.coreset) == 9
    assert found.score_range is None and found.loss_share is None
    assert found.coreset.header.params["seed"] == 3
    assert list(found.coreset.header.parents) == ["patches"]


def test_scores_of_nothing_have_no_share(workspace: Workspace) -> None:
    put_scores(workspace, np.zeros(NUM))
    assert select(workspace, rule="asc", ratio=0.5).loss_share is None


def test_equal_choices_have_equal_fingerprints(workspace: Workspace) -> None:
    put_scores(workspace, np.arange(NUM, dtype=float))
    one, two = (select(workspace, rule="asc", ratio=0.5).coreset for _ in range(2))
    other = select(workspace, rule="asc", ratio=0.25).coreset
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_what_does_not_fit_is_refused_and_writes_nothing(workspace: Workspace) -> None:
    with pytest.raises(UnknownName, match=r"unknown rule 'desc'\. Did you mean: des"):
        select(workspace, rule="desc", ratio=0.5)
    with pytest.raises(MissingArtifact, match=r"no score table yet\. Run 'srprune score' first"):
        select(workspace, rule="des", ratio=0.5)
    with pytest.raises(
        MissingArtifact, match=r"'sobel'. Known: none. Run 'srprune score --method sobel' first"
    ):
        select(workspace, rule="des", ratio=0.5, scores="sobel")
    put_scores(workspace, np.ones(NUM))
    put_scores(workspace, np.ones(NUM), name="sobel")
    with pytest.raises(InputError, match=r"2 score tables: mse_x2, sobel\. Choose one: --scores"):
        select(workspace, rule="des", ratio=0.5)
    with pytest.raises(InputError, match="2 more than the 17 there are"):
        select(workspace, rule="des", ratio=1, offset=0.1, scores="sobel")
    assert not workspace.coreset("x").parent.exists()
    with pytest.raises(MissingArtifact, match="Run 'srprune extract IMAGES' first"):
        select(Workspace(workspace.root / "none"), rule="des", ratio=0.5)


def test_scores_of_another_index_are_refused(workspace: Workspace) -> None:
    put_scores(workspace, np.ones(NUM))
    other = PatchIndex(48, 48, IMAGES, *grid(SHAPES, 48, 48)).write(workspace.patches, made={})
    with pytest.raises(ArtifactMismatch, match=f"but {other.fingerprint} is at hand"):
        select(workspace, rule="des", ratio=0.5)


# --- settings, budgets, weights, groups ---


def test_settings_stand_in_name_and_header(workspace: Workspace) -> None:
    put_scores(workspace, np.arange(NUM, dtype=float))
    default = select(workspace, rule="ccs", ratio=0.5, offset=0.1)
    assert default.name == "ccs_r0.50_o0.10__mse_x2__seed0"
    assert default.coreset.header.params["settings"] == {"strata": 50}
    changed = select(workspace, rule="ccs", ratio=0.5, seed=2, settings={"strata": 3})
    assert changed.name == "ccs_r0.50_strata3__mse_x2__seed2"
    assert (changed.num_groups, default.num_groups) == (3, 15)
    shares = {"classes": 2, "cuts": "width", "shares": [1, 2.5]}
    found = select(workspace, rule="stratified", ratio=0.5, settings=shares)
    assert found.name == "stratified_r0.50_classes2_cuts-width_shares1-2.5__mse_x2__seed0"
    assert found.coreset.header.params["settings"] == shares
    groups = GroupTable.read(workspace.groups(found.name))
    assert groups.header.params == {
        "rule": "stratified", "offset": 0.0, "seed": 0, "settings": shares
    }  # fmt: skip
    assert groups.header.parents == found.coreset.header.parents


def test_des_writes_no_groups_weights_or_settings(workspace: Workspace) -> None:
    put_scores(workspace, np.arange(NUM, dtype=float))
    found = select(workspace, rule="des", ratio=0.5)
    assert not {"settings", "budget"} & set(found.coreset.header.params)
    assert found.num_groups == 0 and found.coreset.weights is None
    assert not (workspace.root / "groups").exists()


def test_a_budget_in_patches(workspace: Workspace) -> None:
    put_scores(workspace, np.arange(NUM, dtype=float))
    found = select(workspace, rule="des", budget="5", offset=0.1)
    assert found.name == "des_n5_o0.10__mse_x2"
    assert found.coreset.patch_ids.tolist() == [10, 11, 12, 13, 14]
    assert found.coreset.header.params["ratio"] == 5 / 17
    assert found.coreset.header.params["budget"] == "5"
    with pytest.raises(InputError, match=r"a budget of 16 and offset 0.1 need 18 patches, 1 more"):
        select(workspace, rule="des", budget="16", offset=0.1)


def test_a_budget_in_bytes_counts_overlaps_once(workspace: Workspace) -> None:
    put_scores(workspace, np.arange(NUM, dtype=float)[::-1].copy())
    # a patch has 6,912 bytes; the 6 of image a, of 60x84 px, overlap and have 15,120 together
    found = select(workspace, rule="des", budget="15120B")
    assert found.name == "des_15120B__mse_x2" and found.coreset.patch_ids.tolist() == list(range(6))
    assert len(select(workspace, rule="des", budget="15119B").coreset) == 5
    assert len(select(workspace, rule="des", budget="1TB", offset=0.1).coreset) == 15
    with pytest.raises(InputError, match="budget of 6,911 bytes holds no patch: one has 6,912"):
        select(workspace, rule="des", budget="6911B")


def test_ratio_or_budget_and_not_both(workspace: Workspace) -> None:
    put_scores(workspace, np.ones(NUM))
    for both in ({}, {"ratio": 0.5, "budget": "5"}):
        with pytest.raises(InputError, match="either a ratio or a budget"):
            select(workspace, rule="des", **both)


def test_what_a_rule_does_not_take_is_refused(workspace: Workspace) -> None:
    with pytest.raises(UnknownName, match="unknown des setting 'strata'"):
        select(workspace, rule="des", ratio=0.5, settings={"strata": 5})
    with pytest.raises(InputError, match=r"offset is 0.1, but rule hes takes none"):
        select(workspace, rule="hes", ratio=0.5, offset=0.1)
    with pytest.raises(MissingArtifact, match="Run 'srprune extract'"):  # no pixels here
        select(workspace, rule="hes", ratio=0.5)
    with pytest.raises(UnknownName, match=r"unknown feature 'gradiant'. Did you mean: gradient"):
        select(workspace, rule="hes", ratio=0.5, settings={"features": "gradiant"})
    assert not workspace.coreset("x").parent.exists()


def test_weights_are_written_and_told_apart(workspace: Workspace) -> None:
    index = PatchIndex.read(workspace.patches)
    FeatureTable.write(
        workspace.features("mine"),
        np.random.default_rng(0).random((NUM, 2)).astype(np.float32),
        ("a", "b"),
        parents={"patches": index.fingerprint},
        params={},
        made={},
    )
    asked = {"rule": "hes", "ratio": 0.5}
    settings = {"features": "mine", "classes": 3}
    found = select(workspace, **asked, settings=settings)
    assert found.name == "hes_r0.50_classes3_features-mine__seed0"
    written = CoreSet.read(workspace.coreset(found.name)).weights
    assert written is not None and len(set(written)) == 3 and written.mean() == pytest.approx(1)
    path = workspace.coreset(found.name)
    before = path.stat().st_mtime_ns
    select(workspace, **asked, settings=settings)
    assert path.stat().st_mtime_ns == before
    bare = CoreSet.read(path)
    CoreSet.write(
        path, bare.patch_ids, parents=bare.header.parents, params=bare.header.params, made={}
    )
    again = select(workspace, **asked, settings=settings).coreset.weights
    assert again is not None and np.array_equal(again, written)
