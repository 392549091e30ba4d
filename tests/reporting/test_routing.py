"""The map of dynamic inference: each tile in the colour of its subnet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srprune.core.errors import InputError
from srprune.core.tile_map import TileMap
from srprune.reporting.routing import MARGIN, TITLE, colours, routing_map

LABELS = ("w36_d4", "w52_d8", "w64_d16")


def two_by_three(**options: object) -> TileMap:
    """Tiles of 200 px of an image of 380x560, 20 px shared."""
    facts = {
        "tops_T": np.repeat([0, 180], 3),
        "lefts_T": np.tile([0, 180, 360], 2),
        "height": 200,
        "width": 200,
        "subnet_T": np.array([0, 1, 2, 2, 1, 0]),
        "labels": LABELS,
        "flops_share": 0.5,
        **options,
    }
    return TileMap(**facts)  # type: ignore[arg-type]


def drawn(path: Path, routing: TileMap, height: int = 380, width: int = 560) -> np.ndarray:
    flat = np.full((height, width, 3), 128, dtype=np.uint8)
    routing_map(flat, routing, path, title="chelsea")
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_tile_has_the_colour_of_its_subnet(tmp_path: Path) -> None:
    pixels = drawn(tmp_path / "map.png", two_by_three()).astype(int)
    top, left = MARGIN + TITLE - 10, MARGIN
    inner = pixels[top : top + 380, left : left + 560]
    shown = [inner[y, x] for y in (100, 280) for x in (100, 280, 460)]
    cheap, middle, dear = shown[:3]
    np.testing.assert_array_equal(shown, [cheap, middle, dear, dear, middle, cheap])
    assert cheap.sum() < middle.sum() < dear.sum()
    tints = np.array(colours(3))
    # half way between the grey and the tint, hue kept
    assert np.abs(cheap - dear - 0.55 * (tints[0] - tints[2])).max() <= 1
    # the tiles meet in the middle of the 20 px that they share
    assert (inner[100, 190] == 255).all()
    assert (inner[190, 100] == 255).all()
    assert (inner[100, 185] == cheap).all()
    assert (inner[100, 195] == middle).all()


def test_small_images_are_enlarged_and_one_tile_is_no_special_case(tmp_path: Path) -> None:
    one = {"tops_T": np.array([0]), "lefts_T": np.array([0]), "subnet_T": np.array([2])}
    pixels = drawn(tmp_path / "map.png", two_by_three(height=30, width=40, **one), 30, 40)
    assert pixels.shape[1] >= 480
    one_label = two_by_three(height=30, width=40, **{**one, "subnet_T": np.array([0])})
    drawn(tmp_path / "map.png", one_label._replace(labels=("all",)), 30, 40)


def test_the_same_map_is_the_same_file(tmp_path: Path) -> None:
    drawn(tmp_path / "a.png", two_by_three())
    drawn(tmp_path / "b.png", two_by_three())
    drawn(tmp_path / "c.png", two_by_three(flops_share=0.51))
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "c.png"]


def test_colours_get_lighter_with_cost() -> None:
    assert len(set(colours(9))) == 9
    lightness = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in colours(9)]
    assert lightness == sorted(lightness)
    assert len(colours(1)) == 1


def test_grey_images_are_drawn_too(tmp_path: Path) -> None:
    routing_map(np.zeros((380, 560), np.uint8), two_by_three(), tmp_path / "g.png", title="grey")
    assert (tmp_path / "g.png").is_file()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"height": 199}, "cover 560x379 px, but the LR image has 560x380"),
        ({"labels": LABELS[:2]}, "subnet 2, but there are 2 labels"),
    ],
)
def test_tiles_of_another_image(tmp_path: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        drawn(tmp_path / "map.png", two_by_three(**options))
    assert list(tmp_path.iterdir()) == []
