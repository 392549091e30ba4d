"""The patch grid: every pixel covered, nothing outside, and DIV2K's 32,592 patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from srprune.core.config import ExtractConfig
from srprune.core.errors import InputError
from srprune.core.workspace import Workspace
from srprune.images.grid import aligned, check_grid, grid, starts, windows
from srprune.stages.extract import ImageSource, extract

# Patches per image of DIV2K's 800 training images with 480/240, and how many images have as many:
# counted in BasicSR's meta_info_DIV2K800sub_GT.txt. One side is 2040 px, which has 8 windows.
DIV2K = {40: 607, 48: 102, 32: 55, 24: 13, 64: 12, 56: 10, 16: 1}
OTHER_SIDE = {16: 720, 24: 900, 32: 1152, 40: 1356, 48: 1536, 56: 1848, 64: 2040}

TWELVES = st.integers(1, 20).map(lambda n: 12 * n)


def div2k_sizes() -> list[tuple[int, int]]:
    """800 (height, width) with DIV2K's counts, landscape and portrait in turn."""
    sides = [OTHER_SIDE[count] for count, images in DIV2K.items() for _ in range(images)]
    return [(side, 2040) if i % 3 else (2040, side) for i, side in enumerate(sides)]


def test_div2k_has_32592_patches() -> None:
    sizes = div2k_sizes()
    image_N, top_N, left_N = grid(sizes, 480, 240)
    counts = np.bincount(image_N)
    assert len(sizes) == 800 and sum(count * images for count, images in DIV2K.items()) == 32_592
    assert dict(zip(*np.unique(counts, return_counts=True), strict=True)) == DIV2K
    assert len(image_N) == len(top_N) == len(left_N) == 32_592


@pytest.mark.parametrize(
    ("side", "count"),
    [(480, 1), (481, 1), (491, 1), (492, 2), (720, 2), (732, 3), (1356, 5), (1367, 5), (2040, 8)],
)
def test_windows_along_a_side(side: int, count: int) -> None:
    assert len(starts(aligned(side), 480, 240)) == count


def test_the_rule_by_example() -> None:
    assert starts(2040, 480, 240).tolist() == [0, 240, 480, 720, 960, 1200, 1440, 1560]
    assert windows(60, 84, 48, 24).tolist() == [
        [0, 0], [0, 24], [0, 36], [12, 0], [12, 24], [12, 36],
    ]  # fmt: skip


def test_a_real_extraction_of_800_images_has_32592_patches(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for i, (height, width) in enumerate(div2k_sizes()):  # one tenth, not cut to 12 yet
        shape = (-(-height // 120) * 12 + i % 12, -(-width // 120) * 12 + i % 7)
        image = Image.fromarray(np.full(shape, i % 256, dtype=np.uint8))
        image.save(folder / f"{i:04d}.png", compress_level=1)
    index = extract(
        ImageSource.find(str(folder)),
        ExtractConfig(size=48, stride=24),
        Workspace(tmp_path / "w"),
        workers=2,
    )
    assert len(index) == 32_592
    assert [image.path for image in index.images] == [f"{i:04d}.png" for i in range(800)]
    counts = np.unique(index.patches_per_image, return_counts=True)
    assert dict(zip(*counts, strict=True)) == DIV2K


@given(TWELVES, TWELVES, st.integers(0, 400), st.integers(0, 400))
def test_windows_cover_the_aligned_image_in_order(
    size: int, stride: int, more_height: int, more_width: int
) -> None:
    assume(stride <= size)
    height, width = aligned(size + more_height), aligned(size + more_width)
    corners = windows(height, width, size, stride)
    covered = np.zeros((height // 12, width // 12), dtype=bool)
    for top, left in (corners // 12).tolist():
        covered[top : top + size // 12, left : left + size // 12] = True
    assert covered.all()
    assert (corners % 12 == 0).all() and (corners >= 0).all()
    assert corners[-1].tolist() == [height - size, width - size]
    assert (corners <= [height - size, width - size]).all()
    rows = list(map(tuple, corners.tolist()))
    assert rows == sorted(set(rows))  # row by row, none twice


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1000))
def test_starts_are_multiples_of_the_stride_and_one_flush_with_the_edge(
    size: int, stride: int, more: int
) -> None:
    positions = starts(size + more, size, stride).tolist()
    inner = [p for p in range(0, more + 1, stride)]
    assert positions == inner + ([more] if inner[-1] < more else [])


@given(st.lists(st.tuples(st.integers(4, 12), st.integers(4, 12)), min_size=1, max_size=5))
def test_a_grid_of_many_images_is_those_of_each_one_after_the_other(
    twelves: list[tuple[int, int]],
) -> None:
    shapes = [(12 * height, 12 * width) for height, width in twelves]
    image_N, top_N, left_N = grid(shapes, 48, 24)
    assert image_N.dtype == top_N.dtype == left_N.dtype == np.int32
    for i, (height, width) in enumerate(shapes):
        own = np.stack([top_N[image_N == i], left_N[image_N == i]], axis=1)
        np.testing.assert_array_equal(own, windows(height, width, 48, 24))
    assert (np.diff(image_N) >= 0).all()


@given(st.integers(0, 10**6))
def test_aligned_cuts_less_than_12(side: int) -> None:
    assert aligned(side) % 12 == 0 and 0 <= side - aligned(side) < 12


@pytest.mark.parametrize(("size", "stride"), [(480, 240), (12, 12), (96, 84)])
def test_grids_of_twelves_are_fine(size: int, stride: int) -> None:
    check_grid(size, stride)


@pytest.mark.parametrize(
    ("size", "stride", "said"),
    [
        (100, 48, "size is 100; .* multiple of 12 px.* Near: 96"),
        (0, 12, "size is 0; .* Near: 12"),
        (-12, 12, "size is -12"),
        (48, 20, "stride is 20; .* Near: 12"),
        (48, 0, "stride is 0"),
        (48, 60, "stride is 60, over the size 48: pixels between patches would be lost"),
    ],
)
def test_other_grids_are_refused(size: int, stride: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_grid(size, stride)
