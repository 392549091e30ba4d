"""The router of ClassSR: the module, its three losses, its training, choice and file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402

from srprune.core.errors import ArtifactError, Diverged, InputError  # noqa: E402
from srprune.wbsr.class_module import (  # noqa: E402
    ClassModule,
    ClassModuleRouter,
    average_loss,
    branches_of,
    class_loss,
    image_loss,
    kept_pixels,
)

FLOPS = np.array([10, 15, 25, 30, 40, 55, 60, 80, 100])
BRANCHES = (0, 4, 8)


def chances(num: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet((0.5, 0.5, 0.5), num))


def untrained(num_subnets: int = 9) -> ClassModuleRouter:
    torch.manual_seed(0)
    return ClassModuleRouter(ClassModule().eval(), num_subnets)


def tiles(num: int = 48, side: int = 8) -> torch.Tensor:
    """(num, 3, side, side) uint8: dark flat ones, and bright busy ones behind them."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, (num, 3, side, side))
    busy = np.arange(num)[:, None, None, None] >= num // 2
    return torch.from_numpy((60 + 100 * busy + noise * 30 * busy).clip(0, 255).astype(np.uint8))


def errors(num: int = 48, values: int = 60) -> torch.Tensor:
    """Branches differ on the busy tiles alone."""
    busy_N = (torch.arange(num) >= num // 2).float()
    level_N3 = 0.01 + busy_N[:, None] * torch.tensor([0.030, 0.025, 0.020])
    sign_P = torch.tensor([1.0, -1.0]).repeat(values // 2)
    return (level_N3[:, :, None] * sign_P).half()


def test_layers_are_those_of_classsr() -> None:
    module = ClassModule()
    convs = [layer for layer in module.features if isinstance(layer, torch.nn.Conv2d)]
    assert [tuple(conv.weight.shape) for conv in convs] == [
        (128, 3, 4, 4),
        *[(128, 128, 1, 1)] * 3,
        (32, 128, 1, 1),
    ]
    assert sum(p.numel() for p in module.parameters()) == 60_035
    assert all((conv.bias == 0).all() for conv in convs)
    assert module(torch.rand(5, 3, 32, 32)).shape == (5, 3)
    assert module(torch.rand(2, 3, 17, 9)).shape == (2, 3)


def test_class_loss_and_average_loss_are_those_of_the_authors_code() -> None:
    p = chances(7)
    sure, even = 0.0, [0.0, 0.0, 0.0]
    for one, two, three in p.tolist():  # codes/models/loss.py, tile by tile
        sure += 2 - (abs(one - two) + abs(one - three) + abs(two - three))
        even = [total + chance for total, chance in zip(even, (one, two, three), strict=True)]
    assert class_loss(p).item() == pytest.approx(sure / 7)
    apart = sum(abs(total - 7 / 3) for total in even)
    assert average_loss(p).item() == pytest.approx(apart / (7 / 3 * 4))


def test_losses_at_their_ends() -> None:
    one_hot = torch.eye(3)
    assert class_loss(one_hot).item() == 0
    assert average_loss(one_hot).item() == 0
    nobody_knows = torch.full((3, 3), 1 / 3)
    assert class_loss(nobody_knows).item() == pytest.approx(2)
    assert average_loss(nobody_knows).item() == pytest.approx(0, abs=1e-6)
    assert average_loss(one_hot[[0, 0, 0]]).item() == pytest.approx(1)


def test_image_loss_is_l1_of_the_weighed_sr() -> None:
    generator = torch.Generator().manual_seed(0)
    sr_T3CHW = torch.rand(4, 3, 3, 6, 6, generator=generator).double()
    hr_TCHW = torch.rand(4, 3, 6, 6, generator=generator).double()
    p = chances(4)
    together = (p[:, :, None, None, None] * sr_T3CHW).sum(1)
    expected = (together - hr_TCHW).abs().mean().item()
    apart = (sr_T3CHW - hr_TCHW[:, None]).flatten(2)
    assert image_loss(p, apart).item() == pytest.approx(expected)


def test_kept_pixels_are_all_of_a_small_tile_and_some_of_a_large_one() -> None:
    assert kept_pixels(8, 6, 0).tolist() == list(range(48))
    large = kept_pixels(128, 128, 0)
    assert len(set(large.tolist())) == len(large) == 4096
    assert np.array_equal(large, kept_pixels(128, 128, 0))
    assert not np.array_equal(large, kept_pixels(128, 128, 1))


@pytest.fixture(scope="module")
def trained() -> ClassModuleRouter:
    return ClassModuleRouter.fit(tiles(), errors(), 9, steps=80)


def test_training_gives_busy_tiles_to_the_larger_branches(trained: ClassModuleRouter) -> None:
    demand = trained.demand(tiles().float() / 255)
    assert demand.shape == (48, 3)
    np.testing.assert_allclose(demand.sum(1), 1)
    flat, busy = demand[:24], demand[24:]  # on flat tiles all branches are equally good
    assert (busy.argmax(1) == 2).all()
    assert flat[:, 0].min() > 3 * busy[:, 0].max()
    assert flat[:, 2].max() < busy[:, 2].min()
    assert set(trained.choose(demand, FLOPS, None).tolist()) <= set(BRANCHES)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    files: list[bytes] = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(files))  # the state around it plays no part
        before = torch.random.get_rng_state()
        router = ClassModuleRouter.fit(tiles(), errors(), 9, seed=seed, steps=2)
        assert torch.equal(torch.random.get_rng_state(), before)
        path = tmp_path / f"{len(files)}.safetensors"
        router.save(path)
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_errors_that_are_not_finite_stop_it_with_one_line() -> None:
    bad = errors()
    bad[3] = math.nan
    with pytest.raises(Diverged, match="loss of class_module is nan at step 1 of 5") as caught:
        ClassModuleRouter.fit(tiles(), bad, 9, steps=5)
    assert "\n" not in str(caught.value)


def test_what_it_cannot_take_is_refused() -> None:
    with pytest.raises(InputError, match="needs 3 subnets, but there are 2"):
        ClassModuleRouter.fit(tiles(), errors(), 2)
    with pytest.raises(InputError, match="48 tiles of 3x3 px"):
        ClassModuleRouter.fit(tiles(side=3), errors(), 9)
    with pytest.raises(InputError, match="at least 3 tiles"):
        ClassModuleRouter.fit(tiles(2), errors(2), 9)
    with pytest.raises(InputError, match="a tile has 8x2 px at LR"):
        untrained().demand(torch.rand(1, 3, 2, 8))
    with pytest.raises(InputError, match="a tile has 8x3 px at LR"):
        untrained().flops(3, 8)
    with pytest.raises(InputError, match="for 9 subnets, but there are 4"):
        untrained().choose(np.full((1, 3), 1 / 3), np.arange(1, 5), None)


@pytest.mark.parametrize(("count", "branches"), [(3, (0, 1, 2)), (4, (0, 2, 3)), (9, BRANCHES)])
def test_branches_are_the_smallest_the_middle_and_the_largest(
    count: int, branches: tuple[int, int, int]
) -> None:
    assert branches_of(count) == branches


def test_without_a_budget_the_most_probable_branch_is_taken_and_effort_1_is_the_same() -> None:
    demand = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4], [0.4, 0.4, 0.2]])
    assert untrained().choose(demand, FLOPS, None).tolist() == [0, 4, 8, 0]
    assert untrained().choose(demand, FLOPS, 1.0).tolist() == [0, 4, 8, 0]
    assert untrained().choose(demand, FLOPS, 1.3).tolist() == [0, 4, 8, 4]
    assert untrained().choose(demand, FLOPS, 1.7).tolist() == [8, 8, 8, 4]


def test_the_module_is_counted_as_its_layers_say() -> None:
    def by_hand(side: int) -> int:
        squares = (side // 4) ** 2  # one for each step of the first conv
        return 2 * (squares * (3 * 16 * 128 + 3 * 128 * 128 + 128 * 32) + 32 * 3)

    assert untrained().flops(32, 32) == by_hand(32) == 7_602_368
    assert untrained().flops(64, 64) == by_hand(64)
    assert untrained().flops(35, 34) == by_hand(32)  # what is left over at the edges is not seen


demands = st.lists(
    st.tuples(*[st.floats(0, 1)] * 3).filter(lambda each: sum(each) > 0), min_size=1, max_size=20
).map(lambda rows: np.array(rows) / np.array(rows).sum(1, keepdims=True))


@settings(deadline=None, max_examples=60)
@given(demands, st.floats(1e-3, 1e3), st.floats(1.001, 1e3))
def test_flops_never_fall_as_the_effort_rises(
    demand: np.ndarray, effort: float, factor: float
) -> None:
    router = untrained()
    less, more = (router.choose(demand, FLOPS, each) for each in (effort, effort * factor))
    assert (more >= less).all()
    for low, high in ((2.0**-64, 2.0**64), (5e-324, math.inf)):  # even where a chance is 0
        assert (router.choose(demand, FLOPS, low) == 0).all()
        assert (router.choose(demand, FLOPS, high) == 8).all()


def test_a_file_gives_the_same_router_back(tmp_path: Path, trained: ClassModuleRouter) -> None:
    path = tmp_path / "class_module.safetensors"
    header = trained.save(path, parents={"weights": "0" * 16}, made={"seconds": 1.0})
    back = ClassModuleRouter.load(path)
    assert back.num_subnets == 9
    lr = tiles().float() / 255
    assert np.array_equal(back.demand(lr), trained.demand(lr))
    assert header.parents == {"weights": "0" * 16}


@pytest.mark.parametrize("fault", ["missing", "cut", "edited", "foreign", "lacking"])
def test_a_bad_file_is_one_line(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "class_module.safetensors"
    untrained().save(path)
    content = path.read_bytes()
    if fault == "missing":
        path.unlink()
    elif fault == "cut":
        path.write_bytes(content[:-100])
    elif fault == "edited":
        path.write_bytes(content[:-4] + b"\0\0\0\0")
    elif fault == "foreign":
        save_file(load_file(path), path)  # no header
    else:
        path.write_bytes(content.replace(b'"num_subnets\\": 9', b'"num_subnets\\": 2'))
        assert path.read_bytes() != content
    with pytest.raises(ArtifactError) as caught:
        ClassModuleRouter.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
