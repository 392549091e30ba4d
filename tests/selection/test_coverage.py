"""Covered pixels: the union of squares, counted without looking at pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srprune.core.patches import ImageRecord, PatchIndex
from srprune.images.grid import grid
from srprune.selection import coverage
from srprune.selection.coverage import covered_pixels, rows_of_images

SIDES = st.sampled_from([48, 60, 84, 132])


def an_index(shapes: list[tuple[int, int]], stride: int) -> PatchIndex:
    images = tuple(ImageRecord(f"{i}.png", *shape, f"{i:032}") for i, shape in enumerate(shapes))
    return PatchIndex(48, stride, images, *grid(shapes, 48, stride))


def painted(index: PatchIndex, ids: list[int]) -> int:
    """Paint every patch and count the pixels."""
    canvas = [np.zeros((image.height, image.width), dtype=bool) for image in index.images]
    for i in ids:
        top, left = index.top_N[i], index.left_N[i]
        canvas[index.image_N[i]][top : top + index.size, left : left + index.size] = True
    return sum(int(image.sum()) for image in canvas)


@settings(deadline=None)
@given(
    st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=6),
    st.sampled_from([12, 24, 36, 48]),
    st.data(),
)
def test_it_is_what_painting_gives(
    shapes: list[tuple[int, int]], stride: int, data: st.DataObject
) -> None:
    index = an_index(shapes, stride)
    ids = data.draw(st.lists(st.integers(0, len(index) - 1), min_size=1, max_size=40))
    assert covered_pixels(index, np.array(ids)) == painted(index, ids)  # any order, even twice
    assert covered_pixels(index) == painted(index, list(range(len(index))))


@pytest.mark.parametrize("limit", ["CELLS", "PATCHES"])
def test_going_in_small_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    index = an_index([(132, 84), (84, 132), (132, 84)] * 5, 12)
    ids = np.arange(0, len(index), 3)
    whole = covered_pixels(index, ids)
    monkeypatch.setattr(coverage, limit, 7)
    assert covered_pixels(index, ids) == whole == painted(index, ids.tolist())


def test_nothing_covers_nothing() -> None:
    assert covered_pixels(an_index([(48, 48)], 48), np.array([], dtype=np.int64)) == 0


def test_rows_of_images_count_by_image() -> None:
    index = an_index([(132, 84), (48, 48), (84, 132)], 24)
    ids = np.array([0, 2, 3, len(index) - 1])
    for some, rows in ((None, np.arange(len(index))), (ids, ids), (ids[:1], ids[:1])):
        starts_I, ends_I = rows_of_images(index, some)
        for image, (start, end) in enumerate(zip(starts_I, ends_I, strict=True)):
            assert index.image_N[rows[start:end]].tolist() == [image] * int(end - start)
        assert (starts_I[0], ends_I[-1]) == (0, len(rows))
