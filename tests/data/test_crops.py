"""Crops of a whole batch at once are those cut and turned one by one, wherever pixels stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from srprune.data.crops import DeviceCrops, HostCrops, turned  # noqa: E402
from srprune.data.layout import RowTable  # noqa: E402

Pixels = npt.NDArray[np.uint8]
Cut = Callable[..., Pixels]

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def host(flat: Pixels, table: RowTable, side: int) -> Cut:
    return HostCrops(flat, table, side).cut


def on(name: str) -> Callable[[Pixels, RowTable, int], Cut]:
    device = torch.device(name)

    def place(flat: Pixels, table: RowTable, side: int) -> Cut:
        crops = DeviceCrops(torch.from_numpy(flat).to(device), table, side)

        def cut(*picks: Any) -> Pixels:
            result = crops.cut(*(torch.from_numpy(each).to(device) for each in picks))
            assert result.device.type == device.type
            pixels: Pixels = result.cpu().numpy()
            return pixels

        return cut

    return place


PLACES = pytest.mark.parametrize(
    "place",
    [
        pytest.param(host, id="host"),
        pytest.param(on("cpu"), id="device-cpu"),
        pytest.param(on("cuda"), id="device-cuda", marks=NEEDS_CUDA),
    ],
)


def scattered(patches: Pixels, band: int, seed: int = 0) -> tuple[Pixels, RowTable]:
    """The bands of patches in any order, each with a row distance and a gap of its own."""
    rng = np.random.default_rng(seed)
    count, size = patches.shape[:2]
    base = np.zeros((count, size // band), dtype=np.int64)
    stride = np.zeros_like(base)
    flat: list[Pixels] = []
    end = 0
    for number in rng.permutation(base.size):
        patch, group = divmod(int(number), size // band)
        margin, gap = rng.integers(0, 4, size=2)
        rows = patches[patch, group * band : (group + 1) * band].reshape(band, -1)
        wide = np.pad(rows, ((0, 0), (0, margin)), constant_values=77).ravel()
        base[patch, group], stride[patch, group] = end + gap, rows.shape[1] + margin
        wide = wide[: len(wide) - margin]  # the last px of the last patch is the last byte
        flat += [np.full(gap, 33, dtype=np.uint8), wide]
        end += gap + len(wide)
    return np.concatenate(flat), RowTable(base, stride, band)


def noise(count: int, size: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(256, size=(count, size, size, 3), dtype=np.uint8)


def by_hand(pixels: Pixels, turn: int) -> Pixels:
    """Turn by turn, as the attribute of Picks says."""
    for _ in range(turn % 4):
        pixels = pixels.transpose(1, 0, 2)[::-1]  # a quarter turn counter-clockwise
    return pixels[:, ::-1] if turn >= 4 else pixels


@PLACES
@settings(deadline=None)
@given(st.data())
def test_crops_are_those_cut_one_by_one(
    place: Callable[[Pixels, RowTable, int], Cut], data: st.DataObject
) -> None:
    band = data.draw(st.integers(1, 5), "band")
    size = band * data.draw(st.integers(1, 4), "bands")
    side = data.draw(st.integers(1, size), "side")
    count = data.draw(st.integers(1, 4), "patches")
    corner = st.integers(0, size - side)
    pick = st.tuples(st.integers(0, count - 1), corner, corner, st.integers(0, 7))
    picks = data.draw(st.lists(pick, min_size=1, max_size=20), "picks")
    patches = noise(count, size)
    cut = place(*scattered(patches, band, data.draw(st.integers(0, 9), "seed")), side)
    crops = cut(*np.array(picks, dtype=np.int64).T.copy())
    expected = [by_hand(patches[p][y : y + side, x : x + side], turn) for p, y, x, turn in picks]
    np.testing.assert_array_equal(crops, np.stack(expected))


@PLACES
def test_the_first_and_the_last_byte_are_within_reach(
    place: Callable[[Pixels, RowTable, int], Cut],
) -> None:
    flat = noise(1, 6).ravel()
    table = RowTable(np.array([[0]]), np.array([[18]]), band=6)
    first, last = np.array([0, 0]), np.array([0, 3])
    crops = place(flat, table, 3)(first, last, last, first)
    assert crops[0].ravel()[0] == flat[0]
    assert crops[1].ravel()[-1] == flat[-1]


def test_crops_from_a_map_are_memory_of_their_own(tmp_path: Path) -> None:
    patches = noise(2, 8)
    patches.tofile(tmp_path / "flat")
    flat = np.memmap(tmp_path / "flat", dtype=np.uint8, mode="r")
    table = RowTable(np.array([[0], [192]]), np.full((2, 1), 24), band=8)
    picks = np.array([1, 0]), np.array([2, 0]), np.array([0, 3]), np.array([0, 0])
    crops = HostCrops(flat, table, 5).cut(*picks)
    np.testing.assert_array_equal(crops[0], patches[1, 2:7, :5])
    assert crops.dtype == np.uint8
    assert crops.flags.c_contiguous
    crops[:] = 0  # the map cannot be written: these are copies
    np.testing.assert_array_equal(HostCrops(flat, table, 5).cut(*picks)[0], patches[1, 2:7, :5])


def test_the_eight_turns_are_eight_and_keep_every_pixel() -> None:
    pixels = np.arange(5 * 5 * 3, dtype=np.uint8).reshape(5, 5, 3)
    results = [turned(pixels, turn) for turn in range(8)]
    assert len({result.tobytes() for result in results}) == 8
    for turn, result in enumerate(results):
        assert np.array_equal(result, by_hand(pixels, turn))
        assert sorted(map(tuple, result.reshape(-1, 3))) == sorted(
            map(tuple, pixels.reshape(-1, 3))
        )
    assert np.shares_memory(results[7], pixels)
