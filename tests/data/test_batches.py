"""Batches: HR and LR crops show the same place, turned alike, wherever their pixels stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch")
from srprune.core.config import ExtractConfig  # noqa: E402
from srprune.core.workspace import Workspace  # noqa: E402
from srprune.data.batches import AHEAD, Batches  # noqa: E402
from srprune.data.crops import turned  # noqa: E402
from srprune.data.patches import PatchPool  # noqa: E402
from srprune.data.sampler import CropSampler  # noqa: E402
from srprune.images import bicubic  # noqa: E402
from srprune.images.store import PixelStore  # noqa: E402
from srprune.stages.extract import ImageSource, extract  # noqa: E402
from srprune.stages.pool import open_pool  # noqa: E402

SIZE, CROP, BATCH = 48, 7, 12
CPU = torch.device("cpu")
Noise = tuple[list[np.ndarray], Workspace]
Pair = tuple[Any, Any]

RESIDENCIES = ("device", "host", "disk")
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)])


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Noise:
    """Images of noise, where no place looks like another, and their workspace."""
    rng = np.random.default_rng(8)
    folder = tmp_path_factory.mktemp("noise") / "images"
    folder.mkdir()
    wholes = []
    for name, (height, width) in {"a": (84, 60), "b": (60, 96), "c": (96, 108)}.items():
        wholes.append(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        Image.fromarray(wholes[-1]).save(folder / f"{name}.png")
    workspace = Workspace(folder.parent / "workspace")
    extract(ImageSource.find(str(folder)), ExtractConfig(size=SIZE, stride=24), workspace)
    return wholes, workspace


def some(pool: PatchPool) -> npt.NDArray[np.int64]:
    """A core-set with overlapping patches, gaps and places that are not ids."""
    ids = np.flatnonzero(np.random.default_rng(1).random(len(pool)) < 0.6)
    assert 5 < len(ids) < len(pool) - 3
    return ids


def sampler_of(pool: PatchPool, ids: npt.NDArray[np.int64], augment: bool = True) -> CropSampler:
    lr_patch = SIZE // pool.scale
    return CropSampler(ids, seed=0, batch=BATCH, lr_patch=lr_patch, lr_crop=CROP, augment=augment)


def batches_of(
    pool: PatchPool,
    residency: Any = "disk",
    *,
    augment: bool = True,
    device: Any = CPU,
    **parts: Any,
) -> Batches:
    ids = some(pool)
    sampler = sampler_of(pool, ids, augment)
    return Batches(pool, ids, sampler, CROP, device, residency=residency, **parts)


def whole(batches: Batches, step: int) -> Pair:
    """A step of one part."""
    (pair,) = batches.at(step)
    return pair


def as_batch(crops: list[np.ndarray], device: Any = CPU) -> Any:
    return torch.from_numpy(np.stack(crops)).to(device).permute(0, 3, 1, 2).float() / 255


def by_hand(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Turn by turn, as the attribute of Picks says."""
    for _ in range(turn % 4):
        pixels = pixels.transpose(1, 0, 2)[::-1]  # a quarter turn counter-clockwise
    return pixels[:, ::-1] if turn >= 4 else pixels


def equal(one: Pair, other: Pair) -> bool:
    return torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


# --- pixels ---


@DEVICES
@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("residency", RESIDENCIES)
def test_crops_are_those_of_the_images_at_the_places_picked(
    noise: Noise, residency: str, scale: int, augment: bool, device: str
) -> None:
    wholes, workspace = noise
    pool = open_pool(workspace, scale)
    there = torch.device(device)
    shrunken = [bicubic.downscale(whole, scale) for whole in wholes]
    batches = batches_of(pool, residency, augment=augment, device=there)
    sampler = sampler_of(pool, some(pool), augment)
    index = pool.index
    for step in (0, 1, 77):
        picks = sampler.at(step)
        lr, hr = [], []
        for patch, top, left, turn in zip(
            picks.patch_B, picks.top_B, picks.left_B, picks.turn_B, strict=True
        ):
            image = index.image_N[patch]
            y, x = index.top_N[patch] + top * scale, index.left_N[patch] + left * scale
            side = CROP * scale
            hr.append(by_hand(wholes[image][y : y + side, x : x + side], turn))
            y, x = y // scale, x // scale
            lr.append(by_hand(shrunken[image][y : y + CROP, x : x + CROP], turn))
        assert equal(whole(batches, step), (as_batch(lr, there), as_batch(hr, there)))


@DEVICES
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_batches_are_the_same_wherever_pixels_stand(noise: Noise, scale: int, device: str) -> None:
    pool = open_pool(noise[1], scale)
    device_, host, disk = (
        batches_of(pool, residency, device=torch.device(device)) for residency in RESIDENCIES
    )
    assert (device_.residency, host.residency, disk.residency) == RESIDENCIES
    for step in range(12):  # several epochs
        expected = whole(disk, step)
        assert equal(whole(host, step), expected)
        assert equal(whole(device_, step), expected)


@pytest.mark.parametrize("residency", RESIDENCIES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pixels_of_other_patches_play_no_part(
    noise: Noise, tmp_path: Path, scale: int, residency: str
) -> None:
    pool = open_pool(noise[1], scale)
    blank = blanked(pool, tmp_path)
    assert not np.array_equal(blank.hr_store.flat, pool.hr_store.flat)
    ours, theirs = batches_of(pool, residency), batches_of(blank, residency)
    for step in range(8):
        assert equal(whole(ours, step), whole(theirs, step))


def blanked(pool: PatchPool, folder: Path) -> PatchPool:
    """A pool of the same patches, black where the core-set has none."""
    index, stores = pool.index, []
    for name, store, scale in (("hr", pool.hr_store, 1), ("lr", pool.lr_store, pool.scale)):
        images = [np.zeros_like(store.image(i)) for i in range(len(store))]
        side = SIZE // scale
        for patch in some(pool):
            image = index.image_N[patch]
            top, left = index.top_N[patch] // scale, index.left_N[patch] // scale
            place = (slice(top, top + side), slice(left, left + side))
            images[image][place] = store.image(image)[place]
        np.concatenate([image.ravel() for image in images]).tofile(folder / name)
        ends = np.cumsum([image.size for image in images]).tolist()
        stores.append(PixelStore(folder / name, store.shapes, [0, *ends[:-1]]))
    return PatchPool(index, *stores, pool.scale)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_no_other_turn_of_lr_suits_hr_better(noise: Noise, scale: int) -> None:
    pool = open_pool(noise[1], scale)
    batches, sampler = batches_of(pool), sampler_of(pool, some(pool))
    turns = set()
    for step in range(6):
        lr, hr = whole(batches, step)
        means = torch.nn.functional.avg_pool2d(hr, scale)  # nearly bicubic, and knows no turns
        for small, mean in zip(lr, means, strict=True):
            apart = [
                (torch.from_numpy(turned(small.permute(1, 2, 0).numpy(), turn).copy())
                 - mean.permute(1, 2, 0)).square().mean()
                for turn in range(8)
            ]  # fmt: skip
            assert int(np.argmin(apart)) == 0
            assert apart[0] < 0.5 * min(apart[1:])
        turns |= set(sampler.at(step).turn_B.tolist())
    assert turns == set(range(8))


@DEVICES
@pytest.mark.parametrize("residency", RESIDENCIES)
def test_values_are_colours_on_the_scale_of_one(noise: Noise, residency: str, device: str) -> None:
    lr, hr = whole(batches_of(open_pool(noise[1], 2), residency, device=torch.device(device)), 0)
    assert lr.shape == (BATCH, 3, CROP, CROP)
    assert hr.shape == (BATCH, 3, 2 * CROP, 2 * CROP)
    for crops in (lr, hr):
        assert crops.dtype == torch.float32
        assert crops.device.type == device
        assert crops.is_contiguous(memory_format=torch.channels_last)
        assert 0 <= crops.min() < 0.3
        assert 0.7 < crops.max() <= 1
        bytes_ = crops * 255
        assert torch.allclose(bytes_, bytes_.round(), rtol=0, atol=1e-4)


# --- parts ---


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("residency", RESIDENCIES)
def test_parts_together_are_the_step(noise: Noise, residency: str, scale: int) -> None:
    """However many processes share a step, and however many parts each takes of it."""
    pool = open_pool(noise[1], scale)
    at_once = batches_of(pool, residency)
    for processes, count in ((1, 2), (1, 12), (2, 1), (2, 3), (3, 2), (4, 1)):
        parts = processes * count
        ranks = [
            batches_of(pool, residency, own=range(r * count, (r + 1) * count), parts=parts)
            for r in range(processes)
        ]
        for step in (0, 1, 2, 9):
            pairs = [pair for batches in ranks for pair in batches.at(step)]
            assert [len(lr) for lr, _ in pairs] == [BATCH // parts] * parts
            together = tuple(torch.cat(crops) for crops in zip(*pairs, strict=True))
            assert equal(together, whole(at_once, step))


# --- steps ---


@pytest.mark.parametrize("residency", RESIDENCIES)
def test_a_step_gives_the_same_batch_again(noise: Noise, residency: str) -> None:
    batches = batches_of(open_pool(noise[1], 2), residency)
    first = whole(batches, 9)
    kept = [tensor.clone() for tensor in first]
    for tensor in first:
        tensor.zero_()  # what the caller does with a batch is its own affair
    whole(batches, 3)
    assert equal(whole(batches, 9), (kept[0], kept[1]))


# twice, backwards, with gaps of every length around what is read ahead, and far away
JUMPS = st.lists(st.integers(0, 3 * AHEAD) | st.just(10**9), min_size=1, max_size=12)
HARMLESS = (HealthCheck.function_scoped_fixture,)


@DEVICES
@pytest.mark.parametrize("count", [1, 2, 6])
@settings(deadline=None, max_examples=15, suppress_health_check=HARMLESS)
@given(steps=JUMPS, data=st.data())
def test_reading_ahead_changes_nothing(
    noise: Noise, count: int, device: str, steps: list[int], data: st.DataObject
) -> None:
    """Steps may be asked for in any order, twice, not at all, or dropped half-way."""
    pool, there = open_pool(noise[1], 4), torch.device(device)
    parts = {"own": range(count), "parts": count, "device": there}
    disk, device_ = batches_of(pool, "disk", **parts), batches_of(pool, "device", **parts)
    for step in steps:
        wanted = data.draw(st.integers(1, count), "parts that are taken")
        ahead = disk.at(step)
        for expected, _ in zip(device_.at(step), range(wanted), strict=False):
            assert equal(next(ahead), expected)


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_read_ahead_is_bounded(noise: Noise, count: int) -> None:
    batches = batches_of(open_pool(noise[1], 2), "disk", own=range(count), parts=count)
    for step in (0, 1, 50, 2, 51):
        for _ in batches.at(step):
            assert len(batches._read) == AHEAD


@pytest.mark.parametrize("residency", RESIDENCIES)
def test_another_sampler_takes_over_whatever_was_read_ahead(noise: Noise, residency: str) -> None:
    _, workspace = noise
    pool = open_pool(workspace, 2)
    ids = some(pool)
    batches = batches_of(pool, residency)
    whole(batches, 0)  # from the disk, the next steps are read ahead
    own = ids[::2]
    sampler = batches.sampler.of(own, np.searchsorted(ids, own), batches.sampler.joining(1, own))
    batches.draw_from(sampler)
    fresh = Batches(pool, ids, sampler, CROP, CPU, residency="host")
    for step in range(1, 6):
        assert set(sampler.at(step).patch_B) <= set(own)
        assert equal(whole(batches, step), whole(fresh, step))
