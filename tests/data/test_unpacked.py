"""Training from a compressed store sees the very batches of a plain one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
from srprune.core.config import ExtractConfig  # noqa: E402
from srprune.core.errors import ArtifactError  # noqa: E402
from srprune.core.patches import PatchIndex  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.data.batches import Batches  # noqa: E402
from srprune.data.layout import packed  # noqa: E402
from srprune.data.patches import PatchPool  # noqa: E402
from srprune.data.residency import open_crops  # noqa: E402
from srprune.data.sampler import CropSampler  # noqa: E402
from srprune.data.unpacked import PackedCrops, fill_unpacked  # noqa: E402
from srprune.images.packed_store import PackedStore  # noqa: E402
from srprune.stages.extract import ImageSource, extract  # noqa: E402
from srprune.stages.pool import open_pool  # noqa: E402

SIZE, CROP, BATCH = 48, 7, 12
CPU = torch.device("cpu")
Workspaces = tuple[Workspace, Workspace]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Workspaces:
    """Workspaces of the same images of noise: plain, compressed."""
    rng = np.random.default_rng(8)
    folder = tmp_path_factory.mktemp("noise") / "images"
    folder.mkdir()
    for name, (height, width) in {"a": (84, 60), "b": (60, 96), "c": (156, 108)}.items():
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    workspaces = Workspace(folder.parent / "plain"), Workspace(folder.parent / "compressed")
    for workspace, compress in zip(workspaces, (False, True), strict=True):
        config = ExtractConfig(size=SIZE, stride=24)
        extract(ImageSource.find(str(folder)), config, workspace, compress=compress)
    return workspaces


def some(pool: PatchPool) -> np.ndarray:
    return np.flatnonzero(np.random.default_rng(1).random(len(pool)) < 0.6)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("residency", ["device", "host", "disk"])
def test_batches_are_those_of_the_plain_store(both, residency, scale):
    plain, compressed = (open_pool(workspace, scale) for workspace in both)
    assert isinstance(compressed.hr_store, PackedStore)
    assert isinstance(compressed.lr_store, PackedStore)
    assert not isinstance(plain.hr_store, PackedStore)
    made = []
    for pool, place in ((plain, "disk"), (compressed, residency)):
        ids = some(pool)
        sampler = CropSampler(
            ids, seed=0, batch=BATCH, lr_patch=SIZE // scale, lr_crop=CROP, augment=True
        )
        made.append(Batches(pool, ids, sampler, CROP, CPU, residency=place))
    for step in range(8):
        for one, other in zip(made[0].at(step), made[1].at(step), strict=True):
            assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_patches_are_those_of_the_plain_store(both):
    plain, compressed = (open_pool(workspace, 2) for workspace in both)
    ids = some(plain)
    np.testing.assert_array_equal(plain.hr_patches(ids), compressed.hr_patches(ids))
    np.testing.assert_array_equal(plain.lr_patches(ids), compressed.lr_patches(ids))


def test_only_disk_unpacks_on_the_way(both):
    pool = open_pool(both[1], 2)
    opened = [
        open_crops(pool.index, some(pool), pool.hr_store, 1, CROP, place, CPU)
        for place in ("host", "disk")
    ]
    assert [isinstance(crops, PackedCrops) for crops in opened] == [False, True]


def test_filling_takes_the_pixels_of_all_images(both):
    plain, compressed = (open_pool(workspace, 2) for workspace in both)
    layout = packed(plain.index, some(plain), 1)
    expected, filled = (np.zeros(layout.num_bytes, dtype=np.uint8) for _ in range(2))
    layout.fill(plain.hr_store, expected)
    fill_unpacked(layout, compressed.hr_store, filled)
    np.testing.assert_array_equal(filled, expected)
    assert expected.any()


def test_damage_comes_out_of_every_residency(both, tmp_path):
    index = PatchIndex.read(both[1].patches)
    path = both[1].hr_pixels.with_name("hr.u8.zst")
    bytes_ = np.fromfile(path, dtype=np.uint8)
    whole = open_pool(both[1], 2).hr_store
    bytes_[whole.offsets[1] + 50] ^= 1
    bytes_.tofile(tmp_path / "hr.u8.zst")
    store = PackedStore(
        Path(tmp_path / "hr.u8.zst"), whole.shapes, whole.offsets, whole.sizes, ("a", "b", "c")
    )
    ids = np.flatnonzero(index.image_N == 1)
    with pytest.raises(ArtifactError, match="the pixels of b in"):
        open_crops(index, ids, store, 1, CROP, "host", CPU)
    crops = open_crops(index, ids, store, 1, CROP, "disk", CPU)
    with pytest.raises(ArtifactError, match="the pixels of b in"):
        crops.cut(*np.zeros((4, 1), dtype=np.int64))
