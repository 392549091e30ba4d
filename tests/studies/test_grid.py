"""From a study file to its cells: merging budgets, naming runs, finding faults."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from srprune.core.errors import ConfigError, InputError, MissingArtifact, UnknownName
from srprune.stages.job import lag_of
from srprune.stages.study_plan import steps_of
from srprune.studies.config import _merged, read_study
from srprune.studies.grid import cells_of
from srprune.studies.observation import expected

STUDIES = sorted((Path(__file__).parents[2] / "configs" / "studies").glob("*.yaml"))
STUDY = {
    "title": "A study",
    "images": "photos",
    "set": {"config": "fsrcnn_x2.yaml", "budget.steps": 100},
    "axes": {
        "core-set": {
            "full": {"pruning.ratio": 1, "pruning.offset": 0},
            "random50": {"pruning.rule": "random", "pruning.ratio": 0.5, "pruning.offset": 0},
            "des50": {"pruning.ratio": 0.5, "pruning.offset": 0},
        },
        "length": {"half": {"steps": 0.5}, "whole": {}},
    },
    "compare": "core-set",
    "seeds": [0, 7],
}


@pytest.fixture
def write(tmp_path):
    def to(changes=None, **more):
        path = tmp_path / "s.yaml"
        path.write_text(yaml.safe_dump(_merged({**STUDY, **more}, changes or {}), sort_keys=False))
        return path

    return to


def cells(path, *overrides, budget=None):
    return cells_of(read_study(path, budget, overrides))


def test_a_cell_is_a_level_of_each_axis_and_a_seed(write):
    made = cells(write())
    assert len(made) == 12
    assert [cell.seed for cell in made] == [0] * 6 + [7] * 6  # a stopped study has whole seeds
    assert made[0].levels == {"core-set": "full", "length": "half"}
    assert [cell.config.budget.steps for cell in made[:2]] == [50, 100]
    assert len({cell.name for cell in made}) == 12
    assert made[1].name.startswith("fsrcnn_x2__full__100steps__seed0__")
    assert {(cell.rule, cell.score) for cell in made} == {
        ("full", ""), ("random", ""), ("des", "mse"),
    }  # fmt: skip


def test_what_is_drawn_is_drawn_anew_for_every_seed(write):
    made = {cell.label: cell.config.pruning for cell in cells(write())}
    assert made["random50, whole, seed 7"].seed == 7
    assert made["des50, whole, seed 7"].seed == 0


def test_equal_runs_of_two_studies_have_one_name(write):
    """The full set is the full set, whichever rule a study leaves in its base file."""
    one = cells(write())[1]
    axes = {"a": {"x": {"pruning.rule": "asc", "pruning.ratio": 1, "pruning.offset": 0}}}
    other = cells(write(axes=axes, compare="a", title="Another", seeds=[0]))[0]
    assert one.name == other.name


@pytest.mark.parametrize(
    "key", ["validation.every", "checkpoints.keep", "data.residency", "validation.benchmark"]
)
def test_what_changes_no_weights_changes_no_name(write, key):
    values = {"data.residency": "disk", "validation.benchmark": "set5"}
    changed = cells(write({"set": {key: values.get(key, 3)}}))
    assert [cell.name for cell in changed] == [cell.name for cell in cells(write())]


@pytest.mark.parametrize(("key", "value"), [("batch", 8), ("optimizer.lr", 0.5), ("loss", "l1")])
def test_what_changes_the_weights_changes_every_name(write, key, value):
    changed = {cell.name for cell in cells(write({"set": {key: value}}))}
    assert not changed & {cell.name for cell in cells(write())}


def test_nested_and_dotted_keys_are_one(write):
    nested = cells(write({"set": {"budget.steps": None, "budget": {"steps": 100}}}))
    assert [cell.name for cell in nested] == [cell.name for cell in cells(write())]
    assert cells(write(), "set.budget.steps=40")[1].config.budget.steps == 40
    assert cells(write(), "axes.length.half.steps=0.1")[0].config.budget.steps == 10


def test_a_budget_is_merged_in_and_null_takes_out(write):
    budgets = {
        "smoke": {
            "seeds": [3],
            "set": {"budget.steps": 10},
            "axes": {"length": {"half": None}, "core-set": {"des50": None}},
        }
    }
    path = write(budgets=budgets)
    made = cells(path, budget="smoke")
    assert [cell.label for cell in made] == ["full, whole, seed 3", "random50, whole, seed 3"]
    assert made[0].config.budget.steps == 10
    assert len(cells(path)) == 12
    assert cells(path, "seeds=[1, 2]", budget="smoke")[2].seed == 2  # --set comes last
    with pytest.raises(UnknownName, match=r"unknown budget 'smok'. Did you mean: smoke"):
        cells(path, budget="smok")


@pytest.mark.parametrize("nested", [False, True])
def test_null_takes_out_what_it_names_and_no_more(write, nested):
    own = {"config": "fsrcnn_x2.yaml", "validation": {"benchmark": "set5", "every": 11}}
    des50 = {"pruning": {"rule": "des", "ratio": 0.5, "offset": 0.1}}
    taken = [("validation", "benchmark"), ("pruning", "offset")]
    of_set, of_level = (
        {group: {key: None}} if nested else {f"{group}.{key}": None} for group, key in taken
    )
    budget = {"set": of_set, "axes": {"core-set": {"des50": of_level}}}
    axes = {"core-set": {**STUDY["axes"]["core-set"], "des50": des50}}
    budgets = {"cpu": budget, "gpu": {"set": {"validation": None}}}
    path = write(set=own, axes=axes, budgets=budgets)
    assert cells(path)[0].config.validation.benchmark == "set5"
    made = {cell.label: cell.config for cell in cells(path, budget="cpu")}
    config = made["des50, seed 0"]
    assert (config.validation.benchmark, config.validation.every) == ("photos", 11)
    assert (config.pruning.rule, config.pruning.ratio) == ("des", 0.5)
    assert config.pruning.offset == 0.05  # of the base file
    config = cells(path, budget="gpu")[0].config
    assert (config.validation.benchmark, config.validation.every) == (
        "photos",
        5000,
    )  # of the base file


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (
            {"axes": {"core-set": {"des5O": None}}},
            r"core-set\.des5O is null, .*Did you mean: des50",
        ),
        ({"axes": {"lenght": {"half": None}}}, r"budgets\.cpu\.axes\.lenght\.half is null"),
        ({"axes": {"core-set": {"des50": {"batch": None}}}}, r"des50\.batch is null, which takes"),
        ({"set": {"init": {"weights": None}}}, r"set\.init\.weights is null, which takes a key"),
        ({"axes": {"core-set": {"full": None}}}, "takes out 'full', which all other levels are"),
    ],
)
def test_a_budget_takes_out_nothing_that_is_not_there_and_no_baseline(write, budget, words):
    with pytest.raises(ConfigError, match=words):
        read_study(write(budgets={"cpu": budget}), "cpu")


def test_a_budget_that_drops_a_level_drops_what_is_asked_of_it(write):
    asked = {"half": ["des50", "random50"], "all": ["random50", "full"]}
    budgets = {"smoke": {"axes": {"core-set": {"des50": None}}}}
    path = write(contrasts=asked, budgets=budgets)
    assert list(read_study(path).contrasts) == ["half", "all"]
    assert list(read_study(path, "smoke").contrasts) == ["all"]
    with pytest.raises(
        ConfigError, match=r"unknown level 'contrasts.half: des5'. Did you mean: des50"
    ):
        read_study(write(contrasts={"half": ["des5", "full"]}))
    with pytest.raises(ConfigError, match=r"contrasts.half compares des50 with itself"):
        read_study(write(contrasts={"half": ["des50", "des50"]}))


def test_steps_are_a_share_of_the_budget_rounded_half_up(write):
    path = write({"set": {"budget.steps": 15608}, "axes": {"length": {"half": {"steps": 0.25}}}})
    assert cells(path)[0].config.budget.steps == 3902  # as the paper prints it
    path = write({"set": {"budget.steps": 5}})
    assert cells(path)[0].config.budget.steps == 3


def test_a_level_may_have_fewer_seeds(write):
    made = cells(write({"axes": {"length": {"half": {"seeds": 1}}}}))
    assert [cell.seed for cell in made if cell.levels["length"] == "half"] == [0] * 3
    assert len(made) == 9
    with pytest.raises(ConfigError, match=r"axes.length.half.seeds is 0; it must be a number of"):
        cells(write({"axes": {"length": {"half": {"seeds": 0}}}}))


def test_steps_and_epochs_replace_each_other(write):
    axes = {**STUDY["axes"], "length": {"epochs": {"budget": {"epochs": 3}}, "whole": {}}}
    path = write(axes=axes, budgets={"cpu": {"set": {"budget": {"epochs": 7}}}})
    budgets = [cell.config.budget for cell in cells(path)[:2]]
    assert [(each.steps, each.epochs) for each in budgets] == [(None, 3), (100, None)]
    budgets = [cell.config.budget for cell in cells(path, budget="cpu")[:2]]
    assert [(each.steps, each.epochs) for each in budgets] == [(None, 3), (None, 7)]
    both = {**STUDY["set"], "budget.epochs": 3}
    with pytest.raises(ConfigError, match=r"budget: give either steps or epochs \(set\)"):
        cells(write(set=both))


def test_values_that_do_not_go_together_are_told_with_the_level_that_has_them(write):
    level = {"pruning.ratio": 0.9, "pruning.offset": 0.3}
    with pytest.raises(ConfigError) as error:
        cells(write({"axes": {"core-set": {"des50": level}}}))
    (fault,) = error.value.faults
    assert "ratio 0.9 and offset 0.3 add up to 1.2" in fault
    assert fault.endswith("(axes.core-set.des50).")


@pytest.mark.parametrize("share", [0, -1, "half", True])
def test_a_share_of_the_steps_is_above_0(write, share):
    with pytest.raises(ConfigError, match=r"steps is .* must be a share of the budget, above 0"):
        cells(write({"axes": {"length": {"half": {"steps": share}}}}))


def test_cells_that_are_the_same_run_collide(write):
    with pytest.raises(InputError) as error:
        cells(write({"axes": {"length": {"half": {"steps": 1}}}}))
    assert str(error.value).startswith(
        "the cells 'full, half, seed 0' and 'full, whole, seed 0' are the same run"
    )


def test_every_level_that_names_no_key_is_told_with_its_place(write):
    change = {"axes": {"length": {"half": {"pruning.ration": 0.5}, "whole": {"bacth": 3}}}}
    with pytest.raises(ConfigError) as error:
        cells(write(change))
    first, second = error.value.faults
    assert "unknown key 'pruning.ration'. Did you mean: ratio?" in first
    assert first.endswith("(axes.length.half).")
    assert "unknown key 'bacth'. Did you mean: batch?" in second
    assert second.endswith("(axes.length.whole).")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axes": {"length": {"whole": {"pruning.rule": "x"}}}}, "(the cell full, whole)"),
        ({"seeds": [0, 1, 0]}, "seed 0 stands twice in seeds"),
        ({"compare": "coreset"}, "unknown axis 'compare: coreset'. Did you mean: core-set?"),
        ({"axes": {"core-set": {"des50": {"pruning.score": "sobl"}}}}, "Did you mean: sobel?"),
        ({"axes": {"core-set": {"des50": {"pruning.rule": "dess"}}}}, "Did you mean: des?"),
        ({"axes": {"core-set": {"des50": {"pruning.score": "l1"}}}}, "say which in scores"),
        ({"scores": {"mse": {"method": "mse", "scorers": ["srcn"]}}}, "Did you mean: srcnn?"),
        ({"scores": {"l1": {"method": "mse"}}}, "called like a method but is mse"),
        ({"scores": {"own": {"method": "msee"}}}, "Did you mean: mse?"),
        ({"set": {"config": None}}, "no axis and not 'set' names the base file"),
        ({"titel": "x"}, "unknown key 'titel'. Did you mean: title?"),
        ({"set": {**STUDY["set"], "seeds": 2}}, "seeds stands in 'set'"),
        ({"set": {**STUDY["set"], "seed": 2}}, "set.seed would be the seed of every run; give the"),
        ({"axes": {"length": {"half": {"seed": 2}}}}, "axes.length.half.seed would be the seed of"),
        ({"set": {**STUDY["set"], "model": "fsrnn"}}, "Did you mean: fsrcnn"),
        ({"axes": {"core-set": {"des50": {"pruning.args": {"no": 1}}}}}, "unknown des setting"),
        ({"axes": {"core-set": {"full": {"steps": float("inf")}}}}, "share of the budget, above 0"),
        ({"axes": {"core-set": {"full": {"seeds": 9}}}}, "1 to the 2 of 'seeds'"),
    ],
)  # fmt: skip
def test_a_faulty_study_is_told_in_a_line(write, change, words):
    with pytest.raises((ConfigError, UnknownName, InputError, MissingArtifact)) as error:
        cells(write(change))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("budget", "place"),
    [
        ({"axes": [1]}, "axes"),
        ({"axes": {"core-set": 3}}, "axes.core-set"),
        ({"contrasts": ["a", "b"]}, "contrasts"),
    ],
)
def test_a_budget_of_another_form_is_told_in_a_line(write, budget, place):
    path = write(contrasts={"asked": ["des50", "full"]}, budgets={"cpu": budget})
    with pytest.raises(ConfigError, match=place):
        read_study(path, "cpu")


def test_an_axis_without_a_level_is_a_fault(write):
    with pytest.raises(ConfigError, match=r"axes\.empty has no level"):
        cells(write(axes={**STUDY["axes"], "empty": {}}))


def control(cell):
    """What a row has in common with the random core-set beside it."""
    pruning = cell.config.pruning
    recipe = expected(cell).recipe
    return recipe, pruning.ratio, pruning.step_matching, cell.config.budget.steps


@pytest.mark.parametrize("file", STUDIES, ids=lambda path: path.stem)
@pytest.mark.parametrize("budget", [None, "smoke", "cpu", "gpu", "paper"])
def test_the_studies_that_come_along_hold_with_every_budget(file, budget):
    study = read_study(file, budget)
    made = cells_of(study)
    first = next(iter(study.axes[study.compare]))
    assert {cell.rule for cell in made if cell.levels[study.compare] == first} == {"full"}
    random = {control(cell) for cell in made if cell.rule == "random"}
    for cell in made:  # the control, where anything is cut
        assert cell.rule == "full" or control(cell) in random, cell.label
        # another benchmark, if missing, would be found out when the first cell is to be trained
        there = ("photos", *study.evaluate.benchmarks)
        assert cell.config.validation.benchmark in there, cell.label
        assert not lag_of(cell.config, steps_of(cell, 32_592)), cell.label
    if budget == "smoke":
        assert study.images == "photos"
        assert sum({cell.name: cell.config.budget.steps or 0 for cell in made}.values()) < 1000
    else:
        assert study.images == "div2k"


Values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


def slow_merge(target, patch):
    """The pseudo-code of RFC 7386, section 2, word for word."""
    if isinstance(patch, dict):
        if not isinstance(target, dict):
            target = {}
        for name, value in patch.items():
            if value is None:
                if name in target:
                    del target[name]
            else:
                target[name] = slow_merge(target.get(name), value)
        return target
    return patch


@given(Values, Values)
def test_merging_is_that_of_the_rfc(there, change):
    import copy

    before = copy.deepcopy(there)
    assert _merged(there, change) == slow_merge(copy.deepcopy(there), change)
    assert there == before


def test_runs_from_other_weights_are_other_runs(write):
    start = {"fresh": {}, "x4": {"init.weights": "x4.pth", "init.strict": False}}
    start["others"] = {**start["x4"], "init.weights": "others.pth"}
    start["taken as they are"] = {"init.strict": False}
    axes = {"core-set": {"full": {"pruning.ratio": 1, "pruning.offset": 0}}, "start": start}
    made = cells(write(axes=axes, set={"config": "fsrcnn_x2.yaml"}, seeds=[0]))
    assert len({cell.name for cell in made}) == 4


def test_levels_that_say_how_a_run_is_measured_share_it(write):
    axes = {
        "core-set": {"full": {"pruning.ratio": 1, "pruning.offset": 0}},
        "inference": {
            "whole": {},
            "66%": {"flops_budget": 0.66},
            "ARM": {"flops_budget": 0.66, "router": "edge_psnr"},
        },
    }
    path = write(axes=axes, set={"config": "wbsr_msrresnet_x2.yaml"}, seeds=[0])
    made = cells(path)
    assert len({cell.name for cell in made}) == 1
    assert [cell.dynamic and cell.dynamic.label for cell in made] == [
        None,
        "_gradient0.66",
        "_edge_psnr0.66",
    ]


@pytest.mark.parametrize("file", ["wbsr.yaml", "wbsr_dynamic.yaml"])
def test_wbsr_is_measured_on_the_benchmarks_of_its_paper(file):
    (path,) = [path for path in STUDIES if path.name == file]
    for budget in (None, "gpu", "paper"):
        assert {"bsd100", "urban100"} <= set(read_study(path, budget).evaluate.benchmarks)
    assert read_study(path, "cpu").evaluate.benchmarks == ("set5", "set14", "bsd100")


def test_two_levels_that_measure_alike_collide(write):
    level = {"flops_budget": 0.5}
    axes = {"core-set": {"full": {"pruning.ratio": 1, **level}, "again": {**level}}}
    with pytest.raises(InputError, match="are the same run"):
        cells(write(axes=axes, set={"config": "wbsr_msrresnet_x2.yaml"}))


@pytest.mark.parametrize(
    ("network", "level", "words"),
    [
        ("fsrcnn_x2.yaml", {"flops_budget": 0.5}, "flops_budget is for supernets, and fsrcnn is"),
        ("wbsr_msrresnet_x2.yaml", {"flops_budget": 2}, "flops_budget is 2"),
    ],
)
def test_how_a_run_is_measured_must_fit_it(write, network, level, words):
    axes = {"core-set": {"full": {"pruning.ratio": 1, "pruning.offset": 0, **level}}}
    with pytest.raises(ConfigError, match=words) as caught:
        cells(write(axes=axes, set={"config": network}))
    assert "axes.core-set.full" in str(caught.value)
