"""advise: held-out images, runs that are found again, and an answer that follows from them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from srprune.core.artifact import digest  # noqa: E402
from srprune.core.config import BudgetConfig, TrainConfig  # noqa: E402
from srprune.core.errors import (  # noqa: E402
    ArtifactError,
    ArtifactMismatch,
    InputError,
    MissingArtifact,
    Stopped,
)
from srprune.core.patches import ImageRecord, PatchIndex  # noqa: E402
from srprune.core.scores import ScoreTable  # noqa: E402
from srprune.core.weights import read_weights_header  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.evaluation.protocol import measure_rgb8  # noqa: E402
from srprune.models.restorer import BicubicRestorer  # noqa: E402
from srprune.stages.advice import Call, Measured, Rung, advice_of  # noqa: E402
from srprune.stages.advice_text import advice_markdown, advice_text  # noqa: E402
from srprune.stages.advise import advise  # noqa: E402
from srprune.stages.advise_plan import Search, Space, plan_search  # noqa: E402
from srprune.stages.held_out import LEAST, SHARE, measure, split  # noqa: E402
from srprune.stages.pool import open_pool  # noqa: E402
from srprune.studies.halving import FULL, Candidate  # noqa: E402

CPU = torch.device("cpu")
SMALL = Space(ratios=(0.25, 0.5), offsets=(0.0,), scores=("laplacian",), shares=(0.5,), num_seeds=2)


def config(**changes: Any) -> TrainConfig:
    values = {"model": "fsrcnn", "model_args": {"channels": "y"}, "budget": {"steps": 999}}
    return TrainConfig(**{**values, "batch": 2, "lr_crop": 12, "loss": "mse", **changes})


def plan(workspace: Workspace, space: Space = SMALL, steps: int = 8, **changes: Any) -> Search:
    return plan_search(config(**changes), workspace, steps=steps, stem="fsrcnn_x2", space=space)


def run(search: Search, **more: Any) -> dict[str, Any]:
    call = Call("fsrcnn_x2.yaml", ("batch=2",), search.workspace.root)
    return advise(search, call=call, device="cpu", **more)


@pytest.fixture
def workspace(prepared: Path) -> Workspace:
    return Workspace(prepared)


@pytest.fixture(scope="module")
def advised(
    prepared_once: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, dict[str, Any], list[str]]:
    """A finished search; do not write into it."""
    root = tmp_path_factory.mktemp("advised") / "workspace"
    shutil.copytree(prepared_once / "workspace", root)
    said: list[str] = []
    facts = run(plan(Workspace(root)), tell=said.append)
    return Workspace(root), facts, said


# --- held-out images ------------------------------------------------------------------------------


def index_of(counts: list[int], contents: list[int] | None = None) -> PatchIndex:
    """An index of images with so many patches each."""
    names = contents or list(range(len(counts)))
    images = tuple(ImageRecord(f"{i:03}.png", 48, 48, f"{c:032}") for i, c in enumerate(names))
    image_N = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    zeros = np.zeros(len(image_N), dtype=np.int32)
    return PatchIndex(48, 24, images, image_N, zeros, zeros)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 30)), min_size=3, max_size=50),
    st.integers(0, 50),
)
def test_held_out_and_trained_on_share_no_image_and_no_content(
    drawn: list[tuple[int, int]], seed: int
) -> None:
    counts, contents = [count for count, _ in drawn], [content for _, content in drawn]
    index = index_of(counts, contents)
    if len(set(contents)) <= LEAST:
        with pytest.raises(InputError, match=r"different images?|one image"):
            split(index, seed)
        return
    held = split(index, seed)
    kept = {contents[i] for i in index.image_N[held.train_ids]}
    assert kept
    assert not kept & {contents[i] for i in held.images}
    assert len({contents[i] for i in held.images}) == len(held.images) >= LEAST
    assert held.num_held + len(held.train_ids) == len(index)
    assert held.num_held <= SHARE * len(index) or len(held.images) == LEAST
    for image, ids in held.measured.items():
        assert set(index.image_N[ids]) == {image}
        assert len(set(ids.tolist())) == len(ids)
    again = split(index, seed)
    assert (again.images, again.train_ids.tolist()) == (held.images, held.train_ids.tolist())


def test_about_a_tenth_of_many_images_is_held_out_and_the_seed_chooses() -> None:
    index = index_of([30 + i % 25 for i in range(200)])
    assert all(0.09 < split(index, seed).num_held / len(index) <= 0.1 for seed in range(5))
    assert len({split(index, seed).images for seed in range(5)}) == 5


def test_two_images_that_are_most_of_the_pool_are_not_held_out() -> None:
    for seed in range(10):
        assert split(index_of([100, 100, 100, 5, 6]), seed).images in {(3, 4)} | {
            pair for pair in [(0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4)]
        }
        assert split(index_of([100, 5, 6]), seed).num_held == 11


@pytest.mark.parametrize(("counts", "said"), [([9], "one image"), ([9, 9], "2 different images")])
def test_too_few_images_are_refused(counts: list[int], said: str) -> None:
    with pytest.raises(InputError, match=f"the pool has {said}; advise holds out 2"):
        split(index_of(counts), 0)


def test_the_figure_of_an_image_is_that_of_its_pooled_error(workspace: Workspace) -> None:
    search = plan(workspace)
    pool = open_pool(workspace, 2)
    bicubic = BicubicRestorer(2)
    figures = measure(bicubic, pool, search.held, CPU)
    assert list(figures) == list(search.measured)
    for image, ids in search.measured.items():
        each = [measure_rgb8(bicubic, hr, CPU).psnr_y for hr in pool.hr_patches(np.array(ids))]
        mse = np.mean([10 ** (-psnr / 10) for psnr in each])
        assert figures[image] == pytest.approx(-10 * np.log10(mse))
        assert min(each) < figures[image] < max(each)


# --- the search -----------------------------------------------------------------------------------


def test_every_rung_has_the_full_set_and_the_last_one_its_seeds(advised: Any) -> None:
    _, facts, said = advised
    first, last = facts["rungs"]
    assert [each["core_set"] for each in first["core_sets"]] == [
        "full",
        "random_r0.25",
        "des_r0.25__laplacian",
        "random_r0.50",
        "des_r0.50__laplacian",
    ]
    assert (first["steps"], first["seeds"]) == (4, [0])
    assert (last["steps"], last["seeds"]) == (8, [1, 2])
    (best,) = [each["core_set"] for each in first["core_sets"] if each["goes_on"]]
    figures = {each["core_set"]: each["psnr_y"] for each in first["core_sets"]}
    assert figures.pop("full")
    assert figures[best] == max(figures.values())
    ratio = best.split("_")[1]
    assert {each["core_set"] for each in last["core_sets"]} == {"full", best, f"random_{ratio}"}
    assert facts["cost"]["runs"] == len(first["runs"]) + len(last["runs"])
    assert facts["cost"]["steps"] == 4 * 5 + 8 * len(last["runs"])
    assert any("rung of 4 steps: 5 runs, 1 core-set goes on" in line for line in said)
    assert facts["bicubic"] > 10


def test_more_seeds_go_on_from_what_is_there(advised: Any, tmp_path: Path) -> None:
    workspace, _, _ = advised
    shutil.copytree(workspace.root, tmp_path / "workspace")
    grown = Workspace(tmp_path / "workspace")

    def weights() -> dict[str, int]:
        runs = plan(grown).folder / "runs"
        return {
            run.name: (run / "weights.safetensors").stat().st_mtime_ns for run in runs.iterdir()
        }

    before = weights()
    more = run(plan(grown, replace(SMALL, num_seeds=3)))
    assert more["rungs"][1]["seeds"] == [1, 2, 3]
    new = weights()
    assert before.items() < new.items()
    assert {name.split("__")[-1] for name in new.keys() - before.keys()} == {"seed3"}
    with pytest.raises(ArtifactMismatch, match="another search"):
        run(plan(grown))  # fewer than are there


def test_no_run_sees_a_held_out_patch_or_a_benchmark(advised: Any) -> None:
    workspace, _, _ = advised
    search = plan(workspace)
    pool = open_pool(workspace, 2)
    scores = ScoreTable.read(workspace.scores("laplacian")).scores_N
    rest = search.held.train_ids
    hardest = rest[np.sort(np.argsort(-scores[rest], kind="stable")[: round(len(rest) / 4)])]
    folder = search.folder / "runs" / "des_r0.25__laplacian__4__seed0"
    header = read_weights_header(folder / "weights.safetensors")
    assert header.params["num_patches"] == len(hardest)
    assert header.parents["coreset"] == digest(hardest.astype("<i8").data)
    full = read_weights_header(search.folder / "runs" / "full__4__seed0" / "weights.safetensors")
    assert full.params["num_patches"] == len(rest) < len(pool)
    for path in (search.folder / "runs").iterdir():
        assert not (path / "validation.csv").exists()
        assert "benchmark: null" in (path / "config.yaml").read_text()


def test_the_answer_is_on_file_with_what_made_it(advised: Any) -> None:
    workspace, facts, _ = advised
    search = plan(workspace)
    written = json.loads(search.path.read_text())
    assert written == facts
    header = written["header"]
    assert header["kind"] == "Advice"
    assert header["parents"]["patches"] == search.index.fingerprint
    assert header["params"]["steps"] == 8
    assert header["params"]["held_out"] == search.measured
    assert header["made"]["run_seconds"] > 0
    page = search.path.with_suffix(".md").read_text()
    assert page == advice_markdown(facts)
    assert facts["sentence"] in page
    for each in facts["rungs"][0]["core_sets"]:  # what was dropped is part of the evidence
        assert f"| {each['core_set']} |" in page
    assert facts["sentence"] in advice_text(facts)


def test_a_second_call_returns_the_advice_and_runs_nothing(advised: Any) -> None:
    workspace, facts, _ = advised
    said: list[str] = []
    before = {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*.*")}
    assert run(plan(workspace), tell=said.append) == facts
    assert said == []
    assert {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*.*")} == before


def test_a_search_that_was_stopped_goes_on_to_the_same_answer(
    advised: Any, workspace: Workspace
) -> None:
    _, facts, said = advised
    runs = plan(workspace).folder / "runs"

    def stopping() -> bool:
        return len(list(runs.glob("*/weights.safetensors"))) > 1

    with pytest.raises(Stopped, match="Give the same command again"):
        run(plan(workspace), stopping=stopping)
    done = {path.parent: path.stat().st_mtime_ns for path in runs.glob("*/weights.safetensors")}
    assert 0 < len(done) < facts["cost"]["runs"]
    again: list[str] = []
    resumed = run(plan(workspace), tell=again.append)
    assert {path: (path / "weights.safetensors").stat().st_mtime_ns for path in done} == done
    assert resumed["header"]["fingerprint"] == facts["header"]["fingerprint"]
    differs = ("header", "commands")  # seconds, and the folder of the workspace
    assert {k: v for k, v in resumed.items() if k not in differs} == {
        k: v for k, v in facts.items() if k not in differs
    }
    assert [line for line in again if "rung" not in line] == [
        line for line in said if "rung" not in line
    ]


def test_another_search_of_the_name_is_refused_and_replaced_on_demand(
    workspace: Workspace,
) -> None:
    tiny = Space(ratios=(0.5,), offsets=(0.0,), scores=("laplacian",), shares=(0.5,), num_seeds=2)
    run(plan(workspace, tiny, steps=2))
    other = plan(workspace, tiny, steps=2, batch=3)
    with pytest.raises(ArtifactMismatch, match=r"config\.batch 2 there, 3 asked for"):
        run(other)
    assert run(other, restart=True)["header"]["params"]["config"]["batch"] == 3
    other.path.write_text(other.path.read_text().replace('"margin_db": 0.05', '"margin_db": 0.5'))
    with pytest.raises(ArtifactError, match="changed after it was made"):
        run(other)
    other.path.write_text("{")
    with pytest.raises(ArtifactError, match="not a readable advice"):
        run(other)


def test_runs_that_diverge_are_told_and_the_full_set_must_not(workspace: Workspace) -> None:
    wild = plan(workspace, optimizer={"name": "sgd", "lr": 1e30})
    with pytest.raises(InputError, match="every core-set diverged within 4 steps"):
        run(wild)
    record = json.loads((wild.folder / "runs" / "full__4__seed0" / "held_out.json").read_text())
    assert "Lower optimizer.lr" in record["diverged"]
    assert record["images"] == {}


# --- bad input ------------------------------------------------------------------------------------


def test_what_cannot_be_searched_is_refused_before_anything_is_written(
    workspace: Workspace,
) -> None:
    before = sorted(workspace.root.rglob("*"))
    with pytest.raises(InputError, match=r"batch is 40, but ratio 0.25 of the \d+ patches"):
        plan(workspace, batch=40)
    with pytest.raises(MissingArtifact, match=r"no score table 'ssim_x2'.* --method ssim"):
        plan(workspace, Space(scores=("ssim",)))
    with pytest.raises(InputError, match="hes, which draws patches by weight"):
        plan(workspace, Space(rules=("hes",)))
    with pytest.raises(InputError, match="diverse, which needs features"):
        plan(workspace, Space(rules=("diverse",)))
    with pytest.raises(InputError, match=r"sampling is hes; advise .*--set sampling=null"):
        plan(workspace, sampling={"name": "hes"})
    with pytest.raises(MissingArtifact, match="no weights 'nowhere' to start from"):
        plan(workspace, init={"weights": "nowhere"})
    with pytest.raises(MissingArtifact, match="srprune extract"):
        plan(Workspace(workspace.root / "empty"))
    assert sorted(workspace.root.rglob("*")) == before


def test_scores_are_those_at_hand_and_the_cheap_ones(workspace: Workspace) -> None:
    assert plan(workspace, Space(ratios=(0.5,))).methods == {
        "mse_x2": "mse",
        "laplacian": "laplacian",
    }
    workspace.scores("mse_x2").unlink()
    search = plan(workspace, Space(ratios=(0.5,)))
    assert search.methods == {"laplacian": "laplacian"}
    assert "there are no mse scores at x2" in search.notes[0]
    assert not workspace.scores("laplacian").exists()


def test_pruning_and_budget_of_the_config_are_searched_not_used(workspace: Workspace) -> None:
    pruned = plan(workspace, pruning={"rule": "asc", "ratio": 0.3}, budget={"epochs": 7})
    plain = plan(workspace)
    assert pruned.params == plain.params
    assert any("the pruning of the config is not used" in note for note in pruned.notes)
    assert not plain.notes
    assert plain.config.budget == BudgetConfig(steps=999)


def test_a_moving_average_that_short_rungs_are_too_few_for_is_told(workspace: Workspace) -> None:
    (note,) = plan(workspace, ema=0.99).notes
    assert note.startswith("in the shortest rung the weights that training begins with still make ")
    assert not plan(workspace, ema=0.1).notes


# --- the answer -----------------------------------------------------------------------------------

DES, RANDOM = Candidate("des", 0.25, 0.05, "mse_x2"), Candidate("random", 0.25)


def answer(
    gains: dict[Candidate, tuple[float | None, ...]],
    short: tuple[float, ...] = (0.5, 0.3),
    bicubic: float = 29.0,
) -> dict[str, Any]:
    """The advice of a search in which ``gains`` are those of the last rung over the full set."""

    def measured(each: Candidate, steps: int, seed: int, psnr: float | None) -> Measured:
        images = {} if psnr is None else {"a.png": psnr + 1, "b.png": psnr - 1}
        size = round(1000 * each.ratio)
        return Measured(
            each, steps, seed, size, 30 * size, images, "" if images else "the loss is nan.", 1.0
        )

    rungs = [
        Rung(steps, (measured(FULL, steps, 0, 30.0), measured(DES, steps, 0, 30 + gain)), (DES,))
        for steps, gain in zip((25, 50), short, strict=True)
    ]
    last = [
        measured(each, 100, seed, None if gain is None else 31.0 + gain)
        for each, of_seeds in {FULL: (0.0, 0.0, 0.0), **gains}.items()
        for seed, gain in enumerate(of_seeds, start=1)
    ]
    facts = advice_of(
        [*rungs, Rung(100, tuple(last), ())],
        bicubic=bicubic,
        margin_db=0.05,
        methods={"mse_x2": "mse"},
        num_patches=1200,
        call=Call("my net.yaml", ("batch=4",), Path("ws")),
        notes=["as planned."],
    )
    json.dumps(facts, allow_nan=False)
    assert advice_text(facts)
    assert advice_markdown(facts)
    return facts


def test_a_better_core_set_is_advised_with_its_commands() -> None:
    facts = answer({DES: (0.10, 0.11, 0.12), RANDOM: (0.0, 0.01, 0.0)})
    assert facts["train_on"] == "des_r0.25_o0.05__mse_x2"
    assert "better than the full set at 100 steps, by +0.110 dB, 95%" in facts["sentence"]
    assert facts["pruning"] == {"rule": "des", "ratio": 0.25, "offset": 0.05, "score": "mse"}
    assert facts["commands"] == [
        "srprune select --rule des --ratio 0.25 --offset 0.05 --scores mse_x2 --workspace ws",
        "srprune train --config 'my net.yaml' --set batch=4 --set 'budget={steps: 100}' "
        "--set 'pruning={rule: des, ratio: 0.25, offset: 0.05, score: mse}' --workspace ws",
    ]
    assert facts["saves"]["num_patches"] == 300
    assert facts["saves"]["byte_share"] == 0.25
    assert facts["compared"][0]["images_ahead"] == [2, 2]
    assert facts["over_control"]["mean"] == pytest.approx(0.1067, abs=1e-4)
    assert not any("not shown to be better than a random" in note for note in facts["notes"])
    assert facts["notes"][0] == "as planned."


def test_an_equivalent_one_is_told_to_save_storage_and_no_more() -> None:
    facts = answer({DES: (0.0, 0.01, 0.0), RANDOM: (-0.01, 0.0, -0.01)})
    assert facts["train_on"] == DES.name
    assert "to store less" in facts["sentence"]
    assert "not shown to be better than the full set, and is at most 0.05 dB" in facts["sentence"]
    assert "It keeps 300 of 1,200 patches" in advice_text(facts)


def test_random_is_advised_where_the_rule_gains_nothing() -> None:
    facts = answer({DES: (-0.2, -0.21, -0.2), RANDOM: (0.0, 0.01, 0.0)})
    assert facts["train_on"] == "random_r0.25"
    assert facts["commands"][0] == "srprune select --rule random --ratio 0.25 --workspace ws"
    assert facts["pruning"] == {"rule": "random", "ratio": 0.25, "offset": 0.0}
    assert any("not shown to be better than a random core-set" in n for n in facts["notes"])


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((-0.10, -0.11, -0.12), "it is worse"),
        ((0.30, 0.00, -0.30), "more --seeds may decide"),
        ((0.30, None, 0.31), "diverged in 1 of its runs"),
        ((None, None, None), "diverged in 3 of its runs"),
    ],
)
def test_train_on_all_of_it(gains: tuple[float | None, ...], said: str) -> None:
    facts = answer({DES: gains, RANDOM: (-0.1, -0.11, -0.1)})
    assert facts["train_on"] == "full"
    assert facts["sentence"].startswith("Train on all of it: no core-set was shown to be as good")
    assert said in facts["sentence"]
    assert facts["pruning"] == {"ratio": 1.0, "offset": 0.0}
    (train,) = facts["commands"]
    assert "--set 'pruning={ratio: 1.0, offset: 0.0}'" in train
    assert any("diverged; it is in no mean" in n for n in facts["notes"]) == (None in gains)


def test_a_lead_that_fades_and_places_that_change_are_told() -> None:
    facts = answer({DES: (0.10, 0.11, 0.12), RANDOM: (0.0, 0.0, 0.0)})
    assert any("falls from rung to rung (+0.500, +0.300, +0.110 dB)" in n for n in facts["notes"])
    facts = answer({DES: (-0.1, -0.11, -0.1), RANDOM: (0.0, 0.0, 0.0)})
    assert "1 of 1 pairs changed places between 50 and 100 steps." in facts["notes"]
    assert facts["rungs"][-1]["flips"] == [["full", DES.name]]
    facts = answer({DES: (0.4, 0.41, 0.4), RANDOM: (0.0, 0.0, 0.0)}, short=(0.1, 0.2))
    assert not any("lead" in note or "changed places" in note for note in facts["notes"])


def test_networks_below_bicubic_have_not_learned_yet() -> None:
    gains = {DES: (0.10, 0.11, 0.12), RANDOM: (0.0, 0.01, 0.0)}
    told = [any("below bicubic" in n for n in answer(gains, bicubic=b)["notes"]) for b in (29, 33)]
    assert told == [False, True]
