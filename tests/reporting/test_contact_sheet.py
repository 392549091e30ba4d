"""The contact sheet: the right patches, each in its place, and no more of one image than asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srprune.core.errors import InputError
from srprune.reporting.contact_sheet import GAP, HEAD, MARGIN, contact_sheet, extremes

THUMB = 80


def color(patch_id: int) -> tuple[int, int, int]:
    """A colour of its own for each of 200 patches."""
    return (patch_id + 20, 250 - patch_id, 7 * patch_id % 200)


def flat(patch_id: int) -> npt.NDArray[np.uint8]:
    return np.full((96, 96, 3), color(patch_id), dtype=np.uint8)


def cells(path: Path, columns: int, blocks: tuple[int, ...]) -> list[list[tuple[int, ...]]]:
    """Colours in the middle of the thumbnails, block by block of so many patches."""
    found = []
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        cell = (sheet.height - 2 * (MARGIN - GAP) - len(blocks) * (HEAD + GAP)) // sum(
            -(-count // columns) for count in blocks
        )
        top = MARGIN
        for count in blocks:
            block = []
            for place in range(count):
                x = MARGIN + place % columns * (THUMB + GAP) + THUMB // 2
                y = top + HEAD + place // columns * cell + THUMB // 2
                block.append(sheet.getpixel((x, y)))
            found.append(block)
            top += HEAD + GAP + -(-count // columns) * cell
    return found  # type: ignore[return-value]


def test_hardest_above_easiest_below(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    scores = np.random.default_rng(1).permutation(200).astype(np.float64)
    contact_sheet(flat, scores, path, method="mse", columns=5, rows=4, thumb=THUMB)
    falling = np.argsort(-scores).tolist()
    hardest, easiest = cells(path, 5, (10, 10))
    assert hardest == [color(patch_id) for patch_id in falling[:10]]
    assert easiest == [color(patch_id) for patch_id in falling[::-1][:10]]
    assert [each.name for each in tmp_path.iterdir()] == ["sheet.png"]


def test_limit_an_image(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    scores = np.arange(60, 0, -1).astype(np.float64)
    image = np.repeat(np.arange(6, dtype=np.int32), 10)
    contact_sheet(
        flat, scores, path, method="mse", image_N=image, per_image=1, columns=3, rows=2, thumb=THUMB
    )
    hardest, easiest = cells(path, 3, (3, 3))
    assert hardest == [color(0), color(10), color(20)]
    assert easiest == [color(59), color(49), color(39)]


@pytest.mark.parametrize(("num_patches", "blocks"), [(1, (1,)), (2, (1, 1)), (5, (3, 2))])
def test_fewer_patches_than_cells(
    num_patches: int, blocks: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "sheet.png"
    contact_sheet(flat, np.zeros(num_patches), path, method="mse", thumb=THUMB)
    shown = [each for block in cells(path, 8, blocks) for each in block]
    assert sorted(shown) == sorted(color(patch_id) for patch_id in range(num_patches))


def test_only_shown_patches_are_fetched(tmp_path: Path) -> None:
    fetched: list[int] = []

    def patch(patch_id: int) -> npt.NDArray[np.uint8]:
        fetched.append(patch_id)
        return flat(patch_id)

    contact_sheet(patch, np.arange(150.0), tmp_path / "s.png", method="mse", columns=2, rows=2)
    assert fetched == [149, 148, 0, 1]


def test_small_and_oblong_patches(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"

    def patch(patch_id: int) -> npt.NDArray[np.uint8]:
        return flat(patch_id)[:8, :24]

    contact_sheet(patch, np.arange(4.0), path, method="mse", thumb=THUMB)
    assert cells(path, 8, (2, 2)) == [[color(3), color(2)], [color(0), color(1)]]


def test_a_failing_patch_leaves_no_file(tmp_path: Path) -> None:
    def patch(patch_id: int) -> npt.NDArray[np.uint8]:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        contact_sheet(patch, np.arange(4.0), tmp_path / "sheet.png", method="mse")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "layout", [{"rows": 3}, {"rows": 0}, {"columns": 0}, {"thumb": 79}, {"per_image": 0}]
)
def test_layouts_that_cannot_be_drawn(layout: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a contact sheet has"):
        contact_sheet(flat, np.arange(4.0), tmp_path / "s.png", method="mse", **layout)  # type: ignore[arg-type]


def test_no_patches(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no patches"):
        contact_sheet(flat, np.zeros(0), tmp_path / "sheet.png", method="mse")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=40),
    st.integers(1, 10),
    st.integers(1, 4),
)
def test_extremes(pairs: list[tuple[int, int]], count: int, per_image: int) -> None:
    scores = np.array([float(score) for score, _ in pairs])
    image = np.array([number for _, number in pairs])
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    blocks = extremes(scores, count, image, per_image)
    ids = [patch_id for block in blocks for _, patch_id in block]
    assert len(ids) == len(set(ids))
    for block, sign in zip(blocks, (1, -1), strict=True):
        assert len(block) <= count
        assert all(order[rank] == patch_id for rank, patch_id in block)
        ranks = [sign * rank for rank, _ in block]
        assert ranks == sorted(ranks)
        of_image = Counter(int(image[patch_id]) for _, patch_id in block)
        assert max(of_image.values(), default=0) <= per_image
    assert blocks[0][0] == (0, order[0])
