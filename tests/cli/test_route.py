"""route: routers of a supernet's run, from tiles of its training patches or of other images."""

from __future__ import annotations

import json
import re
import shutil
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

torch = pytest.importorskip("torch")
from srprune.cli.main import cli as program  # noqa: E402
from srprune.core.coreset import CoreSet  # noqa: E402
from srprune.core.errors import (  # noqa: E402
    ArtifactMismatch,
    ImageError,
    InputError,
    LeakError,
    MissingArtifact,
    UnknownName,
    UserError,
)
from srprune.core.patches import PatchIndex  # noqa: E402
from srprune.core.weights import read_weights_header  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.images.benchmarks import find_benchmark  # noqa: E402
from srprune.images.bicubic import downscale  # noqa: E402
from srprune.models.build import build, save_weights  # noqa: E402
from srprune.stages.pool import open_pool  # noqa: E402
from srprune.stages.route import open_subnets  # noqa: E402
from srprune.stages.routers import open_router  # noqa: E402
from srprune.stages.tiles import folder_tiles, pool_tiles  # noqa: E402
from srprune.wbsr import ROUTERS  # noqa: E402
from srprune.wbsr.edge_psnr import EdgePsnrRouter, edge_scores, tile_psnr  # noqa: E402
from srprune.wbsr.gradient_router import GradientRouter  # noqa: E402
from tests.conftest import picture  # noqa: E402

CPU = torch.device("cpu")
ARGS = {"widths": [4, 6, 8], "depths": [1, 2]}


def train_supernet(
    root: Path,
    name: str = "super",
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    **parents: str,
) -> str:
    """A run of a supernet that was never trained; the fingerprint of its weights."""
    index = PatchIndex.read(root / "patches.parquet")
    torch.manual_seed(seed)
    network, _ = build("msrresnet_supernet", 2, ARGS)
    header = save_weights(
        root / "runs" / name / "weights.safetensors",
        network,
        parents={"patches": index.fingerprint, **parents},
        params={
            "model": "msrresnet_supernet",
            "model_args": ARGS,
            "scale": 2,
            "train_set": "full",
            "seed": seed,
            "config": config or {},
        },
        made={},
        info={"training_images": index.contents},
    )
    return header.fingerprint


@pytest.fixture
def root(prepared: Path) -> Path:
    """A workspace with a supernet's run ``super``."""
    train_supernet(prepared)
    return prepared


def run(root: Path, *words: object) -> dict[str, Any]:
    """What the command says, as JSON."""
    arguments = [str(word) for word in (*words, "--json", "--device", "cpu", "-w", root)]
    done = CliRunner().invoke(program, ["route", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def refused(root: Path, kind: type[UserError], *words: object) -> str:
    """The one line of an error."""
    with pytest.raises(kind) as caught:
        run(root, *words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


OWN = {"gradient": ("--classes", 5), "class_module": ("--steps", 3), "edge_psnr": ()}


@pytest.mark.parametrize("name", sorted(ROUTERS))
def test_a_router_is_fitted_once_and_opens_for_its_weights_alone(root: Path, name: str) -> None:
    words = ("super", "--router", name, "--tile", 12, "--num-tiles", 40, *OWN[name])
    said = run(root, *words)
    path = Path(said["path"])
    assert path.parent == root / "runs" / "super" / "routers"
    assert (said["fitted_on"]["tile"], said["fitted_on"]["num_tiles"]) == (12, 40)
    weights = said["parents"]["weights"]
    router = open_router(root / "runs" / "super", name, weights)
    flops = np.arange(1, 7)
    choice = router.choose(router.demand(torch.rand(7, 3, 12, 12)), flops, None)
    assert choice.shape == (7,)
    assert choice.max() < 6

    before = path.stat().st_mtime_ns
    assert run(root, *words)["fingerprint"] == said["fingerprint"]
    assert path.stat().st_mtime_ns == before  # found, not fitted again
    content = path.read_bytes()
    path.write_bytes(content[:50])
    assert run(root, *words)["fingerprint"] == said["fingerprint"]  # damaged: replaced

    train_supernet(root, seed=1)
    with pytest.raises(ArtifactMismatch, match=f"srprune route super --router {name}"):
        open_router(
            root / "runs" / "super",
            name,
            read_weights_header(root / "runs" / "super" / "weights.safetensors").fingerprint,
        )
    assert run(root, *words)["parents"]["weights"] != weights


def test_tiles_are_spread_over_patches_and_hr_lies_under_lr(root: Path) -> None:
    pool = open_pool(Workspace(root), 2)
    ids = np.arange(len(pool))[3:]
    tiles = pool_tiles(pool, ids, 12, 10_000, 0)
    assert tiles.num == len(ids) * 4  # as many as patches of 24 px hold side by side
    few = pool_tiles(pool, ids, 24, 7, 0)
    lr, hr = (np.concatenate(part) for part in zip(*few.batches(), strict=True))
    picked = ids[np.arange(7) * len(ids) // 7]
    assert np.array_equal(lr, pool.lr_patches(picked))
    assert np.array_equal(hr, pool.hr_patches(picked))
    lr, hr = (np.concatenate(part) for part in zip(*tiles.batches(), strict=True))
    assert lr.shape == (tiles.num, 12, 12, 3)
    shrunk = hr.reshape(-1, 12, 2, 12, 2, 3).mean((2, 4))
    assert np.abs(shrunk - lr).mean() < 8  # a tile beside it would be far off
    again = np.concatenate([part for part, _ in pool_tiles(pool, ids, 12, 10_000, 0).batches()])
    other = np.concatenate([part for part, _ in pool_tiles(pool, ids, 12, 10_000, 1).batches()])
    assert np.array_equal(again, lr)
    assert not np.array_equal(other, lr)


def test_the_table_of_edge_psnr_is_that_of_the_validation_images(
    root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "others"
    folder.mkdir()
    images = {seed: picture(48, 48, seed) for seed in (7, 8)}  # one tile each
    for seed, hr_HWC in images.items():
        Image.fromarray(hr_HWC).save(folder / f"{seed}.png")
    said = run(root, "super", "--router", "edge_psnr", "--tile", 24, "--validation", folder)
    assert sorted(said["fitted_on"]["images"].values()) == ["7.png", "8.png"]
    assert said["fitted_on"]["num_tiles"] == 2

    subnets, _ = open_subnets(root / "runs" / "super" / "weights.safetensors", CPU)
    assert [each.name for each in subnets] == ["w4_d1", "w4_d2", "w6_d1", "w6_d2", "w8_d1", "w8_d2"]
    expected = {}
    for hr_HWC in images.values():
        lr, hr = (
            torch.from_numpy(part.copy()).permute(2, 0, 1)[None] / 255
            for part in (downscale(hr_HWC, 2), hr_HWC)
        )
        psnr = [tile_psnr(each(lr), hr, 2)[0] for each in subnets]
        expected[float(edge_scores(lr)[0])] = psnr
    router = EdgePsnrRouter.load(Path(said["path"]))
    assert [router.low, router.high] == sorted(expected)
    np.testing.assert_allclose(router.psnr_KM[0], expected[router.low], rtol=1e-6)
    np.testing.assert_allclose(router.psnr_KM[-1], expected[router.high], rtol=1e-6)


def test_tiles_of_images_keep_to_their_number_and_to_no_corner(tmp_path: Path) -> None:
    for seed in range(6):
        Image.fromarray(picture(96, 144, seed)).save(tmp_path / f"{seed}.png")
    images = find_benchmark(str(tmp_path), [])

    def found(count: int, seed: int = 0) -> tuple[Any, set[str]]:
        tiles = folder_tiles(images, 2, 24, count, seed)
        lr, hr = (np.concatenate(part) for part in zip(*tiles.batches(), strict=True))
        assert len(lr) == len(hr) == tiles.num == tiles.facts["num_tiles"]
        shrunk = hr.reshape(-1, 24, 2, 24, 2, 3).mean((2, 4))
        assert np.abs(shrunk - lr).mean() < 8  # HR lies under LR
        return lr, set(tiles.facts["images"].values())

    assert len(found(1000)[0]) == 6 * 2 * 3  # as many as lie side by side
    lr, _ = found(14)
    assert len(lr) == 14
    few, of = found(4)
    assert len(few) == len(of) == 4
    assert any(found(4, seed)[1] != of for seed in (1, 2))
    corners = [downscale(picture(96, 144, seed), 2)[:24, :24] for seed in range(6)]
    one_each, _ = found(6)
    assert not all(map(np.array_equal, one_each, corners))
    assert np.array_equal(one_each, found(6)[0])
    assert not np.array_equal(one_each, found(6, 1)[0])


def test_tiles_of_images_do_not_keep_the_images(tmp_path: Path) -> None:
    for seed in range(8):
        Image.fromarray(picture(512, 512, seed)).save(tmp_path / f"{seed}.png")
    images = find_benchmark(str(tmp_path), [])
    tracemalloc.start()
    try:
        tiles = folder_tiles(images, 2, 24, 8)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tiles.num == 8
    assert kept < 512 * 512 * 3  # one image; the tiles are 69 kB


def test_a_run_is_named_as_everywhere_and_its_tiles_fit_its_patches(root: Path) -> None:
    folder = root / "runs" / "super"
    said = run(root, folder)
    assert said["path"] == str(folder / "routers" / "gradient.json")
    assert said["fitted_on"]["tile"] == 24  # of patches, where x2 has tiles of 64
    assert run(root, folder / "weights.safetensors")["fingerprint"] == said["fingerprint"]
    shutil.copy(folder / "weights.safetensors", folder / "best.safetensors")
    assert "best.safetensors has no routers: they are fitted for the weights.safetensors" in (
        refused(root, InputError, folder / "best.safetensors")
    )
    with pytest.raises(MissingArtifact, match=re.escape(f"route {root} --router edge_psnr' first")):
        open_router(root, "edge_psnr", "0" * 16)  # outside of a workspace a name finds nothing


def test_classes_of_gradient_are_those_of_the_sampling(root: Path) -> None:
    assert run(root, "super")["fitted_on"]["classes"] == 10
    train_supernet(root, "weighted", config={"sampling": {"classes": 4}})
    assert run(root, "weighted")["fitted_on"]["classes"] == 4
    assert run(root, "weighted", "--classes", 5)["fitted_on"]["classes"] == 5


def test_classes_of_gradient_come_from_the_core_set_of_the_run(root: Path, tiny: Any) -> None:
    coreset = CoreSet.read(Workspace(root).coreset(tiny.coreset))
    path = root / "runs" / "super" / "weights.safetensors"
    header = read_weights_header(path)
    torch.manual_seed(0)
    network, _ = build("msrresnet_supernet", 2, ARGS)
    save_weights(
        path,
        network,
        parents={**header.parents, "coreset": coreset.fingerprint},
        params={**header.params, "train_set": tiny.coreset},
        made={},
        info={},
    )
    said = run(root, "super", "--tile", 24, "--classes", 3)
    assert said["fitted_on"]["set"] == tiny.coreset
    assert said["fitted_on"]["num_tiles"] == len(coreset.patch_ids)
    assert GradientRouter.load(Path(said["path"])).num_tiles == len(coreset.patch_ids)


def test_bad_input_is_one_clear_line(root: Path, tiny: Any, tmp_path: Path) -> None:
    assert "there is no finished run 'sup' (there: " in refused(root, MissingArtifact, "sup")
    assert "is a plain fsrcnn; only a supernet" in refused(root, InputError, tiny.run)
    assert "Did you mean: gradient?" in refused(root, UnknownName, "super", "--router", "gradien")
    assert "patches have 24 px at LR. Give --tile 24 or less" in (
        refused(root, InputError, "super", "--tile", 64)
    )
    for name in sorted(ROUTERS):
        assert "the tile is 2 LR px, but a pixel of the smallest subnet, w4_d1, depends on" in (
            refused(root, InputError, "super", "--router", name, "--tile", 2)
        )
    small = ("super", "--tile", 12)
    assert "3 training tiles for 10 classes" in refused(root, InputError, *small, "--num-tiles", 3)
    table = ("super", "--router", "edge_psnr")
    assert "all fall into one interval" in refused(
        root, InputError, *table, "--tile", 12, "--num-tiles", 1
    )
    own = tmp_path / "images"
    assert "is also a training image" in refused(
        root, LeakError, *table, "--tile", 12, "--validation", own
    )
    assert "for edge_psnr" in refused(root, InputError, *small, "--validation", own)
    for name in sorted(ROUTERS):
        for other, setting in OWN.items():
            if setting and other != name:
                said = refused(root, InputError, *small, "--router", name, *setting)
                assert f"{setting[0]} is for {other}. Leave it out." in said
    tiny_images = tmp_path / "tiny"
    tiny_images.mkdir()
    Image.fromarray(picture(36, 36, 9)).save(tiny_images / "x.png")
    for tile, size in ((24, ("--tile", 24)), (64, ())):
        assert f"18x18 px at LR, less than a tile of {tile} px" in refused(
            root, ImageError, *table, *size, "--validation", tiny_images
        )
    with pytest.raises(MissingArtifact, match="srprune route super --router edge_psnr' first"):
        open_router(root / "runs" / "super", "edge_psnr", "0" * 16)
    train_supernet(root, "elsewhere", patches="f" * 16)
    assert "was made from patches ffffffffffffffff" in refused(
        root, ArtifactMismatch, "elsewhere", "--tile", 12
    )
