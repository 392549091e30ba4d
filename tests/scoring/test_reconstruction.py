"""The score of the paper: the MSE of a reconstruction, from its definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
from srprune.core.config import ExtractConfig  # noqa: E402
from srprune.core.errors import InputError  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.data.patches import PatchPool  # noqa: E402
from srprune.images import bicubic, color  # noqa: E402
from srprune.models.build import build, save_weights  # noqa: E402
from srprune.models.restorer import BicubicRestorer, restorer_of  # noqa: E402
from srprune.scoring.maps import ErrorMapper  # noqa: E402
from srprune.scoring.measures import Mse  # noqa: E402
from srprune.scoring.reconstruction import Reconstruction, Sight  # noqa: E402
from srprune.stages.extract import ImageSource, extract  # noqa: E402
from srprune.stages.pool import open_pool  # noqa: E402
from srprune.stages.score import Options, score  # noqa: E402

SIZE = 48
CPU = torch.device("cpu")
BICUBIC_REACH = 2  # LR px


@pytest.fixture
def workspace(images: Path, tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=SIZE, stride=SIZE), workspace)
    return workspace


@pytest.fixture
def pool(workspace: Workspace) -> PatchPool:
    return open_pool(workspace, 2)


def tiny(model: str, channels: str, scale: int = 2) -> Any:
    torch.manual_seed(0)
    args = {"channels": channels} | ({"init": "he"} if model == "srcnn" else {})
    network, domain = build(model, scale, args)
    if model == "fsrcnn":  # an output that is not nearly zero
        network.last_part.weight.data *= 100
    return restorer_of("tiny", network, domain, "0123456789abcdef")


def rim_of(restorer: Any) -> int:
    """HR px at each edge that padding spoils."""
    if isinstance(restorer, BicubicRestorer):
        return BICUBIC_REACH * restorer.scale
    return restorer.network.rim + restorer.domain.reach


def mse(restorer: Any, include_rim: bool = False, **more: Any) -> Reconstruction:
    sight = Sight.of([(restorer, rim_of(restorer))])
    mapper = ErrorMapper(Mse(), [restorer], CPU)
    return Reconstruction(mapper, sight, include_rim=include_rim, **more)


def slow_mse(restorer: Any, pool: PatchPool, patch: int, rim: int) -> float:
    """Straight from the definition: one patch, float64, a loop over its pixels."""
    hr = pool.hr_patches(np.array([patch]))[0]
    lr = pool.lr_patches(np.array([patch]))[0] / 255
    network = restorer.network.double()
    with torch.inference_mode():
        if restorer.domain.channels == "y":
            planes = (color.rgb_to_y(lr * 255) / 255)[:, :, None]
            truth = (color.rgb_to_y(hr) / 255)[:, :, None]
        else:
            planes, truth = lr, hr / 255
        if restorer.domain.pre_upsampled:
            planes = bicubic.upscale(planes, 2)
        x = torch.from_numpy(planes.transpose(2, 0, 1)[None].copy())
        sr = network(x)[0].numpy().transpose(1, 2, 0)
    network.float()
    squares = [
        (sr[y, x, c] - truth[y, x, c]) ** 2
        for y in range(rim, SIZE - rim)
        for x in range(rim, SIZE - rim)
        for c in range(truth.shape[2])
    ]
    return sum(squares) / len(squares)


@pytest.mark.parametrize("include_rim", [True, False])
@pytest.mark.parametrize("channels", ["y", "rgb"])
@pytest.mark.parametrize("model", ["srcnn", "fsrcnn"])
def test_score_is_the_mse_of_the_definition(
    pool: PatchPool, model: str, channels: str, include_rim: bool
) -> None:
    restorer = tiny(model, channels)
    rim = 0 if include_rim else rim_of(restorer)
    ids = np.array([0, 7, 3])
    scores = mse(restorer, include_rim)(ids, pool)
    assert scores.dtype == np.float64
    expected = [slow_mse(restorer, pool, int(patch), rim) for patch in ids]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert len(set(expected)) == 3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_scored_on_unrounded_luma(workspace: Workspace, scale: int) -> None:
    pool = open_pool(workspace, scale)
    ids = np.arange(4)
    rim = 2 * scale
    scores = mse(BicubicRestorer(scale))(ids, pool)
    expected = []
    for hr, lr in zip(pool.hr_patches(ids), pool.lr_patches(ids), strict=True):
        apart = bicubic.upscale(color.rgb_to_y(lr), scale) - color.rgb_to_y(hr)
        expected.append(np.mean((apart[rim:-rim, rim:-rim] / 255) ** 2))
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize("channels", ["y", "rgb"])
@pytest.mark.parametrize("model", ["srcnn", "fsrcnn"])
def test_the_batch_does_not_change_the_scores(pool: PatchPool, model: str, channels: str) -> None:
    scorer = mse(tiny(model, channels))
    ids = np.arange(len(pool))
    results = [
        np.concatenate([scorer(ids[i : i + batch], pool) for i in range(0, len(ids), batch)])
        for batch in (1, 3, 7)
    ]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-5)


def patches_of(tmp_path: Path, pictures: dict[str, np.ndarray]) -> Workspace:
    """A workspace with one patch an image, in the order of their names."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    workspace = Workspace(tmp_path / "pictures workspace")
    extract(ImageSource.find(str(folder)), ExtractConfig(size=SIZE, stride=SIZE), workspace)
    return workspace


def add_blurring_scorer(workspace: Workspace) -> None:
    """An SRCNN whose first layer is a mean of 9x9 and whose others pass it on."""
    network, _ = build("srcnn", 2, {})
    for parameter in network.parameters():
        parameter.data.zero_()
    network.conv1.weight.data[0] = 1 / 81
    network.conv2.weight.data[0, 0] = 1
    network.conv3.weight.data[0, 0, 2, 2] = 1
    save_weights(
        workspace.scorer("srcnn_x2") / "weights.safetensors",
        network,
        parents={"patches": open_pool(workspace, 2).index.fingerprint},
        params={"model": "srcnn", "model_args": {}, "scale": 2},
        made={},
        info={},
    )


def test_white_flat_patch_is_hard_only_with_its_rim(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    textures = {
        f"texture{i}": np.repeat(
            np.clip(110 + 25 * rng.standard_normal((SIZE, SIZE, 1)), 0, 255).astype(np.uint8), 3, 2
        )
        for i in range(5)
    }
    white = np.full((SIZE, SIZE, 3), 255, np.uint8)
    workspace = patches_of(tmp_path, {**textures, "white": white})
    add_blurring_scorer(workspace)
    images = open_pool(workspace, 2).index.images
    at = [image.path for image in images].index("white.png")
    _, default = score(workspace, device="cpu")
    assert default.header.params["rim"] == 7 - 1 + 2 * BICUBIC_REACH  # SRCNN 9-1-5 spoils 6 px
    assert int(np.argmin(default.scores_N)) == at
    assert default.scores_N[at] < 1e-9
    _, spoiled = score(workspace, options=Options(include_rim=True), name="with_rim", device="cpu")
    assert spoiled.header.params["rim"] == 0
    assert int(np.argmax(spoiled.scores_N)) == at
    assert spoiled.scores_N[at] > 2 * np.delete(spoiled.scores_N, at).max()


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("model", ["srcnn", "fsrcnn"])
def test_inside_the_rim_it_is_the_score_of_the_whole_image_restored(
    tmp_path: Path, model: str, scale: int
) -> None:
    """What a patch alone lacks, its surroundings, changes nothing that is scored by default."""
    side = 84
    noise = np.random.default_rng(1).integers(0, 256, (3 * side, 3 * side, 3), dtype=np.uint8)
    folder = tmp_path / "noise"
    folder.mkdir()
    Image.fromarray(noise).save(folder / "noise.png")
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(folder)), ExtractConfig(size=side, stride=side), workspace)
    pool = open_pool(workspace, scale)
    middle = np.flatnonzero((pool.index.top_N == side) & (pool.index.left_N == side))
    restorer = tiny(model, "y", scale)
    rim = rim_of(restorer)
    y, lr_y = (
        torch.from_numpy(color.rgb_to_y(image) / 255).float()[None, None]
        for image in (noise, bicubic.downscale(noise, scale))
    )
    apart = (restorer.luma(lr_y) - y)[0, 0, side : 2 * side, side : 2 * side].double()

    def both(rim: int) -> tuple[float, float]:
        inner = slice(rim, side - rim)
        (alone,) = mse(restorer, include_rim=not rim, way="plain")(middle, pool)
        return alone, float(apart[inner, inner].square().mean())

    alone, within = both(rim)
    assert alone == pytest.approx(within, rel=1e-5)
    alone, within = both(0)
    assert alone != pytest.approx(within, rel=1e-3)


def test_patches_that_are_all_rim_are_refused(tmp_path: Path, images: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=12, stride=12), workspace)
    with pytest.raises(InputError, match="above 16 px") as caught:
        score(workspace, method="bicubic", scale=4, device="cpu")
    assert "--include-rim" in str(caught.value)
    _, table = score(
        workspace, method="bicubic", scale=4, options=Options(include_rim=True), device="cpu"
    )
    assert np.isfinite(table.scores_N).all()
