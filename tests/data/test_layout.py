"""Where pixels stand: every address leads to the right pixels, and none stands twice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from srprune.core.patches import ImageRecord, PatchIndex
from srprune.data.layout import RowTable, in_store, packed
from srprune.images.grid import grid
from srprune.images.store import PixelStore
from srprune.selection.coverage import covered_pixels

Ints = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """A core-set of some images; sides in HR px."""

    shapes: list[tuple[int, int]]
    size: int
    stride: int
    kept: list[int]
    scale: int

    @property
    def index(self) -> PatchIndex:
        images = tuple(ImageRecord(f"{i}.png", *s, str(i)) for i, s in enumerate(self.shapes))
        corners = grid(self.shapes, self.size, self.stride)
        return PatchIndex(self.size, self.stride, images, *corners)

    @property
    def ids(self) -> Ints:
        return np.array(self.kept, dtype=np.int64)

    def images(self) -> list[Pixels]:
        """Noise at the scale of the case."""
        rng = np.random.default_rng(5)
        shapes = [(h // self.scale, w // self.scale, 3) for h, w in self.shapes]
        return [rng.integers(256, size=shape, dtype=np.uint8) for shape in shapes]

    def covered(self) -> list[npt.NDArray[np.bool_]]:
        """Which px of each image belong to a patch."""
        masks = [np.zeros(image.shape[:2], dtype=bool) for image in self.images()]
        for patch in self.kept:
            masks[self.index.image_N[patch]][self.window(patch)] = True
        return masks

    def window(self, patch: int) -> tuple[slice, slice]:
        index, side = self.index, self.size // self.scale
        top, left = index.top_N[patch] // self.scale, index.left_N[patch] // self.scale
        return slice(top, top + side), slice(left, left + side)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    size = 12 * draw(st.integers(1, 4))
    stride = 12 * draw(st.integers(1, size // 12))
    side = st.integers(size // 12, 8).map(lambda twelves: 12 * twelves)
    shapes = draw(st.lists(st.tuples(side, side), min_size=1, max_size=3))
    patches = st.integers(0, len(grid(shapes, size, stride)[0]) - 1)
    kept = draw(st.lists(patches, min_size=1, max_size=25, unique=True))
    return Case(shapes, size, stride, kept, draw(st.sampled_from([1, 2, 3, 4])))


def stored(path: Path, images: list[Pixels]) -> PixelStore:
    """A store of these images, with a hole before each, as bad images leave."""
    hole = np.full(7, 99, dtype=np.uint8)
    path.unlink(missing_ok=True)  # a map of the last example may be open
    np.concatenate([part for image in images for part in (hole, image.ravel())]).tofile(path)
    ends = np.cumsum([len(hole) + image.size for image in images])
    starts = [int(end) - image.size for end, image in zip(ends, images, strict=True)]
    return PixelStore(path, [image.shape[:2] for image in images], starts)


def filled(case: Case, store: PixelStore, before: int = 0) -> Pixels:
    layout = packed(case.index, case.ids, case.scale)
    out = np.full(layout.num_bytes, before, dtype=np.uint8)
    layout.fill(store, out)
    return out


def rows_at(flat: Pixels, addresses: Ints, side: int) -> Pixels:
    return np.stack([[flat[a : a + 3 * side].reshape(side, 3) for a in one] for one in addresses])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layout") / "pixels.u8"


# --- packed ---

# windows at 0, 12 and 24 both ways: the middle of the image is covered by all of them
DENSE = Case([(60, 60), (36, 48)], 36, 12, [4, 0, 8, 2, 9], 1)
# the edge window at 60 is 12 px from its neighbour, and two patches do not touch
FLUSH = Case([(84, 108)], 24, 24, [0, 4, 3, 19], 2)


@settings(deadline=None)
@example(case=DENSE, data=None)
@example(case=FLUSH, data=None)
@given(cases(), st.data())
def test_every_address_leads_to_the_pixels_of_its_patch(
    path: Path, case: Case, data: st.DataObject | None
) -> None:
    images = case.images()
    store = stored(path, images)
    patch_side = case.size // case.scale
    side = data.draw(st.integers(1, patch_side)) if data else patch_side
    top, left = (data.draw(st.integers(0, patch_side - side)) if data else 0 for _ in range(2))
    places = np.arange(len(case.kept))[::-1]  # any order and any part of them
    corners = np.full(len(places), top), np.full(len(places), left)
    expected = [
        images[case.index.image_N[patch]][case.window(patch)][top : top + side, left : left + side]
        for patch in case.ids[places]
    ]
    for flat, table in (
        (filled(case, store), packed(case.index, case.ids, case.scale).table),
        (store.flat, in_store(case.index, case.ids, store, case.scale)),
    ):
        addresses = table.addresses(places, *corners, side)
        np.testing.assert_array_equal(rows_at(flat, addresses, side), np.stack(expected))


@settings(deadline=None)
@example(case=DENSE)
@example(case=FLUSH)
@given(cases())
def test_each_covered_px_stands_once(path: Path, case: Case) -> None:
    layout = packed(case.index, case.ids, case.scale)
    covered = covered_pixels(case.index, case.ids)
    assert layout.num_bytes == 3 * covered // case.scale**2
    zero = np.zeros(len(case.kept), dtype=np.int64)
    side = case.size // case.scale
    starts = layout.table.addresses(np.arange(len(case.kept)), zero, zero, side)
    every = np.unique(starts[..., None] + 3 * np.arange(side))
    np.testing.assert_array_equal(every, np.arange(0, layout.num_bytes, 3))  # no holes either
    store = stored(path, case.images())
    np.testing.assert_array_equal(filled(case, store, 0), filled(case, store, 255))


@settings(deadline=None)
@example(case=DENSE)
@example(case=FLUSH)
@given(cases())
def test_no_px_outside_the_patches_is_read(path: Path, case: Case) -> None:
    images, masks = case.images(), case.covered()
    store = stored(path, images)
    packed_pixels = filled(case, store)
    blank = [np.where(mask[..., None], image, 0) for image, mask in zip(images, masks, strict=True)]
    np.testing.assert_array_equal(filled(case, stored(path, blank)), packed_pixels)
    read = [np.zeros_like(mask, dtype=int) for mask in masks]
    for block in packed(case.index, case.ids, case.scale).blocks:
        read[block.image][slice(*block.rows), slice(*block.columns)] += 1
    for times, mask in zip(read, masks, strict=True):
        np.testing.assert_array_equal(times, mask)  # and those inside exactly once


def test_every_covered_px_matters(path: Path) -> None:
    images = FLUSH.images()
    before = filled(FLUSH, stored(path, images))
    others = [255 - image for image in images]
    np.testing.assert_array_equal(filled(FLUSH, stored(path, others)), 255 - before)


@settings(deadline=None)
@given(cases(), st.integers(0, 20_000))
def test_pieces_are_the_whole_and_as_small_as_images_let_them(
    path: Path, case: Case, most: int
) -> None:
    store, parts = stored(path, case.images()), list[Pixels]()
    for start, piece in packed(case.index, case.ids, case.scale).pieces(most):
        assert start == sum(len(part) for part in parts)
        assert piece.num_bytes <= most or len({block.image for block in piece.blocks}) == 1
        parts.append(np.empty(piece.num_bytes, dtype=np.uint8))
        piece.fill(store, parts[-1])
    np.testing.assert_array_equal(np.concatenate(parts), filled(case, store))


def test_two_patches_by_example() -> None:
    """Patches of 24 px at (0, 0) and (12, 12): bands of 12 rows, 24, 36 and 24 px wide."""
    case = Case([(36, 36)], 24, 12, [0, 3], 1)
    layout = packed(case.index, case.ids, 1)
    assert layout.num_bytes == 3 * (12 * 24 + 12 * 36 + 12 * 24)
    second, third = 3 * 12 * 24, 3 * 12 * (24 + 36)
    assert layout.table.band == 12
    assert layout.table.base_PG.tolist() == [[0, second], [second + 3 * 12, third]]
    assert layout.table.stride_PG.tolist() == [[3 * 24, 3 * 36], [3 * 36, 3 * 24]]
    assert packed(case.index, case.ids, 4).num_bytes == layout.num_bytes // 16


def test_patches_that_are_asked_for_twice_take_room_once(path: Path) -> None:
    twice = Case([(48, 48)], 24, 12, [3, 0, 3], 3)
    once = Case([(48, 48)], 24, 12, [3, 0], 3)
    store = stored(path, twice.images())
    np.testing.assert_array_equal(filled(twice, store), filled(once, store))
    table = packed(twice.index, twice.ids, 3).table
    assert np.array_equal(table.base_PG[0], table.base_PG[2])


def test_the_whole_of_an_image_is_the_image(path: Path) -> None:
    """Patches that touch are joined: one band, copied at once."""
    case = Case([(24, 96)], 24, 24, list(range(4)), 2)
    images = case.images()
    assert len(packed(case.index, case.ids, 2).blocks) == 1
    np.testing.assert_array_equal(filled(case, stored(path, images)), images[0].ravel())


# --- addresses ---


def test_addresses_step_from_band_to_band() -> None:
    table = RowTable(np.array([[1000, 50], [0, 400]]), np.array([[30, 60], [9, 12]]), band=2)
    corner = np.array([1, 0]), np.array([4, 0])
    addresses = table.addresses(np.array([0, 1]), *corner, 3)
    assert addresses.tolist() == [[1030 + 12, 50 + 12, 110 + 12], [0, 9, 400]]
    assert table.base_PG.tolist() == [[1000, 50], [0, 400]]  # not written to


def test_addresses_go_beyond_two_gigabytes(tmp_path: Path) -> None:
    """Rows, columns and images of an index are int32; bytes are more."""
    side, size = 36_000, 6_000
    case = Case([(side, side), (size, size)], size, size, list(range(37)), 1)
    layout = packed(case.index, case.ids, 1)
    assert layout.num_bytes == 3 * (side**2 + size**2) > 2**31
    last = np.array([36])
    (row,) = layout.table.addresses(last, np.array([size - 1]), np.array([size - 1]), 1)
    assert row == layout.num_bytes - 3
    sparse = tmp_path / "sparse.u8"
    with sparse.open("wb") as file:
        file.truncate(layout.num_bytes)
    store = PixelStore(sparse, case.shapes, [0, 3 * side**2])
    table = in_store(case.index, case.ids, store, 1)
    (row,) = table.addresses(last, np.array([size - 1]), np.array([size - 1]), 1)
    assert row == layout.num_bytes - 3
    (row,) = table.addresses(last - 1, np.array([size - 1]), np.array([size - 1]), 1)
    assert row == 3 * side**2 - 3
