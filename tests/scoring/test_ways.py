"""Three ways to compute the same scores: patch by patch, from the image, and with frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from srprune.core.config import ExtractConfig
from srprune.core.error_maps import SIDE
from srprune.core.errors import InputError
from srprune.core.workspace import Workspace
from srprune.data.patches import PatchPool
from srprune.images import bicubic, color
from srprune.models.build import build
from srprune.models.restorer import BicubicRestorer, restorer_of
from srprune.scoring import RECONSTRUCTION, SCORERS
from srprune.scoring import reconstruction as engine
from srprune.scoring.maps import ErrorMapper
from srprune.scoring.reconstruction import Reconstruction, Sight
from srprune.stages.extract import ImageSource, extract
from srprune.stages.pool import open_pool

CPU = torch.device("cpu")


def scorer(method: str, restorers: list[Any], **more: Any) -> Reconstruction:
    rims = [
        restorer.network.rim + restorer.domain.reach
        if hasattr(restorer, "network")
        else 2 * restorer.scale
        for restorer in restorers
    ]
    sight = Sight.of(list(zip(restorers, rims, strict=True)))
    return Reconstruction(ErrorMapper(SCORERS.load(method)(), restorers, CPU), sight, **more)


def scores(pool: PatchPool, method: str, restorers: list[Any], **more: Any) -> Any:
    return scorer(method, restorers, **more)(np.arange(len(pool)), pool)


@pytest.fixture
def restorers(request: pytest.FixtureRequest) -> list[Any]:
    """Those that a method is tested with."""
    method = request.getfixturevalue("method")
    names = {"bicubic": [], "reducible": ["weak", "srcnn"]}.get(method, ["srcnn"])
    return [request.getfixturevalue(name) for name in names] or [BicubicRestorer(2)]


every_method = pytest.mark.parametrize("method", RECONSTRUCTION)


@every_method
def test_without_the_rim_the_image_is_restored_once(
    overlapping: PatchPool, method: str, restorers: list[Any]
) -> None:
    fast = scorer(method, restorers)
    found = fast(np.arange(len(overlapping)), overlapping)
    assert fast.way == "image"
    plain = scores(overlapping, method, restorers, way="plain")
    np.testing.assert_allclose(found, plain, rtol=1e-6, atol=1e-11)
    image = scores(overlapping, method, restorers, context="image")
    assert np.array_equal(image, found)  # nothing that is read depends on the context


@every_method
def test_with_the_rim_frames_are_restored_again(
    overlapping: PatchPool, method: str, restorers: list[Any]
) -> None:
    fast = scorer(method, restorers, include_rim=True)
    fast(np.array([0]), overlapping)
    assert fast.way == ("plain" if method == "ssim" else "frames")  # SSIM needs wider frames
    found = scores(overlapping, method, restorers, include_rim=True, way="frames")
    plain = scores(overlapping, method, restorers, include_rim=True, way="plain")
    np.testing.assert_allclose(found, plain, rtol=1e-6, atol=1e-11)
    within = scores(overlapping, method, restorers, include_rim=True, context="image")
    assert np.median(np.abs(within / plain - 1)) > 1e-4  # so the frames are needed


def test_frames_of_a_network_on_rgb(overlapping: PatchPool, fsrcnn_rgb: Any) -> None:
    ways = [
        scores(overlapping, "l1", [fsrcnn_rgb], include_rim=True, way=way)
        for way in ("plain", "frames")
    ]
    np.testing.assert_allclose(ways[1], ways[0], rtol=1e-6)


def test_batches_and_order_change_nothing(overlapping: PatchPool, srcnn: Any) -> None:
    for more in ({}, {"include_rim": True}):
        one = scores(overlapping, "mse", [srcnn], **more)
        other = scorer("mse", [srcnn], **more)
        ids = np.random.default_rng(0).permutation(len(overlapping))
        for part in np.array_split(ids, 7):
            np.testing.assert_allclose(other(part, overlapping), one[part], rtol=1e-6)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_strips_change_nothing(
    overlapping: PatchPool, srcnn: Any, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    whole = scores(overlapping, "ssim", [srcnn], include_rim=True, context="image")
    cut = scorer("ssim", [srcnn], include_rim=True, context="image")
    monkeypatch.setattr(cut, "_most_rows", rows)
    read = []

    def reading(lr: Any, hr: Any) -> Any:
        read.append(lr.shape[1])
        return ErrorMapper.__call__(cut._mapper, lr, hr)

    monkeypatch.setattr(cut, "_mapper", Spy(cut._mapper, reading))
    found = cut(np.arange(len(overlapping)), overlapping)
    np.testing.assert_allclose(found, whole, rtol=1e-6)
    assert max(read) <= rows + 2 * 8  # SRCNN sees 5 LR px at x2, SSIM 2.5 more
    assert len(read) == sum(-(-height // rows) for height, _ in overlapping.lr_store.shapes)


class Spy:
    """A mapper that is watched, or has little room."""

    def __init__(self, mapper: ErrorMapper, call: Any) -> None:
        self._inner, self._call = mapper, call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __call__(self, lr: Any, hr: Any) -> Any:
        return self._call(lr, hr)


def cramped(inner: ErrorMapper, rows: int, seen: list[int]) -> Spy:
    """A mapper of a device with room for ``rows`` LR px."""

    def call(lr: Any, hr: Any) -> Any:
        seen.append(lr.shape[1])
        if lr.shape[1] > rows:
            torch.empty(1 << 60, dtype=torch.uint8)
        return inner(lr, hr)

    return Spy(inner, call)


def test_a_strip_without_room_is_halved_for_good(overlapping: PatchPool, srcnn: Any) -> None:
    whole = scores(overlapping, "mse", [srcnn])
    little = scorer("mse", [srcnn])
    seen: list[int] = []
    little._mapper = cramped(little._mapper, 40, seen)  # type: ignore[assignment]
    np.testing.assert_allclose(little(np.arange(len(overlapping)), overlapping), whole, rtol=1e-6)
    refused = [rows for rows in seen if rows > 40]
    assert len(refused) == 2  # 84 rows and 42 with their overlap; the second image asks no more
    none = scorer("mse", [srcnn])
    none._mapper = cramped(none._mapper, 0, [])  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"not enough memory to restore 0.png as a whole"):
        none(np.arange(3), overlapping)


@pytest.mark.parametrize("context", ["patch", "image"])
def test_a_network_that_sees_everything_is_never_cut(
    overlapping: PatchPool, monkeypatch: pytest.MonkeyPatch, context: Any
) -> None:
    monkeypatch.setattr(engine, "STRIP", {"cpu": 1})
    torch.manual_seed(0)
    args = {"features": 8, "groups": 2, "blocks": 2, "reduction": 1}
    network, domain = build("rcan", 2, args)
    restorer = restorer_of("rcan", network, domain, "0")
    judge = scorer("mse", [restorer], context=context, include_rim=True)
    seen: list[tuple[int, ...]] = []
    inner = judge._mapper

    def call(lr: Any, hr: Any) -> Any:
        seen.append(lr.shape[:3])
        return inner(lr, hr)

    judge._mapper = Spy(inner, call)  # type: ignore[assignment]
    judge(np.array([0, 1]), overlapping)
    assert judge.way == {"patch": "plain", "image": "image"}[context]
    assert seen == [{"patch": (2, 60, 60), "image": (1, 84, 96)}[context]]


def test_patches_that_frames_would_not_pay_for_are_restored_alone(
    images: Path, workspace: Workspace, srcnn: Any
) -> None:
    extract(ImageSource.find(str(images)), ExtractConfig(size=48, stride=48), workspace)
    judge = scorer("mse", [srcnn], include_rim=True)
    judge(np.array([0]), open_pool(workspace, 2))
    assert judge.way == "plain"


@pytest.mark.parametrize("include_rim", [True, False])
def test_error_maps_are_those_of_the_plain_way(
    overlapping: PatchPool, srcnn: Any, include_rim: bool
) -> None:
    ids = np.arange(len(overlapping))
    found = []
    for way in (None, "plain"):
        cells = np.full((len(ids), SIDE, SIDE), np.nan, np.float32)
        judge = scorer("mse", [srcnn], include_rim=include_rim, cells_NHW=cells, way=way)
        judge(ids, overlapping)
        assert np.isfinite(cells).all()
        found.append(cells)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-9)


def test_cells_of_a_map_are_means_of_its_pixels(overlapping: PatchPool) -> None:
    """Bicubic's squared error, cell by cell, straight from the images."""
    cells = np.full((len(overlapping), SIDE, SIDE), np.nan, np.float32)
    judge = scorer("bicubic", [BicubicRestorer(2)], cells_NHW=cells)
    (score,) = judge(np.array([4]), overlapping)
    hr, lr = overlapping.hr_patches(np.array([4]))[0], overlapping.lr_patches(np.array([4]))[0]
    apart = (bicubic.upscale(color.rgb_to_y(lr), 2) - color.rgb_to_y(hr)) / 255
    squares = apart**2  # 120 px: cells of 7.5, which share a row of pixels with a neighbour
    assert cells[4, 3, 7] == pytest.approx(squares[22:30, 52:60].mean(), rel=1e-4)
    assert cells[4, 8, 8] == pytest.approx(squares[60:68, 60:68].mean(), rel=1e-4)
    assert cells[4, 0, 0] == pytest.approx(squares[4:8, 4:8].mean(), rel=1e-4)  # the rim is 4 px
    assert score == pytest.approx(squares[4:-4, 4:-4].mean(), rel=1e-5)
    assert np.isnan(cells[:4]).all() and np.isnan(cells[5:]).all()
