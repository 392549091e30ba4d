"""Tiles: they cover the image, and come back together without seams."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from srprune.wbsr.merging import Grid, spread, strips  # noqa: E402

FEW = settings(deadline=None, max_examples=60)
lengths = st.integers(1, 70)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[int, int]:
    """A tile and an overlap below half of it."""
    tile = draw(st.integers(1, 20))
    return tile, draw(st.integers(0, (tile - 1) // 2))


@given(lengths, cuts(), st.integers(1, 6), st.integers(1, 20))
def test_tiles_cover_a_side_with_as_few_px_as_can_be(
    length: int, cut: tuple[int, int], multiple: int, least: int
) -> None:
    tile, overlap = cut
    tile, least = tile * multiple, min(least, tile * multiple)
    overlap = min(overlap, (tile - 1) // 2)
    side, begins = spread(length, tile, overlap, multiple, least)
    assert begins[0] == 0
    assert begins[-1] + side == length
    if length <= tile:
        assert begins == (0,)
        return
    assert least <= side <= tile
    assert side % multiple == 0
    for here, there in pairwise(begins):
        assert overlap <= here + side - there < side
    # neither fewer tiles would do, nor smaller ones
    assert (len(begins) - 1) * (tile - overlap) + overlap < length
    if multiple == 1 and side > least:
        assert len(begins) * (side - 1) - (len(begins) - 1) * overlap < length


@given(lengths, cuts())
def test_a_px_lies_in_one_strip_at_most_and_in_both_of_its_tiles(
    length: int, cut: tuple[int, int]
) -> None:
    side, begins = spread(length, *cut)
    end = 0
    for number, (at, wide) in enumerate(strips(begins, side, cut[1])):
        assert 0 <= wide <= cut[1]
        assert max(begins[number + 1], end) <= at
        end = at + wide
        assert end <= begins[number] + side


@FEW
@given(lengths, lengths, cuts(), st.integers(1, 4))
def test_cut_and_merged_is_the_image(h: int, w: int, cut: tuple[int, int], scale: int) -> None:
    image = torch.rand(1, 3, h, w, generator=torch.Generator().manual_seed(h * 100 + w))
    grid = Grid.of(h, w, *cut)
    tiles = grid.cut(image)
    assert tiles.shape == (grid.num_tiles, 3, grid.height, grid.width)
    large = tiles.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    expected = image.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    torch.testing.assert_close(grid.merge(large, scale), expected, rtol=0, atol=2e-7)


def test_tiles_stand_row_by_row() -> None:
    image = torch.arange(6.0 * 10).reshape(1, 1, 6, 10)
    grid = Grid.of(6, 10, 4, 1)
    assert (grid.tops, grid.lefts) == ((0, 2), (0, 3, 6))
    tiles = grid.cut(image)
    for number, (top, left) in enumerate((t, x) for t in grid.tops for x in grid.lefts):
        assert torch.equal(tiles[number], image[0, :, top : top + 4, left : left + 4])


@pytest.mark.parametrize("overlap", [1, 4, 7])
def test_a_jump_between_tiles_is_spread_over_the_overlap(overlap: int) -> None:
    scale, tile = 2, 16
    grid = Grid.of(16, 2 * tile - overlap, tile, overlap)
    levels = torch.tensor([0.0, 1.0])[:, None, None, None]
    row = grid.merge(levels.expand(2, 1, 2 * tile, 2 * tile), scale)[0, 0, 5]
    steps = row.diff()
    first = scale * (tile - overlap)
    assert (row[:first] == 0).all()
    assert (row[first + scale * overlap :] == 1).all()
    # even steps, with half a step at each end of the strip
    assert steps.max() <= 1 / (scale * overlap) + 1e-6
    assert (steps >= 0).all()


def test_without_overlap_tiles_stand_side_by_side() -> None:
    grid = Grid.of(4, 8, 4, 0)
    levels = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 1, 4, 4)
    assert grid.merge(levels, 1)[0, 0, 0].tolist() == [0.0] * 4 + [1.0] * 4


def test_tiles_change_over_in_the_middle_of_what_they_share() -> None:
    assert spread(60, 40, 4) == (32, (0, 28))
    assert spread(60, 40, 4, least=40) == (40, (0, 20))
    assert strips((0, 20), 40, 4) == [(28, 4)]
    # tiles at 0, 12 and 14: the last two share 14..28, but the first reaches to 16
    assert strips((0, 12, 14), 16, 4) == [(12, 4), (20, 4)]
    # behind the end of the first, the last two share 3 px alone
    assert strips((0, 3, 14), 16, 4) == [(7, 4), (16, 3)]
