"""The pixels of patches, against the image files themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
from srprune.core.config import ExtractConfig  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.data.patches import PatchPool  # noqa: E402
from srprune.images import bicubic  # noqa: E402
from srprune.stages.extract import ImageSource, extract  # noqa: E402
from srprune.stages.pool import open_pool  # noqa: E402


@pytest.fixture
def workspace(images: Path, tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "workspace")
    extract(ImageSource.find(str(images)), ExtractConfig(size=60, stride=36), workspace)
    return workspace


def whole_images(images: Path, pool: PatchPool) -> list[np.ndarray]:
    return [np.asarray(Image.open(images / image.path)) for image in pool.index.images]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_patches_are_cut_from_the_image_and_from_its_lr(
    images: Path, workspace: Workspace, scale: int
) -> None:
    pool = open_pool(workspace, scale)
    assert len(pool) == len(pool.index) > 20
    ids = np.arange(len(pool))
    hr, lr = pool.hr_patches(ids), pool.lr_patches(ids)
    side = 60 // scale
    assert hr.shape == (len(pool), 60, 60, 3)
    assert lr.shape == (len(pool), side, side, 3)
    assert hr.dtype == lr.dtype == np.uint8
    index, wholes = pool.index, whole_images(images, pool)
    shrunken = [bicubic.downscale(whole, scale) for whole in wholes]
    for patch in ids:
        image, top, left = index.image_N[patch], index.top_N[patch], index.left_N[patch]
        assert np.array_equal(hr[patch], wholes[image][top : top + 60, left : left + 60])
        y, x = top // scale, left // scale
        assert np.array_equal(lr[patch], shrunken[image][y : y + side, x : x + side])


def test_lr_of_a_patch_is_not_that_of_the_patch_alone(workspace: Workspace) -> None:
    """Bicubic reaches beyond the patch: only the image knows what stands there."""
    pool = open_pool(workspace, 2)
    inner = np.flatnonzero((pool.index.top_N > 0) & (pool.index.left_N > 0))
    hr, lr = pool.hr_patches(inner), pool.lr_patches(inner)
    alone = np.stack([bicubic.downscale(patch, 2) for patch in hr])
    assert np.array_equal(alone[:, 2:-2, 2:-2], lr[:, 2:-2, 2:-2])
    assert not np.array_equal(alone, lr)


def test_patches_come_in_the_order_asked_for(workspace: Workspace) -> None:
    pool = open_pool(workspace, 2)
    ids = np.array([5, 0, 5, 11])
    every = pool.hr_patches(np.arange(len(pool)))
    assert np.array_equal(pool.hr_patches(ids), every[ids])
    assert np.array_equal(pool.lr_patches(ids), pool.lr_patches(np.arange(len(pool)))[ids])


def test_crops_are_read_only_views(workspace: Workspace) -> None:
    pool = open_pool(workspace, 2)
    crop = pool.hr_crop(3, 10, 4, 20)
    assert np.array_equal(crop, pool.hr_patches(np.array([3]))[0, 10:30, 4:24])
    assert not crop.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        crop[0, 0] = 0


def test_stores_are_those_of_the_whole_images(images: Path, workspace: Workspace) -> None:
    pool = open_pool(workspace, 3)
    for i, whole in enumerate(whole_images(images, pool)):
        assert np.array_equal(pool.hr_store.image(i), whole)
        assert np.array_equal(pool.lr_store.image(i), bicubic.downscale(whole, 3))


def test_a_pool_without_lr_has_hr_patches_alone(workspace: Workspace) -> None:
    full = open_pool(workspace, 2)
    pool = PatchPool(full.index, full.hr_store, None, 2)
    ids = np.array([0, 7])
    assert np.array_equal(pool.hr_patches(ids), full.hr_patches(ids))
    with pytest.raises(AssertionError, match="opened without LR"):
        pool.lr_patches(ids)
