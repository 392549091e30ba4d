"""The router of ARM: edge scores, PSNR of tiles, the table, its choice and its file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve

torch = pytest.importorskip("torch")
from srprune.core.errors import ArtifactError, InputError  # noqa: E402
from srprune.wbsr import edge_psnr  # noqa: E402
from srprune.wbsr.edge_psnr import EdgePsnrRouter, edge_scores, tile_psnr  # noqa: E402
from srprune.wbsr.router import within_budget  # noqa: E402

FLOPS = np.array([10, 25, 40, 100])
LAPLACIAN = np.array([[2, 0, 2], [0, -8, 0], [2, 0, 2]])  # cv2.Laplacian with ksize=3


def pixels(num: int, height: int, width: int, *, grey: bool = False, seed: int = 0) -> np.ndarray:
    """(num, height, width, 3) uint8, from flat to full contrast."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, (num, height, width, 1 if grey else 3))
    values = 128 + noise * np.linspace(0, 120, num)[:, None, None, None]
    return np.broadcast_to(values.clip(0, 255), (num, height, width, 3)).astype(np.uint8)


def tensor_of(rgb_NHWC: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb_NHWC)).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize("shape", [(32, 32), (2, 9), (5, 3)])
def test_edge_scores_are_the_mean_of_the_mirrored_laplacian(shape: tuple[int, int]) -> None:
    rgb = pixels(6, *shape, grey=True)
    expected = [
        np.abs(convolve(each[..., 0].astype(int), LAPLACIAN, mode="mirror")).clip(max=255).mean()
        for each in rgb
    ]
    scores = edge_scores(tensor_of(rgb))
    np.testing.assert_allclose(scores, expected, rtol=1e-12)
    assert scores[0] == 0
    assert scores[-1] > scores[1]


def test_edge_scores_of_colours_are_those_of_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    rgb = pixels(8, 24, 24, seed=3)
    expected = []
    for each in rgb:  # chenbong/ARM-Net, utils/util.py, laplacian()
        grey = cv2.cvtColor(np.ascontiguousarray(each[..., ::-1]), cv2.COLOR_BGR2GRAY)
        expected.append(cv2.convertScaleAbs(cv2.Laplacian(grey, cv2.CV_16S, ksize=3)).mean())
    # the grey of a pixel may be rounded otherwise where it lies between two levels
    np.testing.assert_allclose(edge_scores(tensor_of(rgb)), expected, atol=0.05)


def test_edge_scores_take_a_tile_of_one_pixel_and_any_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert edge_scores(tensor_of(pixels(2, 1, 1))).tolist() == [0, 0]
    tiles = tensor_of(pixels(5, 8, 8))
    whole = edge_scores(tiles)
    monkeypatch.setattr(edge_psnr, "ROOM", 130)  # two tiles at a time
    assert np.array_equal(edge_scores(tiles), whole)


def test_psnr_is_that_of_8_bit_rgb_without_the_border() -> None:
    hr = torch.full((3, 3, 8, 8), 100 / 255)
    sr = hr.clone()
    sr[0, :, 0] = 1.0  # in the border
    sr[1, 0, 4, 4] += 3.4 / 255  # rounds to 3 levels
    sr[2] = 1.7  # clipped
    psnr = tile_psnr(sr, hr, 2)
    inside = 3 * 4 * 4
    assert psnr[0] == 80
    assert psnr[1] == pytest.approx(10 * math.log10(255**2 * inside / 9))
    assert psnr[2] == pytest.approx(20 * math.log10(255 / 155))


def test_a_tile_that_is_all_border_has_no_psnr() -> None:
    hr = torch.zeros(2, 3, 5, 4)
    assert len(tile_psnr(hr, hr, 1)) == 2
    with pytest.raises(InputError, match=r"4x5 px at HR, of which 2 px .* Give larger tiles"):
        tile_psnr(hr, hr, 2)


def test_the_table_holds_means_of_equal_intervals_and_fills_gaps() -> None:
    edges = np.array([0.0, 0.5, 2.1, 9.9, 10.0])  # five intervals of 2: two, one, none, none, two
    psnr = np.array([[40, 41], [42, 45], [30, 33], [20, 24], [22, 26]], dtype=float)
    router = EdgePsnrRouter.fit(edges, psnr, bins=5)
    assert router.tiles_K == (2, 1, 0, 0, 2)
    expected = [(41, 43), (30, 33), (27, 30 + 1 / 3), (24, 27 + 2 / 3), (21, 25)]
    np.testing.assert_allclose(router.psnr_KM, expected)


def test_without_a_budget_the_best_psnr_wins_not_the_dearest() -> None:
    router = EdgePsnrRouter.fit(
        np.array([0.0, 10.0]), np.array([[50, 50, 49, 48.0], [20, 21, 23, 22]]), bins=2
    )
    demand = np.array([-3.0, 0, 4.9, 5.1, 10, 99])
    expected = [0, 0, 0, 2, 2, 2]
    assert router.choose(demand, FLOPS, None).tolist() == expected
    assert router.choose(demand, FLOPS, math.inf).tolist() == expected


def test_the_effort_is_what_the_dearest_subnet_costs_in_db() -> None:
    router = EdgePsnrRouter.fit(np.array([0.0, 1.0]), np.array([[30, 30.5], [30, 32]]), bins=2)
    flops = np.array([50, 100])  # the price between the two is half of 1 / effort
    demand = np.array([0.0, 1.0])
    assert router.choose(demand, flops, 0.24).tolist() == [0, 0]
    assert router.choose(demand, flops, 0.26).tolist() == [0, 1]
    assert router.choose(demand, flops, 0.99).tolist() == [0, 1]
    assert router.choose(demand, flops, 1.01).tolist() == [1, 1]


tables = st.integers(0, 2**32 - 1).map(
    lambda seed: EdgePsnrRouter.fit(
        np.random.default_rng(seed).uniform(0, 50, 40),
        np.random.default_rng(seed + 1).normal(30, 3, (40, 4)),
        bins=6,
    )
)
demands = st.lists(st.floats(-10, 70), min_size=1, max_size=30).map(np.array)


@settings(deadline=None, max_examples=40)
@given(tables, demands, st.floats(1e-3, 1e3), st.floats(1.001, 1e3))
def test_flops_never_fall_as_the_effort_rises(
    router: EdgePsnrRouter, demand: np.ndarray, effort: float, factor: float
) -> None:
    less, more = (router.choose(demand, FLOPS, each) for each in (effort, effort * factor))
    assert (more >= less).all()
    assert (router.choose(demand, FLOPS, 2.0**-64) == 0).all()
    assert (router.choose(demand, FLOPS, 5e-324) == 0).all()
    best = router.choose(demand, FLOPS, math.inf)
    assert np.array_equal(router.choose(demand, FLOPS, 2.0**64), best)
    assert (best >= more).all()


@settings(deadline=None, max_examples=40)
@given(tables, demands, st.floats(0.1, 1))
def test_a_budget_is_kept(router: EdgePsnrRouter, demand: np.ndarray, budget: float) -> None:
    choice = within_budget(router, demand, FLOPS, budget)
    assert FLOPS[choice].mean() <= budget * FLOPS[-1] * (1 + 1e-6)


@pytest.mark.parametrize(
    ("edges", "bins", "says"),
    [
        ([3.0, 3.0, 3.0], 30, "the 3 validation tiles of edge_psnr all fall into one interval"),
        ([], 30, "the 0 validation tiles"),
        ([1.0, 2.0], 1, "at least 2 intervals"),
        ([1.0, math.nan], 30, "not finite"),
    ],
)
def test_tables_that_tell_nothing_are_refused(edges: list[float], bins: int, says: str) -> None:
    psnr = np.full((len(edges), 4), 30.0)
    with pytest.raises(InputError, match=says) as caught:
        EdgePsnrRouter.fit(np.array(edges), psnr, bins)
    assert "\n" not in str(caught.value)


def test_another_number_of_subnets_is_refused() -> None:
    router = EdgePsnrRouter.fit(np.array([0.0, 1.0]), np.full((2, 4), 30.0))
    with pytest.raises(InputError, match="for 4 subnets, but there are 9"):
        router.choose(np.zeros(1), np.arange(1, 10), None)


def test_a_file_gives_the_same_router_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    router = EdgePsnrRouter.fit(rng.uniform(0, 50, 80), rng.normal(30, 3, (80, 9)))
    header = router.save(tmp_path / "edge_psnr.json", parents={"weights": "0" * 16})
    assert EdgePsnrRouter.load(tmp_path / "edge_psnr.json") == router
    again = router.save(tmp_path / "again.json", parents={"weights": "0" * 16})
    assert again.fingerprint == header.fingerprint
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "edge_psnr.json").read_bytes()


@pytest.mark.parametrize("fault", ["missing", "cut", "edited", "other", "ragged"])
def test_a_bad_file_is_one_line(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "edge_psnr.json"
    router = EdgePsnrRouter.fit(np.array([0.0, 1.0]), np.full((2, 4), 30.0), bins=2)
    if fault == "ragged":
        router = EdgePsnrRouter(0.0, 1.0, ((30.0, 31.0), (29.0,)), (1, 1))
    router.save(path)
    text = path.read_text()
    if fault == "missing":
        path.unlink()
    elif fault == "cut":
        path.write_text(text[:-20])
    elif fault == "edited":
        path.write_text(text.replace("30.0", "31.0"))
    elif fault == "other":
        path.write_text(json.dumps({**json.loads(text), "kind": "GradientRouter"}))
    with pytest.raises(ArtifactError) as caught:
        EdgePsnrRouter.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
