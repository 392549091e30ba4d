"""The gradient router: vectors, classes, the published choice, the budget, and its file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from srprune.core.errors import ArtifactError, InputError  # noqa: E402
from srprune.images.descriptors import gradient  # noqa: E402
from srprune.selection.hes import lengths  # noqa: E402
from srprune.wbsr import gradient_router  # noqa: E402
from srprune.wbsr.gradient_router import GradientRouter, gradient_vectors  # noqa: E402
from srprune.wbsr.router import within_budget  # noqa: E402

FEW = settings(deadline=None, max_examples=40)
FLOPS = np.array([10, 20, 30, 40, 50, 60, 70, 80, 100])
efforts = st.floats(1e-3, 1e3)
tile_lengths = st.lists(st.floats(0, 12), min_size=1, max_size=30).map(np.array)
seeds = st.integers(0, 9)


def tiles_of(rgb: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb).permute(0, 3, 1, 2) / 255


def noise(num: int, side: int, *, grey: bool = False, seed: int = 0) -> np.ndarray:
    """(num, side, side, 3) uint8, from flat to busy."""
    rng = np.random.default_rng(seed)
    planes = rng.normal(128, 1, (num, side, side, 1 if grey else 3))
    spread = np.linspace(0, 40, num)[:, None, None, None]
    values = 128 + (planes - 128) * spread
    return np.broadcast_to(values.clip(0, 255), (num, side, side, 3)).astype(np.uint8)


def described(rgb_NHWC: np.ndarray) -> np.ndarray:
    corner, side = np.zeros(1, dtype=np.int64), rgb_NHWC.shape[1]
    return np.concatenate([gradient.compute(rgb, corner, corner, side) for rgb in rgb_NHWC])


def router(classes: int = 10, num: int = 500, seed: int = 0) -> GradientRouter:
    values = np.random.default_rng(seed).gamma(2, 5, (num, 4))
    return GradientRouter.fit(values, classes)


@pytest.mark.parametrize("side", [2, 7, 32])
def test_vectors_of_grey_pixels_are_the_descriptor(side: int) -> None:
    rgb = noise(6, side, grey=True)
    vectors = gradient_vectors(tiles_of(rgb))
    np.testing.assert_allclose(vectors, described(rgb), rtol=1e-6)
    assert (vectors[0] == 0).all()


def test_vectors_of_colours_are_the_descriptor_but_for_ties_of_rounding() -> None:
    rgb = noise(20, 24)
    np.testing.assert_allclose(gradient_vectors(tiles_of(rgb)), described(rgb), atol=0.01)


def test_vectors_know_across_from_down_and_take_any_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = torch.arange(8.0).mul(10 / 255).expand(2, 3, 5, 8)
    assert gradient_vectors(ramp).tolist() == [[10, 0, 0, 0]] * 2
    assert gradient_vectors(ramp.transpose(2, 3)).tolist() == [[0, 0, 10, 0]] * 2
    assert gradient_vectors(ramp[:, :, :1, :1]).tolist() == [[0, 0, 0, 0]] * 2
    busy = tiles_of(noise(5, 12))
    whole = gradient_vectors(busy)
    monkeypatch.setattr(gradient_router, "PIXELS", 300)  # two tiles at a time
    assert np.array_equal(gradient_vectors(busy), whole)


def test_lengths_and_classes_of_the_training_tiles() -> None:
    values = np.random.default_rng(1).gamma(2, 5, (1000, 4)).astype(np.float32)
    fitted = GradientRouter.fit(values, 10)
    assert fitted.num_classes == 10
    demand = lengths(values)
    classes = fitted.classes(demand)
    assert np.bincount(classes).tolist() == [0] + [100] * 10
    assert classes[demand.argmax()] == 10
    assert classes[demand.argmin()] == 1
    # (t_{k-1}, t_k]: the threshold itself is of the lower class
    assert fitted.classes(np.array([fitted.thresholds[3]]))[0] == 4


def test_demand_is_the_length_by_the_spread_of_the_training_tiles() -> None:
    fitted = GradientRouter(thresholds=(1.0,), spread=(5.0, 1.0, 2.0, 0.0), num_tiles=9)
    ramp = torch.arange(8.0).mul(10 / 255).expand(1, 3, 8, 8)
    assert fitted.demand(ramp).tolist() == [2.0]
    assert fitted.demand(ramp.transpose(2, 3)).tolist() == [5.0]


@pytest.mark.parametrize(("classes", "subnets"), [(10, 9), (5, 9), (9, 9), (10, 3), (1, 4)])
def test_the_published_choice_is_the_ceiling(classes: int, subnets: int) -> None:
    fitted = GradientRouter(tuple(np.arange(1.0, classes)), (1.0, 1.0, 1.0, 1.0), 99)
    demand = np.arange(classes) + 0.5  # one tile a class
    expected = [math.ceil(k * subnets / classes) - 1 for k in range(1, classes + 1)]
    assert fitted.choose(demand, FLOPS[:subnets], None).tolist() == expected


@FEW
@given(tile_lengths, efforts, efforts, seeds)
def test_more_effort_and_harder_tiles_get_no_less(
    demand: np.ndarray, a: float, b: float, seed: int
) -> None:
    fitted = router(seed=seed)
    low, high = (fitted.choose(demand, FLOPS, effort) for effort in sorted((a, b)))
    assert (low <= high).all()
    order = np.argsort(demand)
    assert (np.diff(low[order]) >= 0).all()
    assert (fitted.choose(demand, FLOPS, 1e-18) == 0).all()
    assert (fitted.choose(demand, FLOPS, math.inf) == 8).all()


def test_effort_asks_for_a_share_of_the_dearest() -> None:
    fitted = GradientRouter(tuple(np.arange(1.0, 10)), (1.0, 1.0, 1.0, 1.0), 99)
    demand = np.arange(10) + 0.5
    # class k asks for 10 k; of 90 and 100 the dearest within are 80 and 100
    assert fitted.choose(demand, FLOPS, 1.0).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 7, 8]


@FEW
@given(tile_lengths, st.floats(0.1, 1), seeds)
def test_the_budget_is_met_by_the_highest_effort(
    demand: np.ndarray, budget: float, seed: int
) -> None:
    fitted = router(seed=seed)
    choice = within_budget(fitted, demand, FLOPS, budget)
    assert FLOPS[choice].mean() <= budget * FLOPS[-1] * (1 + 1e-6)
    # all choices there are: asked costs pass a subnet's FLOPs at these efforts
    corners = [
        flops / FLOPS[-1] * fitted.num_classes / k
        for flops in FLOPS
        for k in range(1, fitted.num_classes + 1)
    ]
    every = [fitted.choose(demand, FLOPS, corner * (1 + 1e-12)) for corner in corners]
    best = max((FLOPS[c].sum() for c in every if FLOPS[c].mean() <= budget * 100), default=0)
    assert FLOPS[choice].sum() >= best


def test_a_whole_budget_is_the_largest_subnet() -> None:
    assert (within_budget(router(), np.linspace(0, 9, 7), FLOPS, 1.0) == 8).all()


@pytest.mark.parametrize(
    ("budget", "words"),
    [(0.05, "at least 0.1"), (0.0, "above 0 and at most 1"), (1.2, "1.2"), (math.nan, "nan")],
)
def test_a_budget_that_cannot_be_met(budget: float, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        within_budget(router(), np.linspace(0, 9, 7), FLOPS, budget)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("own", [1, 5, 30, 60])
def test_the_network_of_a_router_is_part_of_the_budget(own: int) -> None:
    demand = np.linspace(0, 9, 50)
    choice = within_budget(router(), demand, FLOPS, 0.7, own)
    assert FLOPS[choice].sum() + own * len(demand) <= 0.7 * FLOPS[-1] * len(demand)
    assert np.array_equal(choice, within_budget(router(), demand, FLOPS, 0.7 - own / FLOPS[-1]))


def test_a_router_that_is_too_dear_for_a_budget_is_named() -> None:
    with pytest.raises(InputError, match=r"and the router already take 0\.35 .* at least 0\.35"):
        within_budget(router(), np.ones(3), FLOPS, 0.3, 25)
    assert (within_budget(router(), np.ones(3), FLOPS, 0.35, 25) == 0).all()
    with pytest.raises(InputError, match=r"take 1\.05 .* Choose a router without a network"):
        within_budget(router(), np.ones(3), FLOPS, 1.0, 95)


def test_the_share_that_is_named_can_be_given() -> None:
    flops = np.array([333, 1000, 3001])
    with pytest.raises(InputError, match=r"Give at least 0\.111"):
        within_budget(router(), np.ones(3), flops, 0.1)
    assert (within_budget(router(), np.ones(3), flops, 0.111) == 0).all()


def test_too_few_or_too_equal_tiles() -> None:
    values = np.random.default_rng(0).gamma(2, 5, (9, 4))
    with pytest.raises(InputError, match="9 training tiles for 10 classes"):
        GradientRouter.fit(values, 10)
    with pytest.raises(InputError, match="at least 1"):
        GradientRouter.fit(values, 0)
    equal = np.repeat(values[:4], 25, axis=0)
    with pytest.raises(InputError, match=r"class 2 of 10 has no tiles.*only 4 differ"):
        GradientRouter.fit(equal, 10)
    assert GradientRouter.fit(equal, 4).num_classes == 4
    values[3, 2] = np.nan
    with pytest.raises(InputError, match="not finite"):
        GradientRouter.fit(values, 3)


def test_a_file_keeps_every_digit(tmp_path: Path) -> None:
    fitted, path = router(), tmp_path / "routers" / "gradient.json"
    header = fitted.save(path, parents={"weights": "0123456789abcdef"}, made={"version": "1"})
    assert GradientRouter.load(path) == fitted
    kept = path.read_bytes()
    again = fitted.save(path, parents={"weights": "0123456789abcdef"}, made={"version": "1"})
    assert (again.fingerprint, path.read_bytes()) == (header.fingerprint, kept)
    assert fitted.save(path, parents={}).fingerprint != header.fingerprint


def test_files_that_are_no_router(tmp_path: Path) -> None:
    path = tmp_path / "gradient.json"
    router().save(path)
    facts = json.loads(path.read_text())
    facts["params"]["thresholds"][0] += 0.5
    changed = json.dumps(facts)
    foreign = json.dumps({**facts, "kind": "EdgePsnrRouter"})
    for text in (None, "", "{}", "[1]", path.read_text()[:-9], changed, foreign, "\x00\xff"):
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        with pytest.raises(ArtifactError, match=r"gradient\.json") as caught:
            GradientRouter.load(path)
        assert "\n" not in str(caught.value)
