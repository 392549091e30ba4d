"""The page as a file: what is embedded, how large it is, and that nothing in it can do harm."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy.stats import spearmanr

from srprune.core.artifact import Header
from srprune.core.error_maps import ErrorMaps
from srprune.core.patches import ImageRecord, PatchIndex
from srprune.core.scores import ScoreTable
from srprune.images.grid import grid
from srprune.reporting.explorer.content import Content, NamedScores, Preset
from srprune.reporting.explorer.page import SCRIPTS, write_explorer
from srprune.reporting.explorer.sprites import COLUMNS, PER_SHEET, THUMBS, map_sheets, patch_sheets
from srprune.reporting.overlap import rank_correlation

SHAPES = ((96, 144), (120, 96))
NAMES = ("a.png", "</script><script>alert(1)</script>.png")


def pixels(image: int) -> npt.NDArray[np.uint8]:
    """Each 24 px square of each image has a colour of its own."""
    height, width = SHAPES[image]
    y, x = np.mgrid[:height, :width] // 24
    return np.stack([60 + 40 * y, 60 + 30 * x, 255 * image + 0 * y], axis=2).astype(np.uint8)


def header(kind: str, **params: Any) -> Header:
    return Header(kind, hashlib.sha256(kind.encode()).hexdigest()[:16], {}, params)


def patch_index(size: int = 24, stride: int = 24) -> PatchIndex:
    images = tuple(
        ImageRecord(name, *shape, 32 * "0") for name, shape in zip(NAMES, SHAPES, strict=True)
    )
    return PatchIndex(size, stride, images, *grid(SHAPES, size, stride), header("PatchIndex"))


def content(**more: Any) -> Content:
    index = patch_index()
    scores_N = np.random.default_rng(0).permutation(len(index)).astype(np.float64)
    tables = [NamedScores("mse_x2", ScoreTable(scores_N, header("ScoreTable", method="mse")))]
    return Content(index, tables, more.pop("presets", []), pixels, **more)


def embedded(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


def array(text: str, dtype: str) -> npt.NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), dtype=dtype)


def sheet(path: Path, name: str) -> npt.NDArray[np.uint8]:
    found = re.search(f'id="{name}">([^<]*)<', path.read_text(encoding="utf-8"))
    assert found
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as picture:
        assert picture.format == "WEBP"
        return np.asarray(picture.convert("RGB"))


def test_the_page_holds_every_number_exactly(tmp_path: Path) -> None:
    shown, path = content(), tmp_path / "page.html"
    write_explorer(path, shown)
    data = embedded(path)
    for key in ("image_N", "top_N", "left_N"):
        assert np.array_equal(array(data[key], "<u4"), getattr(shown.index, key))
    scores_N = shown.tables[0].table.scores_N
    assert np.array_equal(array(data["tables"][0]["scores_N"], "<f8"), scores_N)
    assert [image["path"] for image in data["images"]] == list(NAMES)
    assert data["patches"] == shown.index.fingerprint
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_the_thumbnail_of_a_patch_stands_where_the_page_looks_for_it(tmp_path: Path) -> None:
    shown, path = content(), tmp_path / "page.html"
    side = write_explorer(path, shown).side
    data = embedded(path)
    place_N = array(data["place_N"], "<u4")
    assert sorted(place_N) == list(range(len(shown.index)))
    tiles = sheet(path, "thumb-0").astype(int)
    for patch, place in enumerate(place_N):
        row, column = divmod(int(place), COLUMNS)
        middle = tiles[row * side + side // 2, column * side + side // 2]
        index = shown.index
        expected = pixels(int(index.image_N[patch]))[index.top_N[patch], index.left_N[patch]]
        assert np.abs(middle - expected).max() < 12, patch


def test_same_content_same_bytes_with_any_number_of_threads(tmp_path: Path) -> None:
    write_explorer(tmp_path / "a.html", content())
    write_explorer(tmp_path / "b.html", content(), workers=3)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_nothing_embedded_can_end_its_script(tmp_path: Path) -> None:
    preset = Preset("<b>@@CODE@@", np.arange(3), "f", "</script>", None, "random", 0)
    write_explorer(tmp_path / "page.html", content(presets=[preset], options="</script>"))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert embedded(tmp_path / "page.html")["presets"][0]["name"] == "<b>@@CODE@@"
    assert "alert(1)</script>" not in text
    scripts = text.count("</script>")
    write_explorer(tmp_path / "plain.html", content())
    assert (tmp_path / "plain.html").read_text(encoding="utf-8").count("</script>") == scripts


def test_only_our_own_code_may_run(tmp_path: Path) -> None:
    write_explorer(tmp_path / "page.html", content())
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    code, style = (
        re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("script", "style")
    )
    assert policy and code and style
    assert policy[1].startswith("default-src 'none'; img-src blob:;")
    for kind, block in (("script", code), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(block[1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy[1]


def test_the_page_asks_no_network_for_anything(tmp_path: Path) -> None:
    write_explorer(tmp_path / "page.html", content())
    text = re.sub(r">[A-Za-z0-9+/=]+<", "><", (tmp_path / "page.html").read_text("utf-8"))
    assert re.findall(r"https?://|@import|\bsrc=|url\((?!\"\$\{)", text) == []


def test_names_are_quoted_for_the_shell(tmp_path: Path) -> None:
    plain = content()
    named = NamedScores("it's; rm", plain.tables[0].table)
    write_explorer(tmp_path / "page.html", Content(plain.index, [named], [], pixels))
    assert embedded(tmp_path / "page.html")["tables"][0]["quoted"] == "'it'\"'\"'s; rm'"


@pytest.mark.parametrize("kept", [[0], [7, 8, 9], list(range(44))])
def test_a_preset_is_one_bit_a_patch(tmp_path: Path, kept: list[int]) -> None:
    preset = Preset("mine", np.array(kept), "f", "srprune select", None, "random", 0)
    write_explorer(tmp_path / "page.html", content(presets=[preset]))
    bits = array(embedded(tmp_path / "page.html")["presets"][0]["kept_bits"], "u1")
    assert np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist() == kept


def test_error_maps_keep_their_order_and_stand_where_thumbnails_stand() -> None:
    cells = np.full((300, 16, 16), 1e-3, np.float32)
    cells[7] = 1.0
    order = np.r_[7, np.delete(np.arange(300), 7)]
    sheets, low, high = map_sheets(cells, order)
    assert (low, high) == (pytest.approx(1e-3), pytest.approx(1.0))
    assert len(sheets.files) == -(-300 // PER_SHEET)
    with Image.open(io.BytesIO(sheets.files[0])) as picture:
        grey = np.asarray(picture.convert("L"))
    assert grey[:16, :16].min() > 240
    assert grey[:16, 16:].max() < 15


def test_error_maps_of_zeros_can_be_drawn() -> None:
    sheets, low, high = map_sheets(np.zeros((3, 16, 16), np.float32), np.arange(3))
    assert len(sheets.files) == 1
    assert 0 < low < high


def test_maps_are_embedded_for_the_table_that_has_them(tmp_path: Path) -> None:
    plain = content()
    table = plain.tables[0].table
    maps = ErrorMaps(np.ones((len(plain.index), 16, 16), np.float32), header("ErrorMaps"))
    tables = [NamedScores("one", table), NamedScores("two", table, maps)]
    write_explorer(tmp_path / "page.html", Content(plain.index, tables, [], pixels))
    one, two = embedded(tmp_path / "page.html")["tables"]
    assert "maps" not in one
    assert two["maps"]["side"] == 16
    assert sheet(tmp_path / "page.html", "map-1-0").shape[1] == 16 * COLUMNS


def noise(image: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(image)
    return rng.integers(0, 256, (*SHAPES[image], 3), dtype=np.uint8)


def test_thumbnails_shrink_until_they_fit() -> None:
    index = patch_index(96, 12)
    order = np.arange(len(index))
    sizes = []
    for budget in (10**6, 30_000, 8_000, 1):
        sheets = patch_sheets(index, noise, order, budget)
        assert sheets.num_bytes <= budget or (sheets.side, sheets.quality) == THUMBS[-1]
        sizes.append((sheets.side, sheets.quality))
    assert sizes[0] == THUMBS[0]
    assert sizes[-1] == THUMBS[-1]
    assert sizes == sorted(sizes, reverse=True)


def test_a_small_limit_makes_a_small_file(tmp_path: Path) -> None:
    write_explorer(tmp_path / "large.html", content())
    size = (tmp_path / "large.html").stat().st_size
    shown = Content(patch_index(48, 12), content().tables, [], noise)
    scores = ScoreTable(np.arange(len(shown.index), dtype=float), shown.tables[0].table.header)
    shown = Content(shown.index, [NamedScores("s", scores)], [], noise)
    write_explorer(tmp_path / "small.html", shown, limit=size + 60_000)
    assert (tmp_path / "small.html").stat().st_size <= size + 60_000


tables = hnp.arrays(
    np.float64, st.tuples(st.just(2), st.integers(2, 30)), elements=st.integers(-3, 9)
)


@given(tables)
def test_rank_correlation_is_scipys(pair: npt.NDArray[np.float64]) -> None:
    ours = rank_correlation(list(pair))
    if any(len(np.unique(scores)) == 1 for scores in pair):
        assert ours[0][1] is None
    else:
        assert ours[0][1] == pytest.approx(spearmanr(*pair).statistic, abs=1e-12)
        assert ours[0][0] == pytest.approx(1)
        assert ours[1][0] == ours[0][1]


def test_every_file_of_the_page_is_joined_into_it_and_can_be_read() -> None:
    import srprune.reporting.explorer as package

    folder = Path(package.__file__).parent
    assert {path.name for path in folder.glob("*.js")} == set(SCRIPTS)
    for path in folder.iterdir():
        if path.is_file():
            assert len(path.read_text(encoding="utf-8").splitlines()) < 400, path.name
