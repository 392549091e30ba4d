"""The page in a real browser: what a person sees and does, against what Python says.

Needs the package playwright and a Chromium: that of ``SRPRUNE_CHROMIUM``, of the system, or
playwright's own.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srprune.core.artifact import Header
from srprune.core.error_maps import ErrorMaps
from srprune.core.patches import ImageRecord, PatchIndex
from srprune.core.scores import ScoreTable
from srprune.images.grid import grid
from srprune.reporting.explorer.content import Content, NamedScores, Preset
from srprune.reporting.explorer.page import write_explorer
from srprune.selection.rank_window import portion, window

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NAMES = ("<img src=x onerror=window.harm=1>.png", "a.png", "b & c.png", "img1.png", "img10.png")
SHAPE = (144, 192)
SIZE, STRIDE = 24, 12
RNG = np.random.default_rng(5)
SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => list.getEntries().forEach((e) => window.shifts.push(e.value)))
  .observe({ type: "layout-shift", buffered: true });
"""


def picture(image: int) -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    waves = 128 + 90 * np.sin(x / (2 + image)) * np.cos(y / 9)
    return np.stack([waves, waves / 2 + 20 * image, 255 - waves], axis=2).astype(np.uint8)


def header(kind: str, **params: Any) -> Header:
    return Header(kind, f"{abs(hash(kind)):016x}"[:16], {}, params)


IMAGES = tuple(ImageRecord(name, *SHAPE, 32 * "0") for name in NAMES)
GRID = grid([SHAPE] * len(NAMES), SIZE, STRIDE)
INDEX = PatchIndex(SIZE, STRIDE, IMAGES, *GRID, Header("PatchIndex", 16 * "a", {}, {}))
N = len(INDEX)
LOSS = np.round(RNG.lognormal(-6, 1.5, N), 4)  # with ties, some of them 0
OTHER = RNG.normal(0, 1, N)  # with negative scores
MAPS = ErrorMaps(RNG.random((N, 16, 16), dtype=np.float32), Header("ErrorMaps", "", {}, {}))
RANDOM = np.sort(RNG.choice(N, N // 3, replace=False))


def table(scores: npt.NDArray[np.float64], method: str) -> ScoreTable:
    return ScoreTable(scores, Header("ScoreTable", 16 * "b", {}, {"method": method}))


def order(scores: npt.NDArray[np.float64], rule: str) -> npt.NDArray[np.intp]:
    return np.argsort(-scores if rule == "des" else scores, kind="stable")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    refined = np.sort(order(LOSS, "des")[20:300])
    presets = [
        Preset("refined", refined, "f", "srprune select --ratio 0.5", "mse_x2", "des", 20),
        Preset("drawn", RANDOM, "f", "srprune select --rule random", None, "random", 0),
    ]
    tables = [
        NamedScores("mse_x2", table(LOSS, "mse"), MAPS),
        NamedScores("my other", table(OTHER, "reducible")),
    ]
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    write_explorer(path, Content(INDEX, tables, presets, picture))
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    named = os.environ.get("SRPRUNE_CHROMIUM")
    path = named or shutil.which("chromium") or shutil.which("chromium-browser")
    with playwright.sync_playwright() as player:
        try:
            chromium = player.chromium.launch(
                executable_path=path, args=["--no-sandbox", "--disable-gpu"]
            )
        except playwright.Error as error:
            pytest.skip(f"no Chromium can be started: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def tab(browser: Any) -> Iterator[Any]:
    """A tab of 1280 px, in which every test opens the page anew."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 860},
        permissions=["clipboard-read", "clipboard-write"],
    )
    page = context.new_page()
    page.add_init_script(SHIFTS)
    yield page
    context.close()


class Seen:
    """An open page, and what went wrong on it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.faults: list[str] = []
        self.requests: list[str] = []
        self._listeners = {
            "pageerror": lambda error: self.faults.append(str(error)),
            "console": lambda message: self.faults.append(message.text),
            "request": lambda request: self.requests.append(request.url),
        }
        for event, listener in self._listeners.items():
            page.on(event, listener)

    def leave(self) -> None:
        """Hear no more of the page, which goes."""
        self.page.goto("about:blank")
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)

    def text(self, name: str) -> str:
        return str(self.page.text_content(f"#{name}"))

    def rest(self) -> None:
        """Wait until the frame that shows the last change has been drawn."""
        self.page.evaluate("() => new Promise((r) => requestAnimationFrame(() => setTimeout(r)))")

    def kept(self) -> set[int]:
        found = self.page.evaluate(
            "() => [...explorer.view.status].map((s, i) => s === 1 ? i : -1)"
        )
        return set(found) - {-1}

    def window(self) -> tuple[int, int]:
        state = self.page.evaluate("() => [explorer.state.first, explorer.state.size]")
        return int(state[0]), int(state[1])

    def shown(self, panel: str, strip: int = 0) -> list[int]:
        """Patch ids of a strip, in reading order."""
        return list(
            self.page.evaluate(
                """([panel, strip]) => {
                  const grid = document.querySelectorAll(`#panel-${panel} .grid`)[strip];
                  const place = (tile) => tile.getBoundingClientRect();
                  return [...grid.querySelectorAll(".thumb:not([hidden])")].sort((a, b) =>
                    place(a).y - place(b).y || place(a).x - place(b).x).map((tile) => tile.patch);
                }""",
                [panel, strip],
            )
        )

    def command(self) -> dict[str, str]:
        words = shlex.split(self.text("command"))
        assert words[:2] == ["srprune", "select"]
        return dict(zip(words[2::2], words[3::2], strict=True))


@pytest.fixture
def seen(tab: Any, file: Path) -> Iterator[Seen]:
    """The page at 1280 px; at the end nothing may have gone wrong, moved or been fetched."""
    found = Seen(tab)
    tab.emulate_media(color_scheme="light")
    tab.mouse.move(0, 0)
    tab.goto(file.as_uri())
    tab.wait_for_selector(".thumb:visible")
    yield found
    found.rest()
    shifts, harm = tab.evaluate("() => [window.shifts, window.harm]")
    found.leave()
    assert found.faults == []
    assert [url for url in found.requests if not url.startswith("blob:")] == [file.as_uri()]
    assert shifts == []
    assert harm is None


def drag(seen: Seen, name: str, share: float) -> None:
    """Drag a cut to a share of the chart's ranks, in several steps."""
    box = seen.page.locator(f"#{name}").bounding_box()
    start = box["x"] + box["width"] / 2
    plot = seen.page.locator("#chart").bounding_box()
    x = plot["x"] + 46 + share * (plot["width"] - 46 - 12)  # the margins in chart.js
    mouse = seen.page.mouse
    mouse.move(start, box["y"] + 8)
    mouse.down()
    mouse.move((start + x) / 2, box["y"] + 30, steps=3)
    mouse.move(x, box["y"] + 30, steps=3)
    mouse.up()
    seen.rest()


def expected(rule: str, scores: npt.NDArray[np.float64], options: dict[str, str]) -> set[int]:
    first, size = window(float(options["--ratio"]), float(options["--offset"]), N)
    return set(order(scores, rule)[first : first + size].tolist())


def test_the_first_screen_is_the_first_core_set(seen: Seen) -> None:
    assert seen.window() == (20, 280)
    assert seen.kept() == set(order(LOSS, "des")[20:300].tolist())
    assert seen.text("kept").startswith("280 ")
    assert (seen.text("skipped"), seen.text("dropped")) == ("20", str(N - 300))
    falling = np.sort(LOSS)[::-1]
    assert seen.text("held") == f"{100 * falling[20:300].sum() / LOSS.sum():.1f}%"


def test_the_command_keeps_what_is_on_the_screen_wherever_the_cuts_are(seen: Seen) -> None:
    for first, size in ((0, 1), (0, N), (N - 1, 1), (1, 2), (37, 211), (N // 3, N // 7)):
        seen.page.evaluate("([f, s]) => explorer.changeWindow(f, s)", [first, size])
        seen.rest()
        options = seen.command()
        assert (options["--rule"], options["--scores"]) == ("des", "mse_x2")
        assert window(float(options["--ratio"]), float(options["--offset"]), N) == (first, size)
        assert seen.kept() == expected("des", LOSS, options)


def test_dragging_the_cuts_moves_each_edge_and_the_band_both(seen: Seen) -> None:
    drag(seen, "cut-end", 0.8)
    first, size = seen.window()
    assert first == 20
    assert (first + size) / N == pytest.approx(0.8, abs=0.01)
    drag(seen, "cut-first", 0.25)
    moved, smaller = seen.window()
    assert moved / N == pytest.approx(0.25, abs=0.01)
    assert moved + smaller == first + size
    drag(seen, "band", 0.40)
    last, same = seen.window()
    assert same == smaller
    assert last < moved
    assert seen.kept() == expected("des", LOSS, seen.command())


def test_a_cut_stops_at_the_other_one_and_at_the_ends(seen: Seen) -> None:
    drag(seen, "cut-first", 1.0)
    assert seen.window() == (299, 1)
    drag(seen, "cut-end", 0.0)
    assert seen.window() == (299, 1)
    drag(seen, "cut-end", 1.3)
    assert seen.window() == (299, N - 299)


def test_the_gallery_shows_what_came_in_and_what_went_out(seen: Seen) -> None:
    before = seen.kept()
    drag(seen, "cut-end", 0.9)
    came = seen.kept() - before
    counts = seen.page.locator("#panel-cuts .count").all_text_contents()
    assert counts[4:] == [f" {len(came)}", " 0"]
    row = seen.shown("cuts", 4)
    assert set(row) <= came
    assert len(row) >= 5
    drag(seen, "cut-end", 0.3)
    counts = seen.page.locator("#panel-cuts .count").all_text_contents()
    assert counts[4] == " 0"
    assert set(seen.shown("cuts", 5)) <= (before | came) - seen.kept()


def test_the_strips_stand_on_both_sides_of_each_cut(seen: Seen) -> None:
    ranked = order(LOSS, "des").tolist()
    strips = [seen.shown("cuts", k) for k in range(4)]
    num = len(strips[0])
    assert num >= 5
    assert strips[0] == ranked[:20][::-1][:num]
    assert strips[1] == ranked[20 : 20 + num]
    assert strips[2] == ranked[:300][::-1][:num]
    assert strips[3] == ranked[300 : 300 + num]


def test_hardest_easiest_and_random(seen: Seen) -> None:
    seen.page.click("#tab-ends")
    seen.rest()
    ranked = order(LOSS, "des").tolist()
    hardest, easiest, drawn = (seen.shown("ends", k) for k in range(3))
    assert hardest == ranked[: len(hardest)]
    assert easiest == ranked[::-1][: len(easiest)]
    assert len(set(drawn)) == len(drawn) >= 10
    assert set(drawn) <= seen.kept()
    seen.page.click("#again")
    seen.rest()
    assert seen.shown("ends", 2) != drawn


def test_arrow_keys_move_a_cut_and_tell_a_screen_reader(seen: Seen) -> None:
    seen.page.focus("#cut-first")
    step = max(1, round(N / 1000))
    seen.page.keyboard.press("ArrowRight")
    seen.page.keyboard.press("Shift+ArrowRight")
    seen.rest()
    assert seen.window() == (20 + step + 1, 280 - step - 1)
    slider = seen.page.locator("#cut-first")
    assert slider.get_attribute("role") == "slider"
    assert slider.get_attribute("aria-valuenow") == str(21 + step)
    assert f"{21 + step} patches skipped" in slider.get_attribute("aria-valuetext")
    seen.page.keyboard.press("Home")
    seen.page.keyboard.press("PageUp")
    seen.rest()
    assert seen.window()[0] == round(N * 0.05)
    seen.page.focus("#band")
    size = seen.window()[1]
    seen.page.keyboard.press("End")
    seen.rest()
    assert seen.window() == (N - size, size)


def test_the_rule_turns_the_order(seen: Seen) -> None:
    seen.page.check("input[value=asc]", force=True)
    seen.rest()
    assert seen.command()["--rule"] == "asc"
    assert (
        seen.kept()
        == set(order(LOSS, "asc")[20:300].tolist())
        == expected("asc", LOSS, seen.command())
    )


def test_typed_shares_make_the_window_that_select_makes(seen: Seen) -> None:
    for ratio, offset in (("0.35", "0.1"), ("1", "0"), (".333", "0.0501"), ("1e-2", "0.5")):
        seen.page.evaluate("() => explorer.changeWindow(0, 1)")
        seen.rest()  # nobody types between a change and the frame that shows it
        seen.page.fill("#ratio", ratio)
        seen.rest()
        seen.page.fill("#offset", offset)
        seen.rest()
        assert seen.window() == window(float(ratio), float(offset), N)
    # a ratio that fits no window yet waits for its offset: from (0.1, 0.5) to (0.8, 0.2)
    for field, value in (("ratio", "0.1"), ("offset", "0.5"), ("ratio", "0.8"), ("offset", "0.2")):
        seen.page.fill(f"#{field}", value)
    seen.rest()
    assert seen.window() == window(0.8, 0.2, N)
    seen.page.fill("#ratio", "1e-2")
    seen.page.fill("#offset", "0.5")
    seen.rest()
    before = seen.window()
    for wrong in ("", "x", "0", "-1", "1.2", "0.6", "0x1", "Infinity"):
        seen.page.fill("#ratio", wrong)
        seen.rest()
        assert seen.page.get_attribute("#ratio", "aria-invalid") == "true", wrong
        assert seen.window() == before
    seen.page.focus("#copy")
    assert seen.page.input_value("#ratio") == "0.01"
    assert seen.page.get_attribute("#ratio", "aria-invalid") is None


def test_copy_puts_the_command_into_the_clipboard(seen: Seen) -> None:
    seen.page.click("#copy")
    seen.page.wait_for_function("() => document.getElementById('copy').textContent === 'Copied'")
    pasted = seen.page.evaluate("() => navigator.clipboard.readText()")
    assert pasted == seen.text("command")
    assert pasted.startswith("srprune select --ratio 0.")


def test_the_filter_takes_an_exact_name_or_a_part(seen: Seen) -> None:
    each = N // len(NAMES)
    for text, images in (("img1.png", 1), ("IMG1", 2), (".png", 5), ("none of them", 0), ("&", 1)):
        seen.page.fill("#filter", text)
        seen.rest()
        assert seen.text("filtered") == f"{images * each:,} of {N:,}"
    seen.page.fill("#filter", "img1.png")
    seen.rest()
    ids = seen.shown("cuts", 1)
    assert {int(INDEX.image_N[i]) for i in ids} == {3}
    inside = [i for i in order(LOSS, "des")[20:300].tolist() if INDEX.image_N[i] == 3]
    assert ids == inside[: len(ids)]
    assert seen.text("kept").startswith("280 ")  # of all, whatever is shown


def test_the_map_of_an_image_counts_its_kept_windows_and_filters(seen: Seen) -> None:
    seen.page.click("#tab-images")
    seen.rest()
    kept = np.bincount(INDEX.image_N[sorted(seen.kept())], minlength=len(NAMES))
    each = N // len(NAMES)
    labels = [tile.get_attribute("aria-label") for tile in seen.page.locator(".map:visible").all()]
    assert sorted(labels) == sorted(
        f"{name}: {count} of {each} kept" for name, count in zip(NAMES, kept, strict=True)
    )
    seen.page.get_by_label(labels[1], exact=True).click()
    seen.rest()
    assert seen.page.locator(".map:visible").count() == 1
    assert seen.text("filtered") == f"{each} of {N:,}"
    seen.page.locator(".map:visible").click()
    seen.rest()
    assert seen.page.locator(".map:visible").count() == len(NAMES)


def brightness(seen: Seen, patch: int) -> float:
    """Mean grey of a corner of a window on the map of its image."""
    return float(
        seen.page.evaluate(
            """([name, top, left, size, width]) => {
              const tile = [...document.querySelectorAll(".map:not([hidden])")]
                .find((each) => each.title === name);
              const canvas = tile.querySelector("canvas"), fit = canvas.width / width;
              const side = Math.floor(size * fit / 4);
              const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d");
              copy.drawImage(canvas, 0, 0);
              const [x, y] = [left, top].map((edge) => Math.ceil(edge * fit) + 1);
              const { data } = copy.getImageData(x, y, side, side);
              return data.reduce((sum, v, i) => sum + (i % 4 < 3 ? v : 0), 0) / data.length;
            }""",
            [NAMES[INDEX.image_N[patch]], int(INDEX.top_N[patch]), int(INDEX.left_N[patch]), SIZE,
             SHAPE[1]],
        )
    )  # fmt: skip


def test_the_map_is_dark_where_nothing_is_kept(seen: Seen) -> None:
    seen.page.click("#tab-images")
    patch = int(order(LOSS, "des")[-1])
    levels = []
    for first, size in ((0, N), (0, N // 100)):
        seen.page.evaluate("([f, s]) => explorer.changeWindow(f, s)", [first, size])
        seen.page.wait_for_timeout(150)
        levels.append(brightness(seen, patch))
    assert levels[1] < 0.6 * levels[0]


def test_a_patch_under_the_pointer_is_told(seen: Seen) -> None:
    hardest = int(order(LOSS, "des")[20])
    seen.page.locator("#panel-cuts .grid").nth(1).locator(".thumb:visible").first.hover()
    seen.rest()
    told = seen.text("detail-text")
    assert NAMES[INDEX.image_N[hardest]] in told
    assert f"row {INDEX.top_N[hardest]}, column {INDEX.left_N[hardest]}, 24 px" in told
    assert f"rank 20 of {N}" in told
    assert "error, logarithmic" in told
    assert seen.page.is_visible("#detail-map")
    seen.page.select_option("#table", "1")
    seen.rest()
    assert "No error map. Run 'srprune score --maps'." in seen.text("detail-text")
    assert not seen.page.is_visible("#detail-map")


def test_another_table_brings_its_own_order_and_its_correlation(seen: Seen) -> None:
    assert seen.text("correlation").startswith("rank correlation of mse_x2 with my other ")
    seen.page.select_option("#table", "1")
    seen.rest()
    options = seen.command()
    assert options["--scores"] == "my other"
    assert seen.kept() == expected("des", OTHER, options)
    assert seen.text("held") == "-"  # negative scores have no shares


def test_a_core_set_that_is_no_window_is_shown_as_it_is(seen: Seen) -> None:
    seen.page.click("#preset-1")
    seen.rest()
    assert seen.kept() == set(RANDOM.tolist())
    assert seen.text("command") == "srprune select --rule random"
    assert seen.page.get_attribute("#preset-1", "aria-pressed") == "true"
    seen.page.click("#preset-0")
    seen.rest()
    assert seen.window() == (20, 280)
    assert seen.page.get_attribute("#preset-0", "aria-pressed") == "true"
    drag(seen, "cut-end", 0.7)
    assert seen.page.get_attribute("#preset-0", "aria-pressed") == "false"


def test_all_patches_scroll_with_few_tiles_and_the_keyboard(seen: Seen) -> None:
    seen.page.click("#tab-all")
    seen.rest()
    ranked = order(LOSS, "des").tolist()
    shown = seen.shown("all")
    assert shown == ranked[: len(shown)]
    assert len(shown) < N / 2
    seen.page.locator("#panel-all .thumb:visible").first.focus()
    seen.page.keyboard.press("ArrowRight")
    assert seen.page.evaluate("() => document.activeElement.patch") == ranked[1]
    seen.page.keyboard.press("End")
    seen.rest()
    assert seen.page.evaluate("() => document.activeElement.patch") == ranked[-1]
    assert f"rank {N - 1} of {N}" in seen.text("detail-text")
    assert seen.shown("all")[-1] == ranked[-1]


def test_tabs_follow_the_arrow_keys(seen: Seen) -> None:
    seen.page.focus("#tab-cuts")
    seen.page.keyboard.press("ArrowLeft")
    assert seen.page.get_attribute("#tab-images", "aria-selected") == "true"
    assert seen.page.is_visible("#panel-images")
    assert not seen.page.is_visible("#panel-cuts")


def test_every_control_has_a_name(seen: Seen) -> None:
    nameless = seen.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [role=slider], canvas")]
          .filter((e) => !e.closest("[hidden], .map") && !(e.getAttribute("aria-label")
            || e.textContent.trim() || e.labels?.length && e.labels[0].textContent.trim()))
          .map((e) => e.outerHTML)"""
    )
    assert nameless == []


CONTRAST = """() => {
  const rgb = (name) => {
    const text = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    return [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16) / 255);
  };
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (name) => rgb(name).map(linear)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  return (a, b) => { const [x, y] = [light(a), light(b)].sort(); return (y + 0.05) / (x + 0.05); };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_that_of_wcag_aa(seen: Seen, scheme: str) -> None:
    seen.page.emulate_media(color_scheme=scheme)
    for back in ("paper", "card"):
        for ink in ("ink", "faint"):
            assert seen.page.evaluate(f"() => ({CONTRAST})()('{ink}', '{back}')") >= 4.5
        for mark in ("kept", "skipped", "accent"):
            assert seen.page.evaluate(f"() => ({CONTRAST})()('{mark}', '{back}')") >= 3
    assert seen.page.evaluate(f"() => ({CONTRAST})()('on-accent', 'accent')") >= 4.5
    background = seen.page.evaluate(
        "() => getComputedStyle(document.documentElement).backgroundColor"
    )
    assert (sum(map(int, background[4:-1].split(","))) < 200) == (scheme == "dark")


def test_a_phone_needs_no_sideways_scrolling(browser: Any, file: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.add_init_script(SHIFTS)
    page.goto(file.as_uri())
    page.wait_for_selector(".thumb:visible")
    assert page.text_content("#detail-text") == "Tap a patch."  # there is no pointer, and no key
    for tab in ("cuts", "ends", "all", "images"):
        page.tap(f"#tab-{tab}")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.tap("#tab-cuts")
    page.locator(".thumb:visible").first.tap()
    assert "rank " in page.text_content("#detail-text")
    for name in ("cut-first", "cut-end", "copy", "tab-all"):
        box = page.locator(f"#{name}").bounding_box()
        assert min(box["width"], box["height"]) >= 24, name  # WCAG 2.2, target size
    shifts = page.evaluate("() => window.shifts")
    context.close()
    assert shifts == []


def test_the_arithmetic_of_the_page_is_pythons(seen: Seen) -> None:
    rng = np.random.default_rng(3)
    counts = [1, 2, 3, 7, 100, 1001, 32592, 10**8]
    shares = [0.0, 1.0, 0.5, 0.35, 0.05, 1e-7, 0.1 + 0.2, 1 / 3, 5e-324]
    shares += [*rng.random(60).tolist(), *rng.random(60).round(3).tolist()]
    for count in counts:
        found = seen.page.evaluate(
            "([shares, count]) => shares.map((share) => explorer.portion(share, count))",
            [shares, count],
        )
        assert found == [portion(share, count) for share in shares]
    assert seen.page.evaluate("() => explorer.portion(0.125, 4)") == 1  # a half is rounded up
    for count in counts:
        sizes = np.unique(np.r_[0, 1, count, rng.integers(0, count + 1, 60)])
        found = seen.page.evaluate(
            "([sizes, count]) => sizes.map((k) => explorer.shareOf(k, count))",
            [sizes.tolist(), count],
        )
        for k, share in zip(sizes.tolist(), found, strict=True):
            assert portion(share, count) == k
            assert 0 <= share <= 1
            assert Fraction(repr(float(share))).denominator <= max(100, 10 * count)  # few decimals
